//! Waiting for a child's exit status, and reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::PidHandle;
use crate::backend::Limit;
use crate::exit::ResourceUsage;

impl PidHandle {
    /// Waits for the process, a child, to exit, and reaps it.
    ///
    /// Only the exit ends it: not a stop, not a trace stop, not a signal handler that runs
    /// meanwhile. Of several waits at once one gets the status and the others ECHILD; once all
    /// have returned, [`exit_status`](Self::exit_status) tells it to everybody. A wait that is
    /// under way when the handle is released goes on.
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done; or the process is no child of ours, was reaped by somebody
    ///   else, or had its status thrown away because SIGCHLD is ignored. See
    ///   [`exit_status`](Self::exit_status), and [`wait_exited`](Self::wait_exited) for processes
    ///   that are not children.
    /// - EINVAL: the handle is released.
    ///
    /// # Platform notes
    ///
    /// [waitid(2)], and by pid [wait4(2)] too. A child that this process traces: the wait may take
    /// the report of a trace stop from the tracer, and then waits on for the exit.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [wait4(2)]: https://man7.org/linux/man-pages/man2/wait4.2.html
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::from(Command::new("true").spawn()?);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&self) -> io::Result<ExitStatus> {
        self.reap_unlimited(None)
    }

    /// Reaps the child if it has exited, and never blocks: `None` while it runs or is stopped.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::from(Command::new("sleep").arg("60").spawn()?);
    /// assert!(child.try_wait()?.is_none());
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(Limit::Try, None)
    }

    /// Waits for the child to exit, but no longer than `timeout`: `None` once that has passed.
    ///
    /// `None` never comes early, by the monotonic clock, and the child is as it was: a later wait
    /// gets the status. Zero is [`try_wait`](Self::try_wait). A time too long for the clock, such
    /// as [`Duration::MAX`], is no limit. For a process that is no child:
    /// [`wait_exited_timeout`](Self::wait_exited_timeout).
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and at once where the kernel knows at once.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`] polls the descriptor. [`Backend::Waitpid`] starts one watcher thread for
    /// the handle, which ends with the process; where none can be had it looks again and again, up
    /// to 50 ms apart.
    ///
    /// [`Backend::Pidfd`]: crate::Backend::Pidfd
    /// [`Backend::Waitpid`]: crate::Backend::Waitpid
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::from(Command::new("sleep").arg("60").spawn()?);
    /// assert!(child.wait_timeout(Duration::from_millis(10))?.is_none());
    /// child.kill()?;
    /// assert!(child.wait_timeout(Duration::from_secs(60))?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.reap(Limit::after(timeout), None)
    }

    /// Waits for the child to exit, but no longer than until `deadline`.
    ///
    /// As [`wait_timeout`](Self::wait_timeout); a deadline in the past is one try.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// for code in ["exit 1", "exit 2"] {
    ///     let child = PidHandle::from(Command::new("sh").args(["-c", code]).spawn()?);
    ///     assert!(child.wait_deadline(deadline)?.is_some());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.reap(Limit::Until(deadline), None)
    }

    /// Waits as [`wait`](Self::wait) does, and says what the process has used.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait). [`Unsupported`](io::ErrorKind::Unsupported), with the status
    /// left for another wait, where a handle was made of a child that exited just then, or, on
    /// systems other than Linux, of one that had exited before: its usage was never to be had.
    ///
    /// # Platform notes
    ///
    /// `waitid`'s fifth argument by descriptor, [wait4(2)] by pid.
    ///
    /// [wait4(2)]: https://man7.org/linux/man-pages/man2/wait4.2.html
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::from(Command::new("true").spawn()?);
    /// let (status, usage) = child.wait_usage()?;
    /// assert!(status.success());
    /// assert!(usage.max_rss > 4096);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        let mut usage = ResourceUsage::default();
        let status = self.reap_unlimited(Some(&mut usage))?;
        Ok((status, usage))
    }

    fn reap_unlimited(&self, usage: Option<&mut ResourceUsage>) -> io::Result<ExitStatus> {
        // Without a limit the time cannot run out.
        self.reap(Limit::Never, usage)?
            .ok_or_else(|| Errno::ECHILD.into())
    }
}
