//! Waiting for a child's status, and reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::reap::HandleWait;
use super::PidHandle;
use crate::exit::ResourceUsage;
use crate::wait::{self, Timeout};

impl PidHandle {
    /// Waits for the child to exit and reaps it.
    ///
    /// Only the exit ends the wait: no stop, no trace stop, no signal handler. If several threads
    /// wait, one gets the status and the others fail with ECHILD; [`exit_status`](Self::exit_status)
    /// then returns it to each of them, and [`wait_shared`](Self::wait_shared) is both in one call. A
    /// wait that blocks when the handle is released continues.
    ///
    /// It does not close a [`stdin`](crate::Spawned::stdin) that is still held: drop that first if
    /// the child reads to its end.
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
    /// - ECHILD: the handle is done; or the process is a non-child, was reaped by other code, or its
    ///   status was thrown away because SIGCHLD is ignored. See
    ///   [`exit_status`](Self::exit_status), and [`wait_exited`](Self::wait_exited) for non-children.
    /// - EINVAL: the handle is released.
    ///
    /// # Platform notes
    ///
    /// [waitid(2)]. Of a child that this process traces, the wait may take the report of a trace
    /// stop away from the tracer; it then waits on for the exit.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait(&self) -> io::Result<ExitStatus> {
        wait::reap_unlimited(&mut HandleWait::new(self, None))
    }

    /// Reaps the child if it has exited, and never blocks: `None` while it runs or is stopped.
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
        self.reap(Timeout::Poll)
    }

    /// Waits for the child to exit and reaps it, for at most `timeout`: `None` once that has passed.
    ///
    /// It never returns `None` early, by the monotonic clock, which does not count time in which the
    /// system was suspended. The child is as it was then, and a later wait gets its status. Zero is
    /// [`try_wait`](Self::try_wait). A time too long for the clock, such as [`Duration::MAX`], is no
    /// limit. For a non-child: [`wait_exited_timeout`](Self::wait_exited_timeout).
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
    /// [`Backend::Pidfd`](crate::Backend::Pidfd) polls the descriptor.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) starts one watcher thread for the handle, which
    /// ends with the process. If no thread or descriptor is available, it looks repeatedly and is
    /// late by at most the larger of 1 ms and a twentieth of the time waited (50 ms at most).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.reap(Timeout::after(timeout))
    }

    /// Waits for the child to exit and reaps it, at most until `deadline`.
    ///
    /// As [`wait_timeout`](Self::wait_timeout); a deadline in the past is one try.
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

    /// Waits as [`wait`](Self::wait) does, and returns the resources that the process used.
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
    /// Those of [`wait`](Self::wait). [`Unsupported`](io::ErrorKind::Unsupported), with the status
    /// left for another wait, if the handle was made by `Spawned::from` of a `Child` that exited
    /// during that call or, on a system other than Linux, before it.
    ///
    /// # Platform notes
    ///
    /// Linux: the fifth argument of the `waitid` system call. Elsewhere: [wait4(2)]. On Linux
    /// `max_rss` of a spawned program starts at the peak of the process that spawned it.
    ///
    /// [wait4(2)]: https://man7.org/linux/man-pages/man2/wait4.2.html
    #[doc(alias = "wait4")]
    #[doc(alias = "waitid")]
    #[doc(alias = "getrusage")]
    pub fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        let mut usage = ResourceUsage::default();
        let status = wait::reap_unlimited(&mut HandleWait::new(self, Some(&mut usage)))?;
        Ok((status, usage))
    }

    /// Waits as [`wait`](Self::wait) does, but every caller gets the status: now, if another wait
    /// took it, and at any later time.
    ///
    /// For several threads or tasks that all have to know how the child ended, without a lock around
    /// the wait. With a timeout: [`wait_exited_timeout`](Self::wait_exited_timeout) first, then this.
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
    /// - ECHILD: no wait through this handle or a clone got the status, and none can:
    ///   the process is a non-child, or was reaped by other code, or SIGCHLD is ignored. If the
    ///   kernel has a record of the exit, the call returns that instead; see
    ///   [`exit_status`](Self::exit_status).
    /// - EINVAL: the handle is released, and no wait has got the status.
    ///
    /// # Platform notes
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub fn wait_shared(&self) -> io::Result<ExitStatus> {
        // A wait that fails because another one took the status returns only after that is noted.
        self.wait().or_else(|error| self.exit_status().ok_or(error))
    }

    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn try_wait_usage(&self) -> io::Result<Option<(ExitStatus, ResourceUsage)>> {
        let mut usage = ResourceUsage::default();
        let status = wait::reap(&mut HandleWait::new(self, Some(&mut usage)), Timeout::Poll)?;
        Ok(status.map(|status| (status, usage)))
    }
}
