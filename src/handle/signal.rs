// Tests: tests/it/signal.rs, tests/it/terminate.rs, tests/contract/handle.rs

//! Sending signals, and ending a process with them.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, SIGKILL};

use super::{with_process, PidHandle};
use crate::sys;
use crate::wait::{self, FIRST_SIGNAL};

impl PidHandle {
    /// Sends a signal to the process, child or not.
    ///
    /// A signal to a zombie succeeds without effect. Signal 0 sends nothing, and only checks whether the
    /// process exists and may be signalled.
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
    /// - ECHILD: the process was reaped, by any code, or did not exist when it was opened.
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no permission to signal the process.
    /// - EMFILE, ENFILE, ENOMEM: [`Backend::Waitpid`](crate::Backend::Waitpid) had no descriptor or
    ///   memory to check that a non-child still has its PID. Nothing is sent.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [pidfd_send_signal(2)], which never signals another
    /// process.
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): [kill(2)], after a check that the PID still
    /// belongs to the process. That is safe for a child that is reaped only through this handle. A
    /// non-child, or a child that other code reaps, can be reaped between the check and the `kill`,
    /// and its PID be reused.
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
        with_process(guard, |process, seen| process.signal(seen, signal))
    }

    /// Kills the process with SIGKILL. Does not reap it: wait for it afterwards.
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

    /// Terminates the child and reaps it: sends SIGTERM, waits for at most `grace`, then sends SIGKILL.
    ///
    /// A child that has already exited is only reaped. SIGCONT is sent after SIGTERM, so that a stopped
    /// child can handle it. The status tells which signal ended the child, if any. After SIGKILL it
    /// waits without a limit.
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
    /// - Those of [`wait`](Self::wait). For a non-child, nothing is sent.
    /// - Those of [`signal`](Self::signal).
    #[doc(alias = "kill")]
    pub fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        self.terminate_with(FIRST_SIGNAL, grace)
    }

    /// Terminates the child and reaps it: sends `signal`, waits for at most `grace`, then sends SIGKILL.
    ///
    /// Like [`terminate`](Self::terminate), with another first signal than SIGTERM.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use nix::libc::SIGUSR1;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = child.terminate_with(SIGUSR1, Duration::from_secs(5))?;
    /// assert_eq!(status.signal(), Some(SIGUSR1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), and EINVAL if there is no such signal.
    #[doc(alias = "kill")]
    pub fn terminate_with(&self, signal: c_int, grace: Duration) -> io::Result<ExitStatus> {
        wait::terminate(
            &mut &*self,
            signal,
            grace,
            |handle, signal| handle.signal(signal),
            |handle, timeout| handle.reap(timeout),
        )
    }
}
