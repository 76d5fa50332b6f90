// Tests: tests/it/process_group.rs, tests/it/process_group/, tests/contract/group.rs

//! `ProcessGroup`: signals to all processes of a group, and waits for all of them.
//!
//! The number of a group is the PID of its leader. It cannot be reused while the leader is unreaped,
//! nor while the group has a member. So the leader is reaped last, and nothing is sent to the group
//! once the leader is known to be reaped.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc::{c_int, SIGKILL};

use crate::group;
use crate::wait::{Timeout, FIRST_SIGNAL};
use crate::PidHandle;

/// The process group that a handle's process leads.
///
/// Returned by [`PidHandle::process_group`]. A child leads a group if it was spawned with
/// [`process_group(0)`](std::os::unix::process::CommandExt::process_group). All processes that it
/// starts belong to the group, except those that leave it by `setsid` or `setpgid`, as daemons and the
/// jobs of an interactive shell do. The calls do not reach those.
///
/// **Reap the leader last.** An unreaped leader keeps the number of its group from being reused. So
/// all methods fail with ECHILD once the handle is done, and with EINVAL once it is released.
/// [`terminate`](Self::terminate) reaps the leader last. In your own code, wait for the leader with
/// [`PidHandle::wait_exited`], which does not reap, and reap it at the end.
///
/// # Examples
///
/// A server and all of its workers get five seconds to end, and are killed after that:
///
/// ```
/// use pidwait::PidHandle;
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "sleep 60 & sleep 60"]).process_group(0);
/// let server = PidHandle::spawn(&mut command)?.handle;
/// let status = server.process_group().terminate(Duration::from_secs(5))?;
/// assert!(!status.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// On Linux the members are read from `/proc`. If `/proc` is missing, belongs to another PID namespace,
/// or shows only processes (`subset=pid`), the waits and `terminate` fail with
/// [`Unsupported`](io::ErrorKind::Unsupported). If `/proc` hides the processes of other users
/// (`hidepid=2`), the waits do not see such members, except the leader. If it lists them but denies
/// access (`hidepid=1`), they count as alive until they exit or, with
/// [`Backend::Waitpid`](crate::Backend::Waitpid), until they are reaped. On other systems members cannot
/// be listed: the waits check repeatedly whether the group can be signalled.
#[derive(Clone, Debug)]
pub struct ProcessGroup {
    leader: PidHandle,
}

impl PidHandle {
    /// Returns the process group that the process leads.
    ///
    /// It never fails. If the process leads no group, the methods of the result fail with ESRCH.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & exit 3"]).process_group(0);
    /// let leader = PidHandle::spawn(&mut command)?.handle;
    /// leader.wait_exited()?; // It is not reaped, so the number of its group is not reused.
    /// leader.process_group().kill()?;
    /// assert_eq!(leader.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn process_group(&self) -> ProcessGroup {
        ProcessGroup {
            leader: self.clone(),
        }
    }
}

