//! Waiting for a child's status, and reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{settle, Guard, Lease, Phase, PidHandle};
use crate::backend::{waitpid, Process};
use crate::exit::{Event, ResourceUsage};
use crate::support::Backend;
use crate::sys;
use crate::wait::{self, poll_until, Timeout, Waitable};

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
        self.reap(Timeout::At(deadline))
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
    /// left for another wait, if the handle was made of a `Child` that had exited before, on a
    /// system other than Linux.
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

    pub(crate) fn reap(&self, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
        wait::reap(&mut HandleWait::new(self, None), timeout)
    }

    /// Counts a blocking call as under way, and takes a lease for it. The caller drops the guard and
    /// must call [`end_blocking`](Self::end_blocking).
    pub(super) fn begin_blocking<'a>(&'a self, mut guard: Guard<'a>) -> nix::Result<Lease<'a>> {
        let lease = self.lease(&mut guard)?;
        guard.in_flight += 1;
        Ok(lease)
    }

    pub(super) fn end_blocking(&self) -> Guard<'_> {
        let mut guard = self.shared.lock();
        guard.in_flight -= 1;
        if guard.in_flight == 0 {
            guard.notify();
        }
        guard
    }
}

/// One wait through a handle.
struct HandleWait<'a> {
    handle: &'a PidHandle,
    usage: Option<&'a mut ResourceUsage>,
    /// Taken before the wait blocks: from then on it continues even if the handle is released.
    lease: Option<Lease<'a>>,
}

impl<'a> HandleWait<'a> {
    fn new(handle: &'a PidHandle, usage: Option<&'a mut ResourceUsage>) -> Self {
        Self {
            handle,
            usage,
            lease: None,
        }
    }

    /// Locks the handle, if this wait may act on it.
    fn lock(&self) -> io::Result<Guard<'a>> {
        let guard = self.handle.shared.lock();
        match guard.check_live() {
            Err(Errno::EINVAL) if self.lease.is_some() => {
                // Another wait may have reaped since this one began; its PID is not used again.
                guard.seen.check_present()?;
                Ok(guard)
            }
            Err(errno) => Err(errno.into()),
            Ok(()) => Ok(guard),
        }
    }

    /// Takes the status of a zombie that was reaped when the handle was made.
    fn take_reaped_early(&mut self, guard: &mut Guard<'a>) -> io::Result<Option<ExitStatus>> {
        let Phase::ReapedEarly(kept) = &guard.phase else {
            return Ok(None);
        };
        if let Some(usage) = &mut self.usage {
            **usage = **kept.as_ref().ok_or_else(usage_is_lost)?;
        }
        Ok(guard.status)
    }

    /// Ends a call that may have reaped.
    fn finish(
        &self,
        mut guard: Guard<'a>,
        found: nix::Result<Event>,
    ) -> io::Result<Option<ExitStatus>> {
        match found {
            Ok(event) => {
                let status = event.exited();
                settle(guard, status);
                Ok(status)
            }
            Err(Errno::ECHILD) => {
                // Another thread may have reaped and not noted the status yet. By PID a reap notes
                // it under the lock. In a forked process no other thread is left that would.
                if self.handle.backend == Backend::Pidfd && !guard.is_forked() {
                    guard =
                        guard.wait_until(|state| state.in_flight == 0 || state.status.is_some());
                }
                settle(guard, None);
                Err(Errno::ECHILD.into())
            }
            Err(errno) => {
                settle(guard, None);
                Err(errno.into())
            }
        }
    }
}

impl Waitable for HandleWait<'_> {
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut guard = self.lock()?;
        if let Some(status) = self.take_reaped_early(&mut guard)? {
            settle(guard, Some(status));
            return Ok(Some(status));
        }
        if guard.in_flight > 0 && self.handle.backend == Backend::Waitpid {
            // Not while another thread blocks in a peek by PID. That will return once there is a
            // zombie.
            let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
            let found = process.peek(&mut state.seen);
            if !matches!(found, Ok(Event::Exited(_))) {
                return self.finish(guard, found);
            }
            drop(guard.wait_until(|state| state.in_flight == 0));
            guard = self.lock()?;
        }
        let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
        let found = process.try_reap(&mut state.seen, self.usage.as_deref_mut());
        self.finish(guard, found)
    }

    fn reap_blocking(&mut self) -> io::Result<Option<ExitStatus>> {
        let guard = self.lock()?;
        if self.handle.backend == Backend::Waitpid || guard.is_reaped_early() {
            drop(guard);
            return self.try_reap();
        }
        let lease = self.handle.begin_blocking(guard)?;
        let found = lease.reap_blocking(self.usage.as_deref_mut());
        let guard = self.handle.end_blocking();
        self.lease = Some(lease);
        self.finish(guard, found.unwrap_or(Ok(Event::Running)))
    }

    fn block_until_waitable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.lease.is_none() {
            let mut guard = self.lock()?;
            self.lease = Some(self.handle.lease(&mut guard)?);
        }
        let Some(lease) = &self.lease else {
            return Ok(false);
        };
        match (&**lease, deadline) {
            (Process::Pidfd(process), deadline) => Ok(sys::poll_readable(process.fd(), deadline)?),
            (Process::Waitpid(process), None) => {
                let guard = self.lock()?;
                let peek = self.handle.begin_blocking(guard)?;
                let found = waitpid::block_until_waitable(process.pid());
                drop(peek);
                let mut guard = self.handle.end_blocking();
                let found = guard.seen.note(found);
                self.finish_peek(guard, found)
            }
            (Process::Waitpid(_), Some(_)) => self.block_until_notified(deadline),
        }
    }
}

impl HandleWait<'_> {
    fn finish_peek(&self, guard: Guard<'_>, found: nix::Result<Event>) -> io::Result<bool> {
        settle(guard, None);
        Ok(found?.exited().is_some())
    }

    /// By PID with a deadline: polls the descriptor that the watcher notifies.
    fn block_until_notified(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let peek = || -> io::Result<Option<()>> {
            let mut guard = self.lock()?;
            let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
            let found = process.peek(&mut state.seen);
            Ok(self.finish_peek(guard, found)?.then_some(()))
        };
        let mut guard = self.lock()?;
        let watched = self.handle.watch(&mut guard);
        drop(guard);
        match watched {
            // The watcher may be too late to notify: the last look is this thread's own.
            Ok(fd) => Ok(sys::poll_readable(&*fd, deadline)? || peek()?.is_some()),
            // Without descriptors or threads, looking repeatedly finds the same, only later.
            Err(_) => Ok(poll_until(deadline, peek)?.is_some()),
        }
    }
}

fn usage_is_lost() -> io::Error {
    let text = "the child had exited before its handle was made: its resource usage is lost";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
