//! `ProcessGroup`: signals to all processes of a group, and waits for all of them.
//!
//! A group has the PID of its leader as its number. The number cannot be reused while the leader is
//! unreaped, nor while the group has a member. So the leader is reaped last, and nothing is sent to
//! the group once the leader is known to be reaped.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc::{c_int, SIGKILL};

use crate::group;
use crate::wait::{Timeout, FIRST_SIGNAL};
use crate::PidHandle;

/// The process group that a handle's process leads.
///
/// From [`PidHandle::process_group`]. A child leads a group if it was spawned with
/// [`process_group(0)`](std::os::unix::process::CommandExt::process_group). All that it starts is
/// in the group, too, except for a process that leaves it by `setsid` or `setpgid`, as daemons and
/// the jobs of an interactive shell do. Such a process is not reached.
///
/// It is a view of the handle, and clones are of the same handle. Its methods fail with ECHILD once
/// the handle is done, and with EINVAL once it is released: **reap the leader last.** An unreaped
/// leader keeps the number of its group from being reused. [`terminate`](Self::terminate) does it in
/// this order; otherwise wait for the leader with [`PidHandle::wait_exited`] first.
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
/// On Linux the members are read from `/proc`. If `/proc` is missing, or is that of another PID
/// namespace, the waits and `terminate` return [`Unsupported`](io::ErrorKind::Unsupported). A `/proc`
/// that hides the processes of other users (`hidepid`) hides such members, too, except the leader. On
/// other systems members cannot be listed: waits look repeatedly whether the group can still be
/// signalled.
#[derive(Clone, Debug)]
pub struct ProcessGroup {
    leader: PidHandle,
}

impl PidHandle {
    /// Returns a view of the process group that the process leads.
    ///
    /// It never fails: if the process leads no group, the methods of the view fail with ESRCH.
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
    /// leader.wait_exited()?; // It is not reaped yet, so the group is still its own.
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
    /// Sends a signal to every process of the group, and to no other process.
    ///
    /// A group of zombies can be signalled, without effect. Signal 0 only checks whether the group
    /// could be signalled.
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
    /// - ECHILD: the leader was reaped. (With [`Backend::Pidfd`](crate::Backend::Pidfd) on Linux 6.9
    ///   and later, the group can still be signalled after *other* code reaped its leader.)
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no process of the group may be signalled.
    ///
    /// # Platform notes
    ///
    /// [pidfd_send_signal(2)] with `PIDFD_SIGNAL_PROCESS_GROUP` on Linux 6.9 and later. Otherwise
    /// [kill(2)] with the negative PID, after a check that the leader is unreaped. That is safe if
    /// the leader is reaped through this handle only; between the check and the `kill`, other code
    /// can reap it and the number of an empty group be reused.
    ///
    /// A leader that has left the group, to join another one, can still be used to signal the group
    /// that it led.
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    #[doc(alias = "killpg")]
    #[doc(alias = "kill")]
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        group::signal_group(&mut self.leader.leader()?, signal)
    }

    /// Kills every process of the group with SIGKILL. It reaps none of them.
    ///
    /// The kernel sends it to all members at once: one that forks at this moment leaves no survivor.
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
    /// Zombies do not count, because their parent may never reap them. Nothing is reaped.
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
    /// - ECHILD: the leader was reaped, and it is not known whether a member is alive.
    /// - EINVAL: the handle is released.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): see [the platform notes](Self#platform-notes).
    /// - EMFILE, ENFILE: `/proc` cannot be read without a descriptor.
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Timeout::Poll)
    }

    /// Waits until no process of the group is alive, the leader included. It reaps nothing.
    ///
    /// It ends as soon as a moment is found at which no member was alive, also if members fork new
    /// ones as fast as they can.
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
    /// With [`Backend::Pidfd`](crate::Backend::Pidfd) it polls the pidfds of members, one after the
    /// other, and so it has one descriptor open. That a member leaves the group causes no event, and
    /// is noticed after at most a second. With [`Backend::Waitpid`](crate::Backend::Waitpid) it
    /// looks repeatedly at the members that it has found, 1 ms to 50 ms apart.
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Timeout::Infinite).map(drop)
    }

    /// Waits as [`wait_exited`](Self::wait_exited) does, for at most `timeout`: `false` once that
    /// has passed, and never earlier.
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

    /// Terminates the whole group and reaps the leader: SIGTERM, at most `grace` for all members to
    /// exit, then SIGKILL.
    ///
    /// SIGCONT follows SIGTERM, so that stopped members can take it. A member that needs more time
    /// than its leader gets it, within `grace`. If the leader has exited already, the other members
    /// are ended in the same way. The leader is reaped last, once no other member is alive; the
    /// status is the leader's.
    ///
    /// After SIGKILL it waits as long as it takes until the members are gone.
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
    /// - ECHILD: the leader is a non-child, or was reaped.
    /// - ESRCH: the process does not lead the group that it is in.
    /// - Those of [`has_exited`](Self::has_exited).
    ///
    /// Later, with the leader left unreaped:
    ///
    /// - EPERM: a member may not be signalled. All others are gone.
    /// - ECHILD: other code, or another thread's wait, has reaped the leader meanwhile, so that the
    ///   group could not be signalled any more.
    /// - EMFILE, ENFILE: no descriptor was left to look for members. Terminate the group again.
    pub fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate_with(FIRST_SIGNAL, grace)
    }

    /// Terminates the group as [`terminate`](Self::terminate) does, with another first signal than
    /// SIGTERM.
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
    pub fn terminate_with(&self, signal: c_int, grace: Duration) -> io::Result<ExitStatus> {
        group::end(&mut self.leader.leader()?, signal, grace)?;
        self.leader.wait()
    }

    fn exited_within(&self, timeout: Timeout) -> io::Result<bool> {
        group::wait_exited(&mut self.leader.leader()?, timeout)
    }
}
