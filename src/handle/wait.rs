// Tests: tests/it/wait.rs, tests/it/timeout.rs, tests/it/usage.rs, tests/contract/handle.rs

//! Waiting for a child's status, and reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{HandleSubject, PidHandle};
use crate::engine::{self, Subject, Timeout};
use crate::exit::ResourceUsage;

impl PidHandle {
    /// Waits for the child to exit and reaps it.
    ///
    /// Only the exit ends the wait. A stop, a trace stop or a signal handler does not. If several
    /// threads wait, one gets the status and the others fail with ECHILD. They can then call
    /// [`exit_status`](Self::exit_status); [`wait_shared`](Self::wait_shared) does both in one call.
    /// A wait that blocks when the handle is released continues.
    ///
    /// It does not close the child's [`stdin`](crate::Spawned::stdin): drop that first if the child
    /// reads its input to the end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done; or the process was reaped by other code, or is not a child, or
    ///   its status was thrown away because SIGCHLD is ignored. The status may still be available
    ///   from [`exit_status`](Self::exit_status). For a non-child use
    ///   [`wait_exited`](Self::wait_exited).
    /// - EINVAL: the handle is released.
    /// - EMFILE, ENFILE, ENOMEM: [`Backend::Waitpid`](crate::Backend::Waitpid) had no descriptor or
    ///   memory to check that a process that became a child by adoption is the one that was opened.
    ///   Nothing is reaped.
    ///
    /// # Platform notes
    ///
    /// [waitid(2)]. If this process traces the child, the wait may consume the report of a trace
    /// stop; it then continues to wait for the exit.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait(&self) -> io::Result<ExitStatus> {
        engine::reap_unlimited(&mut HandleSubject::new(self))
    }

    /// Reaps the child if it has exited, without blocking. Returns `None` while it runs or is stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert!(child.try_wait()?.is_none());
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        HandleSubject::new(self).try_reap()
    }

    /// Waits for the child to exit and reaps it. Returns `None` once `timeout` has passed, and never
    /// earlier.
    ///
    /// The timeout leaves the child as it is, and a later wait returns its status. Time is measured
    /// by the monotonic clock, which on Linux does not count while the system is suspended. A timeout
    /// of zero is [`try_wait`](Self::try_wait). One that is too long for the clock, such as
    /// [`Duration::MAX`], is no limit. For a non-child use
    /// [`wait_exited_timeout`](Self::wait_exited_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert!(child.wait_timeout(Duration::from_millis(10))?.is_none());
    /// child.kill()?;
    /// assert!(child.wait_timeout(Duration::from_secs(60))?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), as soon as the kernel reports them.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [poll(2)] on the descriptor.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): the first timed wait starts a watcher thread
    /// for the handle, which ends when the process exits. If no thread or descriptor is available,
    /// the wait checks repeatedly. It then notices the exit up to 1 ms late, or up to a twentieth of
    /// the time waited if that is more, but never more than 50 ms late.
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.reap(Timeout::after(timeout))
    }

    /// Waits for the child to exit and reaps it. Returns `None` once `deadline` has passed.
    ///
    /// Like [`wait_timeout`](Self::wait_timeout). With a deadline in the past it checks once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// for code in ["exit 1", "exit 2"] {
    ///     let child = PidHandle::spawn(Command::new("sh").args(["-c", code]))?.handle;
    ///     assert!(child.wait_deadline(deadline)?.is_some());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.reap(Timeout::until(deadline))
    }

    /// Waits for the child to exit, reaps it, and also returns the resources that it used.
    ///
    /// Otherwise it is like [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let (status, usage) = child.wait_usage()?;
    /// assert!(status.success());
    /// assert!(usage.max_rss > 4096);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - Those of [`wait`](Self::wait).
    /// - [`Unsupported`](io::ErrorKind::Unsupported), with the status kept for another wait: the handle
    ///   was made from a `Child` that had already exited, on systems other than Linux, or that exited
    ///   while the handle was made. Never for a child of [`spawn`](Self::spawn).
    /// - ENOSYS on illumos and Solaris, with the status kept for another wait: they have no `wait4`.
    ///
    /// # Platform notes
    ///
    /// Linux: the fifth argument of the `waitid` system call. Elsewhere: [wait4(2)]. On Linux the
    /// `max_rss` of a spawned program starts at the peak of the process that spawned it.
    ///
    /// [wait4(2)]: https://man7.org/linux/man-pages/man2/wait4.2.html
    #[doc(alias = "wait4")]
    #[doc(alias = "waitid")]
    #[doc(alias = "getrusage")]
    pub fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        let mut subject = HandleSubject::with_usage(self);
        let status = engine::reap_unlimited(&mut subject)?;
        Ok((status, subject.usage().unwrap_or_default()))
    }

    /// Waits for the child to exit and reaps it, and returns the status to every caller.
    ///
    /// It returns the status even if another wait through this handle has it already. Use it if
    /// several threads or tasks need to know how the child ended. With a timeout, call
    /// [`wait_exited_timeout`](Self::wait_exited_timeout) first.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    /// use std::thread;
    ///
    /// let child = PidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// let waiter = thread::spawn({
    ///     let child = child.clone();
    ///     move || child.wait_shared()
    /// });
    /// assert_eq!(child.wait_shared()?.code(), Some(3));
    /// assert_eq!(waiter.join().expect("no panic")?.code(), Some(3));
    /// assert_eq!(child.wait_shared()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: no wait through this handle or a clone got the status, and none can: the process is
    ///   not a child, or was reaped by other code, or SIGCHLD is ignored. If the kernel has a record
    ///   of the exit, the call returns that status instead: see [`exit_status`](Self::exit_status).
    /// - EINVAL: the handle was released before any wait got the status.
    ///
    /// # Platform notes
    ///
    /// Those of [`wait`](Self::wait) and [`exit_status`](Self::exit_status).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait_shared(&self) -> io::Result<ExitStatus> {
        // Without a timeout, `share` does not return `None`.
        self.share(Timeout::Infinite)?
            .ok_or_else(|| Errno::ECHILD.into())
    }

    /// Like [`wait_shared`](Self::wait_shared), without blocking. Returns `None` while the child runs.
    ///
    /// # Errors
    ///
    /// Those of [`wait_shared`](Self::wait_shared).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert_eq!(child.try_wait_shared()?, None);
    /// child.kill()?;
    /// let status = child.wait()?;
    /// assert_eq!(child.try_wait_shared()?, Some(status));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait_shared(&self) -> io::Result<Option<ExitStatus>> {
        self.share(Timeout::Now)
    }

    /// Like [`wait_shared`](Self::wait_shared), for at most `timeout`. Returns `None` once that has
    /// passed, and never earlier.
    ///
    /// A timeout of zero is [`try_wait_shared`](Self::try_wait_shared). One that is too long for the
    /// clock is no limit.
    ///
    /// # Errors
    ///
    /// Those of [`wait_shared`](Self::wait_shared).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert_eq!(child.wait_shared_timeout(Duration::from_millis(10))?, None);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_shared_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.share(Timeout::after(timeout))
    }

    /// Like [`wait_shared`](Self::wait_shared), until `deadline`. Returns `None` once that has passed,
    /// and never earlier.
    ///
    /// # Errors
    ///
    /// Those of [`wait_shared`](Self::wait_shared).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::Instant;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert_eq!(child.wait_shared_deadline(Instant::now())?, None);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_shared_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.share(Timeout::until(deadline))
    }

    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn try_wait_usage(&self) -> io::Result<Option<(ExitStatus, ResourceUsage)>> {
        let mut subject = HandleSubject::with_usage(self);
        let status = subject.try_reap()?;
        Ok(status.map(|status| (status, subject.usage().unwrap_or_default())))
    }

    fn reap(&self, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
        engine::reap(&mut HandleSubject::new(self), timeout)
    }

    fn share(&self, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
        engine::share(&mut HandleSubject::new(self), timeout)
    }
}
