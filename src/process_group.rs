// Tests: tests/it/process_group.rs, tests/it/process_group/, tests/contract/group.rs

//! `ProcessGroup`: signals to all processes of a group, waits for all of them, and ends them.
//!
//! The number of a group is the PID of its leader. It cannot be reused while the leader is unreaped,
//! nor while the group has a member. So a group keeps its leader's zombie: while a [`Kept`] lives, waits
//! take the leader's status by a peek, and its drop reaps.

pub(crate) mod members;

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGKILL};

use crate::backend::{Process, Seen};
use crate::background;
use crate::ending::Ending;
use crate::engine::Timeout;
use crate::errno::{errno_of, is_denied};
use crate::escalation::Escalation;
use crate::handle::{check_pid, HandleSubject, PidHandle};
use crate::orphans;
use crate::sys::{self, Arc};

/// A process group, by its leader, which it keeps.
///
/// [`Spawned::group`](crate::Spawned::group) has the group of a child that was spawned with
/// [`process_group(0)`](std::os::unix::process::CommandExt::process_group), and
/// [`PidHandle::process_group`] returns that of any leader. All processes that a member starts belong to
/// the group, except those that leave it by `setsid` or `setpgid`, as daemons and the jobs of an
/// interactive shell do. The calls do not reach those. Clones refer to the same group.
///
/// **The group keeps its leader.** As long as a `ProcessGroup` of a child lives, the leader stays a zombie
/// once it has exited, so that the number of the group cannot be reused. A wait for the leader, of any
/// kind and in any thread, still returns its status at once. When the last `ProcessGroup` of the leader is
/// dropped, a leader whose status was returned is reaped. So wait and end in any order:
///
/// ```
/// use pidwait::{PidHandle, Spawned};
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "sleep 60 & exit 3"]).process_group(0);
/// let child = PidHandle::spawn(&mut command)?.handle;
///
/// let group = child.process_group()?;
/// let status = child.wait()?; // The leader has exited.
/// let same = group.terminate(Duration::from_secs(5))?; // The rest of the group ends.
/// assert_eq!(status, same);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A group that is stored or leaked keeps the zombie, and with pidfds its descriptor, until it is dropped.
/// In `child.process_group()?.terminate(grace)?` the group is dropped at the end of the statement, which
/// reaps the leader; the next `process_group()` fails with ECHILD. Keep the group in a variable, as above,
/// to use it more than once. Dropping a group does not reap a child that was never waited for, as dropping
/// a handle does not.
///
/// # Examples
///
/// A pipeline in one group. The first process leads it, and the others join. They can do so even if the
/// leader has exited already, because its zombie is kept:
///
/// ```
/// use pidwait::{PidHandle, Spawned};
/// use std::os::unix::process::CommandExt;
/// use std::process::{Command, Stdio};
/// use std::time::Duration;
///
/// let mut first = Command::new("yes");
/// let mut first = PidHandle::spawn(first.stdout(Stdio::piped()).process_group(0))?;
/// let group = first.handle.process_group()?;
///
/// let mut second = Command::new("cat");
/// if let Some(stdout) = first.stdout.take() {
///     second.stdin(stdout);
/// }
/// second.stdout(Stdio::null()).process_group(group.id() as i32);
/// let second = PidHandle::spawn(&mut second)?.handle;
///
/// group.terminate(Duration::from_secs(5))?;
/// assert!(!second.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A database whose manual asks for SIGINT to the server process alone. What it leaves behind is ended
/// after that:
///
/// ```
/// use nix::libc::SIGINT;
/// use pidwait::PidHandle;
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # let mut command = Command::new("sleep");
/// # command.arg("60");
/// let server = PidHandle::spawn(command.process_group(0))?.handle;
/// let group = server.process_group()?;
/// server.signal(SIGINT)?;
/// if server.wait_timeout(Duration::from_secs(30))?.is_none() {
///     println!("the server does not shut down");
/// }
/// group.terminate(Duration::from_secs(5))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// On Linux the members are read from `/proc`. Where that is missing or belongs to another PID namespace,
/// [`has_exited`](Self::has_exited) and the waits fail with [`Unsupported`](io::ErrorKind::Unsupported).
/// An end then takes the whole grace period, even if the leader exits earlier, and ends with SIGKILL. (A
/// grace period without a limit ends with the exit of the leader, and nothing is killed.)
///
/// The last PID that was given out shows whether a member can have been missed. It is read from
/// `/proc/loadavg`, or, where that does not tell, from the ID of a short thread that is started for it.
///
/// If `/proc` hides the processes of other users (`hidepid=2`), the waits do not see such members, except
/// the leader. If it lists them but denies access (`hidepid=1`), they count as alive until they exit or,
/// with [`Backend::Waitpid`](crate::Backend::Waitpid), until they are reaped. A process that a security
/// module (SELinux, AppArmor) hides completely does not count.
///
/// While the leader's zombie is kept, a process of the same session can still join the group with
/// `setpgid`, after any check.
///
/// If other code reaps the leader, or SIGCHLD is ignored, the number of the group can be reused. With
/// [`Backend::Pidfd`](crate::Backend::Pidfd) on Linux 6.9 and later the calls still work. Otherwise an end
/// that has begun still ends the members that it saw before, and then fails with ECHILD; a call that begins
/// later fails with ECHILD and sends nothing.
///
/// On other systems members cannot be listed: the waits check repeatedly whether the group can be
/// signalled.
#[derive(Clone, Debug)]
#[must_use = "as long as it lives, it keeps the leader, and dropping it gives the leader up"]
pub struct ProcessGroup {
    kept: Arc<Kept>,
}

