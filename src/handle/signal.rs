//! Sending signals, and ending a process with them.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, SIGCONT, SIGKILL, SIGTERM};

use super::PidHandle;
use crate::backend::Limit;
use crate::sys;

impl PidHandle {
    /// Sends a signal to the process, child or not, and never to another one.
    ///
    /// A zombie can be signalled, to no effect. Signal 0 only asks whether it may be.
    ///
    /// # Errors
    ///
    /// - ECHILD: the process was reaped, by anyone, or there was none.
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no permission.
    ///
    /// # Platform notes
    ///
    /// [pidfd_send_signal(2)], or [kill(2)] on [`Backend::Waitpid`](crate::Backend::Waitpid): safe
    /// for a child that is reaped through this handle only. Of a process that is no child, and of
    /// a child that others may reap at any moment, a pid can never be trusted to the last.
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::from(Command::new("sleep").arg("60").spawn()?);
    /// child.signal(15)?; // SIGTERM
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        self.act(
            |_| sys::is_signal(signal).then_some(()).ok_or(Errno::EINVAL),
            |process| process.signal(signal),
        )
    }

    /// Kills the process: [`signal`](Self::signal) with SIGKILL. It is still to be waited for.
    ///
    /// # Errors
    ///
    /// Those of [`signal`](Self::signal).
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::from(Command::new("sleep").arg("60").spawn()?);
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.signal(SIGKILL)
    }

    /// Sends a signal to every process of the process group that this one leads.
    ///
    /// A child leads one if it was spawned with
    /// [`process_group(0)`](std::os::unix::process::CommandExt::process_group). To end a whole
    /// group, wait for its leader without reaping it, so that its name stays the group's own:
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let script = "sleep 60 & exit 3";
    /// let leader = Command::new("sh").args(["-c", script]).process_group(0).spawn()?;
    /// let leader = PidHandle::open(leader.id())?;
    /// leader.wait_exited()?;
    /// leader.signal_group(9)?; // SIGKILL
    /// assert_eq!(leader.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - EINVAL: the process leads no group; the handle is released; there is no such signal.
    /// - ECHILD: the process was reaped. (On Linux 6.9 and later a group can still be signalled
    ///   after somebody else reaped its leader.)
    /// - EPERM: no permission for any process of the group.
    ///
    /// # Platform notes
    ///
    /// Linux 6.9 and later: `PIDFD_SIGNAL_PROCESS_GROUP`. Otherwise `kill(-pid)` while the leader
    /// is unreaped; with a pidfd and an older kernel, a wait in another thread that reaps the
    /// leader just then leaves a small window in which the group could be another one's. By that
    /// way the group of pid 1 is out of reach (EINVAL), for `kill(-1)` means everybody.
    ///
    /// A handle made of a [`Child`](std::process::Child) that was a zombie already had to reap it:
    /// it answers as one whose leader was reaped. Where the group is to be signalled after the
    /// leader's exit, use `PidHandle::open(child.id())`.
    pub fn signal_group(&self, signal: c_int) -> io::Result<()> {
        self.act(
            |kept| kept.process.signal_group(signal),
            |process| process.signal_group(signal),
        )
    }

    /// Ends the child in good order: SIGTERM, `grace` to go, then SIGKILL; and reaps it.
    ///
    /// It looks first, and a child that has exited already is not signalled. SIGCONT goes with
    /// SIGTERM, so that a stopped child can take it. The status tells which signal it was, if any.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), before anything is sent, and of [`signal`](Self::signal).
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::from(Command::new("sleep").arg("60").spawn()?);
    /// let status = child.terminate(Duration::from_secs(5))?;
    /// assert_eq!(status.signal(), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        terminate(
            &mut &*self,
            grace,
            |handle, signal| handle.signal(signal),
            |handle, limit| handle.reap(limit, None),
        )
    }
}

/// The steps of an ending, for whatever can be signalled and reaped.
pub(crate) fn terminate<T>(
    target: &mut T,
    grace: Duration,
    signal: impl Fn(&T, c_int) -> io::Result<()>,
    reap: impl Fn(&mut T, Limit) -> io::Result<Option<ExitStatus>>,
) -> io::Result<ExitStatus> {
    if let Some(status) = reap(target, Limit::Try)? {
        return Ok(status);
    }
    signal(target, SIGTERM)?;
    signal(target, SIGCONT)?;
    if let Some(status) = reap(target, Limit::after(grace))? {
        return Ok(status);
    }
    signal(target, SIGKILL)?;
    // Without a limit the time cannot run out.
    reap(target, Limit::Never)?.ok_or_else(|| Errno::ECHILD.into())
}
