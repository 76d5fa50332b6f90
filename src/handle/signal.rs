//! Sending signals, and ending a process with them; reaping it in the background.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, SIGKILL};

use super::PidHandle;
use crate::background;
use crate::sys;
use crate::wait::{self, FIRST_SIGNAL};

impl PidHandle {
    /// Sends a signal to the process, child or not, and never to another one.
    ///
    /// A zombie can be signalled, without effect. Signal 0 only checks whether it could be.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.signal(15)?; // SIGTERM
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the process was reaped, by any code, or there was none.
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no permission.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [pidfd_send_signal(2)].
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): [kill(2)], after a check that the PID is still
    /// the process's own. That is safe for a child that is reaped through this handle only. Between
    /// the check and the `kill`, a non-child, or a child that other code reaps, can go and its PID
    /// be reused.
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    #[doc(alias = "kill")]
    #[doc(alias = "pidfd_send_signal")]
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        let guard = self.shared.lock();
        guard.check_live()?;
        if guard.is_reaped_early() {
            // To the caller it is a zombie: nothing is sent.
            return Ok(sys::is_signal(signal).then_some(()).ok_or(Errno::EINVAL)?);
        }
        self.with_process(guard, |process, seen| process.signal(seen, signal))
    }

    /// Kills the process with SIGKILL. It does not reap: wait for the process afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`signal`](Self::signal).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(SIGKILL)
    }

    /// Terminates the child: SIGTERM, at most `grace` to exit, then SIGKILL; and reaps it.
    ///
    /// It looks first, and does not signal a child that has exited already. SIGCONT follows SIGTERM,
    /// so that a stopped child can take it. The status tells which signal ended the child, if any.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = child.terminate(Duration::from_secs(5))?;
    /// assert_eq!(status.signal(), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), before anything is sent, and of [`signal`](Self::signal).
    pub fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate_with(FIRST_SIGNAL, grace)
    }

    /// Terminates the child as [`terminate`](Self::terminate) does, with another first signal than
    /// SIGTERM.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = child.terminate_with(2, Duration::from_secs(5))?; // SIGINT
    /// assert_eq!(status.signal(), Some(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), and EINVAL if there is no such signal.
    pub fn terminate_with(&self, signal: c_int, grace: Duration) -> io::Result<ExitStatus> {
        wait::terminate(
            &mut &*self,
            signal,
            grace,
            |handle, signal| handle.signal(signal),
            |handle, timeout| handle.reap(timeout),
        )
    }

    /// Has the child reaped when it exits, by a thread of this crate. It never blocks.
    ///
    /// For a child that no code will wait for and that must not stay a zombie. The child runs on, also
    /// if this handle is dropped or released. One thread serves the whole program; the first call
    /// starts it, with a small stack and all signals blocked.
    ///
    /// The status is not lost: when the thread has reaped the child, the handle and its clones are
    /// done, and [`exit_status`](Self::exit_status) returns the status. Other waits that are under way
    /// get it if they are faster, and fail with ECHILD otherwise.
    ///
    /// If the process is a non-child, or the handle is done or released, there is nothing to do.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("0.01"))?.handle;
    /// child.reap_in_background();
    /// child.wait_exited()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// The thread waits in [epoll_wait(2)], and needs one descriptor beside the pidfds of the
    /// children. With [`Backend::Waitpid`](crate::Backend::Waitpid) it looks repeatedly, at first
    /// 1 ms and then up to 50 ms apart.
    ///
    /// If no thread can be started, the child is reaped at the next call of this kind after its exit,
    /// of any handle, or when this process ends.
    ///
    /// [epoll_wait(2)]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html
    pub fn reap_in_background(&self) {
        background::reap(self);
    }
}