/// A leader whose zombie is kept until this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    handle: PidHandle,
    /// The group's calls work even if the handle is done or released.
    process: Process,
    /// Decided when the group is named.
    is_child: bool,
    /// The fork number at that moment. In a forked process the child belongs to the parent.
    forks: u32,
}

impl Kept {
    pub(crate) fn new(handle: PidHandle, process: Process, is_child: bool) -> Self {
        let kept = Self {
            handle,
            process,
            is_child,
            forks: sys::fork_number(),
        };
        if is_child {
            orphans::keep(kept.pid());
        }
        kept
    }

    fn pid(&self) -> pid_t {
        check_pid(self.handle.id()).unwrap_or(0) // It was checked when the handle was made.
    }

    fn is_child(&self) -> bool {
        self.is_child && !sys::is_forked_since(self.forks)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // In a forked process it takes no lock: another thread of the parent may have held it.
        if self.is_child() {
            self.handle.stop_keeping();
            orphans::stop_keeping(self.pid());
        }
    }
}

impl PidHandle {
    /// Returns the process group that the process leads, and keeps its leader: see [`ProcessGroup`].
    ///
    /// A child that was spawned with
    /// [`process_group(0)`](std::os::unix::process::CommandExt::process_group) leads a group from the
    /// start; [`Spawned::group`](crate::Spawned::group) already has it. A process that leads a group by its
    /// own `setsid` or `setpgid` may not have got there yet when this is called.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the process leads no group. The text names it.
    /// - ECHILD: the process is gone. A child that was waited for is gone, too, unless another
    ///   `ProcessGroup` of it lives.
    /// - EINVAL: the handle is released.
    /// - EMFILE, ENFILE, ENOMEM: as for [`signal`](Self::signal).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::io::ErrorKind;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & exit 3"]).process_group(0);
    /// let leader = PidHandle::spawn(&mut command)?.handle;
    /// let group = leader.process_group()?;
    /// assert_eq!(leader.wait()?.code(), Some(3));
    /// group.kill()?; // The sleep.
    ///
    /// let other = PidHandle::spawn(&mut Command::new("true"))?.handle; // Without process_group(0).
    /// assert_eq!(other.process_group().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # other.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn process_group(&self) -> io::Result<ProcessGroup> {
        let kept = self.keep_leader(|process, seen| {
            let is_child = is_child(process, seen)?;
            match process.signal_group(seen, 0) {
                Ok(()) => Ok(is_child),
                Err(errno) if is_denied(errno) => Ok(is_child),
                Err(Errno::ESRCH) => Err(leads_no_group(self.id())),
                Err(errno) => Err(errno.into()),
            }
        })?;
        Ok(ProcessGroup { kept })
    }
}