impl ProcessGroup {
    /// Sends a signal to every process of the group.
    ///
    /// Processes that the caller may not signal are left out. A signal to a group of zombies succeeds
    /// without effect. Signal 0 sends nothing, and only checks whether the group may be signalled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// leader.process_group().signal(15)?; // SIGTERM
    /// assert_eq!(leader.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ESRCH: the process leads no group. Nothing is sent.
    /// - ECHILD: the leader was reaped. With [`Backend::Pidfd`](crate::Backend::Pidfd) on Linux 6.9 and
    ///   later, the group can still be signalled after *other* code reaped its leader.
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no process of the group may be signalled.
    /// - EMFILE, ENFILE, ENOMEM: as for [`PidHandle::signal`].
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
        group::signal_group(&mut self.leader.leader()?, signal)
    }

    /// Kills every process of the group with SIGKILL. Reaps none of them.
    ///
    /// The kernel signals all members at once: a member that forks at this moment leaves no survivor.
    ///
    /// # Examples
    ///
    /// See [`PidHandle::process_group`].
    ///
    /// # Errors
    ///
    /// Those of [`signal`](Self::signal).
    #[doc(alias = "killpg")]
    pub fn kill(&self) -> io::Result<()> {
        self.signal(SIGKILL)
    }

    /// Returns whether no process of the group is alive, the leader included.
    ///
    /// A zombie is not alive: its parent may never reap it. Nothing is reaped.
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
    /// let group = leader.process_group();
    /// leader.wait_exited()?;
    /// assert!(!group.has_exited()?); // The sleep is alive.
    /// group.kill()?;
    /// group.wait_exited()?;
    /// assert!(group.has_exited()?);
    /// # leader.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ESRCH: the process leads no group.
    /// - ECHILD: the leader was reaped, so the number may belong to another group.
    /// - EINVAL: the handle is released.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): see [the platform notes](Self#platform-notes).
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available to read `/proc`.
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Timeout::Poll)
    }

    /// Waits until no process of the group is alive, the leader included. Nothing is reaped.
    ///
    /// A group whose members keep forking new ones is alive: the wait does not miss those.
    ///
    /// # Examples
    ///
    /// See [`has_exited`](Self::has_exited).
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Pidfd`](crate::Backend::Pidfd) it polls the pidfds of the members, one after the
    /// other, which needs one descriptor. If a member leaves the group, that causes no event; it is
    /// noticed within a second. With [`Backend::Waitpid`](crate::Backend::Waitpid) it checks the
    /// members repeatedly, 1 ms to 50 ms apart.
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Timeout::Infinite).map(drop)
    }

    /// Waits until no process of the group is alive. Returns `false` once `timeout` has passed, and
    /// never earlier.
    ///
    /// Like [`wait_exited`](Self::wait_exited). A timeout of zero is [`has_exited`](Self::has_exited).
    /// One that is too long for the clock is no limit.
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
    /// assert!(!leader.process_group().wait_exited_timeout(Duration::from_millis(10))?);
    /// # leader.process_group().terminate(Duration::ZERO)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`has_exited`](Self::has_exited).
    pub fn wait_exited_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.exited_within(Timeout::after(timeout))
    }

    /// Terminates the whole group and reaps the leader: sends SIGTERM, waits for at most `grace` until
    /// all members have exited, then sends SIGKILL.
    ///
    /// SIGCONT is sent after SIGTERM, so that stopped members can handle it. A member that needs more
    /// time than the leader gets it, within `grace`. If the leader has already exited, the other members
    /// are terminated in the same way. The leader is reaped last, once no member is alive, and its
    /// status is returned.
    ///
    /// After SIGKILL it waits without a limit until no member is alive.
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
    /// leader.wait_exited()?;
    /// // The sleep ignores SIGTERM, too.
    /// let status = leader.process_group().terminate(Duration::from_millis(50))?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Before anything is sent:
    ///
    /// - ECHILD: the leader is not a child, or was reaped.
    /// - ESRCH: the process does not lead the group that it is in.
    /// - Those of [`has_exited`](Self::has_exited).
    ///
    /// Later, with the leader left unreaped:
    ///
    /// - EPERM: a member may not be signalled. All other members have exited.
    /// - ECHILD: other code, or another wait through the handle, reaped the leader. If members were
    ///   alive then, they run on, because the group can no longer be signalled. So while this call runs,
    ///   wait in other threads with [`PidHandle::wait_exited`], which does not reap.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory was left to find the members. Terminate the group
    ///   again.
    #[doc(alias = "killpg")]
    pub fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate_with(FIRST_SIGNAL, grace)
    }

    /// Terminates the whole group and reaps the leader: sends `signal`, waits for at most `grace` until
    /// all members have exited, then sends SIGKILL.
    ///
    /// Like [`terminate`](Self::terminate), with another first signal than SIGTERM.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use nix::libc::SIGUSR1;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let leader = PidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let grace = Duration::from_secs(5);
    /// let status = leader.process_group().terminate_with(SIGUSR1, grace)?;
    /// assert_eq!(status.signal(), Some(SIGUSR1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), and EINVAL if there is no such signal.
    #[doc(alias = "killpg")]
    pub fn terminate_with(&self, signal: c_int, grace: Duration) -> io::Result<ExitStatus> {
        let mut leader = self.leader.leader()?;
        group::end(&mut leader, signal, grace)?;
        leader.wait()
    }

    fn exited_within(&self, timeout: Timeout) -> io::Result<bool> {
        group::wait_exited(&mut self.leader.leader()?, timeout)
    }
}