/// ECHILD: it is gone.
fn is_child(process: &Process, seen: &mut Seen) -> nix::Result<bool> {
    match process.peek(seen, None) {
        Ok(_) => return Ok(true),
        Err(Errno::ECHILD) => {}
        Err(errno) => return Err(errno),
    }
    match process.signal(seen, 0) {
        Ok(()) => Ok(false),
        Err(errno) if is_denied(errno) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The error of every call that names a group.
pub(crate) fn leads_no_group(pid: u32) -> io::Error {
    let text = format!(
        "process {pid} leads no process group: spawn it with CommandExt::process_group(0), or let it \
         call setsid first"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl ProcessGroup {
    /// The group of a child that was just spawned, if it leads one.
    pub(crate) fn of_new_child(handle: &PidHandle) -> Option<Self> {
        let pid = check_pid(handle.id()).ok()?;
        let kept = handle.keep_leader(|process, seen| {
            let leads = match sys::group_of(pid) {
                Ok(group) => group == pid,
                // On macOS for a zombie, or denied by a security module.
                Err(_) => process
                    .signal_group(seen, 0)
                    .map_or_else(is_denied, |()| true),
            };
            if leads {
                Ok(true)
            } else {
                Err(Errno::ESRCH.into())
            }
        });
        Some(Self { kept: kept.ok()? })
    }

    /// Returns the number of the group, which is the PID of its leader.
    ///
    /// Pass it to [`process_group`](std::os::unix::process::CommandExt::process_group) of a command to
    /// spawn another member.
    ///
    /// # Examples
    ///
    /// See [`ProcessGroup`].
    pub fn id(&self) -> u32 {
        self.kept.handle.id()
    }

    /// Returns the handle of the leader.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("true").process_group(0))?.handle;
    /// let group = child.process_group()?;
    /// assert!(group.leader().wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn leader(&self) -> &PidHandle {
        &self.kept.handle
    }

    /// Sends a signal to every process of the group.
    ///
    /// Processes that the caller may not signal are left out. A signal to a group of zombies succeeds
    /// without effect. Signal 0 sends nothing, and only checks whether the group may be signalled.
    ///
    /// # Errors
    ///
    /// - EINVAL: there is no such signal.
    /// - ESRCH: the leader has left the group, and no other process is in it.
    /// - ECHILD: other code has reaped the leader; see [the platform notes](Self#platform-notes).
    /// - EPERM, EACCES: no process of the group may be signalled.
    /// - EMFILE, ENFILE, ENOMEM: as for [`PidHandle::signal`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// leader.process_group()?.signal(15)?; // SIGTERM
    /// assert_eq!(leader.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// [pidfd_send_signal(2)] with `PIDFD_SIGNAL_PROCESS_GROUP` on Linux 6.9 and later. Otherwise
    /// [kill(2)] with the negative PID, after a check that the leader is unreaped. That is safe if the
    /// leader is reaped only through this handle. If other code reaps it between the check and the
    /// `kill`, and the group is empty, its number can be reused.
    ///
    /// If the leader has left the group to join another one, the signal goes to the group that it led.
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    #[doc(alias = "killpg")]
    #[doc(alias = "kill")]
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        members::signal_group(&mut self.subject(), signal)
    }

    /// Kills every process of the group with SIGKILL. Reaps none of them.
    ///
    /// The kernel signals all members at once: a member that forks at this moment leaves no survivor.
    ///
    /// # Errors
    ///
    /// The same errnos as [`signal`](Self::signal).
    ///
    /// # Examples
    ///
    /// See [`PidHandle::process_group`].
    #[doc(alias = "killpg")]
    pub fn kill(&self) -> io::Result<()> {
        self.signal(SIGKILL)
    }

    /// Returns the PIDs of the processes of the group that are alive. Zombies are left out.
    ///
    /// It is a snapshot: processes can start, exit, join and leave at any moment. A PID may belong to
    /// another process by the time it is used, so use the list to show it. To signal or end the members,
    /// use the group.
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = leader.process_group()?;
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(group.members()?, [group.id()]);
    /// # group.terminate(std::time::Duration::ZERO)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// Linux only. On other systems it fails with [`Unsupported`](io::ErrorKind::Unsupported).
    pub fn members(&self) -> io::Result<Vec<u32>> {
        members::list(&mut self.subject())
    }

    /// Returns whether no process of the group is alive, the leader included.
    ///
    /// A zombie is not alive: its parent may never reap it. Nothing is reaped.
    ///
    /// # Errors
    ///
    /// - ECHILD: other code has reaped the leader, and the number may belong to another group; see
    ///   [the platform notes](Self#platform-notes).
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the members cannot be listed. The text says what to
    ///   mount.
    /// - EAGAIN: the thread that shows the last PID cannot be started.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available to read `/proc`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & exit 0"]).process_group(0);
    /// let leader = PidHandle::spawn(&mut command)?.handle;
    /// let group = leader.process_group()?;
    /// leader.wait()?;
    /// assert!(!group.has_exited()?); // The sleep is alive.
    /// group.kill()?;
    /// group.wait_exited()?;
    /// assert!(group.has_exited()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Timeout::Now)
    }

    /// Waits until no process of the group is alive, the leader included. Nothing is reaped.
    ///
    /// A group whose members keep forking new ones is alive: the wait does not miss those.
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    ///
    /// # Examples
    ///
    /// See [`has_exited`](Self::has_exited).
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Pidfd`](crate::Backend::Pidfd) it polls the pidfds of the members, one after the
    /// other, which needs one descriptor. If a member leaves the group, that causes no event; it is
    /// noticed within a second. With [`Backend::Waitpid`](crate::Backend::Waitpid) it checks the
    /// members repeatedly. It is late by at most a twentieth of the time waited, and by 1 s at most.
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Timeout::Infinite).map(drop)
    }

    /// Waits until no process of the group is alive. Returns `false` once `timeout` has passed, and
    /// never earlier.
    ///
    /// Like [`wait_exited`](Self::wait_exited). A timeout of zero is [`has_exited`](Self::has_exited).
    /// One that is too long for the clock is no limit.
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = leader.process_group()?;
    /// assert!(!group.wait_exited_timeout(Duration::from_millis(10))?);
    /// # group.terminate(Duration::ZERO)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.exited_within(Timeout::after(timeout))
    }

    /// Waits until no process of the group is alive. Returns `false` once `deadline` has passed, and
    /// never earlier.
    ///
    /// Like [`wait_exited_timeout`](Self::wait_exited_timeout). With a deadline in the past it checks once.
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Instant;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = leader.process_group()?;
    /// assert!(!group.wait_exited_deadline(Instant::now())?);
    /// # group.terminate(std::time::Duration::ZERO)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited_deadline(&self, deadline: Instant) -> io::Result<bool> {
        self.exited_within(Timeout::until(deadline))
    }

    /// Ends all processes of the group, and returns the leader's status.
    ///
    /// Takes an [`Escalation`], or a [`Duration`]: SIGTERM with that grace period, then SIGKILL. Each step
    /// ends as soon as no member is alive. A member that needs more time than the leader gets it, within
    /// the grace period. If the leader has exited, before the call or during it, the other members are
    /// ended in the same way, and the call returns the leader's status, even if another wait had it first.
    ///
    /// SIGKILL is repeated until no member is alive, so a process that joins meanwhile is killed, too. A
    /// leader that has left the group gets SIGKILL at the end.
    ///
    /// Members that may not be signalled get the whole time to end by themselves, as `sudo` does once its
    /// child has ended.
    ///
    /// # Errors
    ///
    /// Before anything is sent:
    ///
    /// - EINVAL: a step of the escalation has signal 0 or an unknown one.
    /// - ECHILD: the leader is not a child, or other code has reaped it.
    ///
    /// Later. The leader is not reaped, and the group can be ended again:
    ///
    /// - EPERM: members that may not be signalled are still alive 100 ms after SIGKILL to the rest.
    /// - [`TimedOut`](io::ErrorKind::TimedOut): the [`kill_timeout`](Escalation::kill_timeout) has passed.
    /// - ECHILD: other code has reaped the leader; see [the platform notes](Self#platform-notes).
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory was left to read `/proc`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "trap '' TERM; sleep 60 & exit 3"]).process_group(0);
    /// let leader = PidHandle::spawn(&mut command)?.handle;
    /// let group = leader.process_group()?;
    /// leader.wait_exited()?;
    /// // The sleep ignores SIGTERM, too.
    /// let status = group.terminate(Duration::from_millis(50))?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn terminate(&self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus> {
        let mut leader = self.subject();
        let ending = self.begin_to_end(&mut leader, escalation.into(), true)?;
        ending.run(&mut leader)
    }

    /// Ends all processes of the group, and leaves the leader's zombie to a later wait.
    ///
    /// Like [`terminate`](Self::terminate), also for a group whose leader is not a child.
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), except ECHILD for a leader that is not a child.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// leader.process_group()?.terminate_unreaped(Duration::from_secs(5))?;
    /// assert_eq!(leader.wait()?.signal(), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn terminate_unreaped(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        let mut leader = self.subject();
        self.begin_to_end(&mut leader, escalation.into(), false)?
            .run_unreaped(&mut leader)
    }

    /// Begins to end all processes of the group, and returns at once.
    ///
    /// The first signal is sent by this call, unless the escalation
    /// [waits first](Escalation::wait_first). A background thread, one for the whole program, does the
    /// rest for any number of groups at the same time. It takes the status of a leader that is a child;
    /// waits, sets and futures get it.
    ///
    /// If the program exits before the escalation is over, nothing more is sent.
    ///
    /// # Errors
    ///
    /// - EINVAL: a step of the escalation has signal 0 or an unknown one.
    /// - ECHILD, EPERM, EACCES: as for [`signal`](Self::signal).
    /// - EAGAIN: the thread cannot be started. Nothing is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = leader.process_group()?;
    /// group.terminate_in_background(Duration::from_secs(5))?;
    /// group.wait_exited()?;
    /// assert!(!leader.wait_shared()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn terminate_in_background(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut leader = self.subject();
        match members::signal_group(&mut leader, 0) {
            // The leader has left the group, and no other process is in it.
            Err(error) if errno_of(&error) == Some(Errno::ESRCH) => {}
            checked => checked?,
        }
        let ending = Ending::of_group(&mut leader, escalation, self.kept.is_child());
        background::end_group(self, ending)
    }

    /// `reaps`: the end takes the leader's status, so the leader has to be a child.
    pub(crate) fn begin_to_end(
        &self,
        leader: &mut HandleSubject<'_>,
        escalation: Escalation,
        reaps: bool,
    ) -> io::Result<Ending> {
        escalation.check()?;
        if reaps && !self.kept.is_child() {
            return Err(Errno::ECHILD.into());
        }
        Ok(Ending::of_group(leader, escalation, reaps))
    }

    /// The leader, for a call on the group.
    pub(crate) fn subject(&self) -> HandleSubject<'_> {
        HandleSubject::of(&self.kept.handle, self.kept.process.clone())
    }

    /// For a thread that works on the group later.
    pub(crate) fn leader_parts(&self) -> (&PidHandle, &Process) {
        (&self.kept.handle, &self.kept.process)
    }

    /// For the model kernel.
    #[cfg(test)]
    pub(crate) fn keeps_zombie(&self) -> bool {
        self.kept.is_child()
    }

    fn exited_within(&self, timeout: Timeout) -> io::Result<bool> {
        members::wait_exited(&mut self.subject(), timeout)
    }
}
