//! Whether and how a process has exited, child or not, without reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;

use super::{settle, Phase, PidHandle};
use crate::backend::{waitpid, Process};
use crate::support::Backend;
use crate::sys;
use crate::wait::{poll_until, Timeout};

impl PidHandle {
    /// Returns whether the process, child or not, has exited. A zombie counts; nothing is reaped.
    ///
    /// # Examples
    ///
    /// ```
    /// let own = pidwait::PidHandle::open(std::process::id())?;
    /// assert!(!own.has_exited()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released. A handle that is done returns `true`.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) cannot see the zombie of a non-child, nor one
    /// that a tracer holds: it returns `true` once that is reaped. If the start time of the
    /// non-child is not known (see [`open`](Self::open)) and its PID was reused, it returns `false`.
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Timeout::Poll)
    }

    /// Waits until the process, child or not, has exited. It reaps nothing.
    ///
    /// Any number of threads can wait for one process, also for a [`Child`](std::process::Child)
    /// that they share: the first to return can reap it.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let mut child = Command::new("true").spawn()?;
    /// PidHandle::open(child.id())?.wait_exited()?;
    /// assert!(child.try_wait()?.is_some()); // It was not reaped before.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released. A handle that is done returns at once.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [poll(2)] on the descriptor.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): for a child `waitid` with WNOWAIT; for a
    /// non-child repeated looks, 1 ms to 50 ms apart, with the limits of
    /// [`has_exited`](Self::has_exited).
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Timeout::Infinite).map(drop)
    }

    /// Waits as [`wait_exited`](Self::wait_exited) does, for at most `timeout`: `false` once that
    /// has passed, and never earlier.
    ///
    /// Zero is [`has_exited`](Self::has_exited); a time too long for the clock is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let own = pidwait::PidHandle::open(std::process::id())?;
    /// assert!(!own.wait_exited_timeout(Duration::from_millis(10))?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released.
    pub fn wait_exited_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.exited_within(Timeout::after(timeout))
    }

    /// Returns how the process ended, if that is known; it never waits for the exit.
    ///
    /// That is the status that a wait through this handle or a clone got. Otherwise it is the
    /// kernel's record of a process that was reaped, if the kernel keeps one: so the status can
    /// still be had that another wait took, that was thrown away because SIGCHLD is ignored, or that
    /// is of a non-child.
    ///
    /// `None` while the process runs, while it is a zombie that no call has reaped, and on a handle
    /// that was released before it had the status.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// child.wait()?;
    /// assert!(child.exit_status().is_some_and(|status| status.success()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// The kernel's record: Linux 6.15 and later with
    /// [`Backend::Pidfd`](crate::Backend::Pidfd), as long as the handle is live.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut guard = self.shared.lock();
        match guard.phase {
            Phase::Live => {}
            Phase::ReapedEarly(_) | Phase::Done | Phase::Released => return guard.status,
        }
        let lease = self.lease(&mut guard).ok()?;
        drop(guard);
        let recorded = lease.exit_record();
        // A wait may have got the status meanwhile; a kernel without records has only that.
        recorded.or_else(|| self.status_of_waits())
    }

    /// The status that a wait through this handle got. Thread A may have reaped and not noted it yet,
    /// and thread B has seen that the process is gone: B lets A finish.
    fn status_of_waits(&self) -> Option<ExitStatus> {
        let mut guard = self.shared.lock();
        // By PID a reap notes it under the lock. In a forked process no thread is left that would.
        let by_pidfd = self.backend == Backend::Pidfd && !guard.is_forked();
        if by_pidfd && guard.in_flight > 0 && guard.status.is_none() {
            let (process, state) = guard.parts()?;
            if process.peek(&mut state.seen) == Err(Errno::ECHILD) {
                guard = guard.wait_until(|state| state.in_flight == 0 || state.status.is_some());
            }
        }
        guard.status
    }

    /// Whether a wait would get the status now. It reaps nothing.
    pub(crate) fn is_waitable(&self) -> io::Result<bool> {
        let guard = self.shared.lock();
        if guard.is_reaped_early() {
            return Ok(true);
        }
        self.with_process(guard, |process, seen| {
            Ok(process.peek(seen)?.exited().is_some())
        })
    }

    /// The status that a wait through this handle got.
    pub(crate) fn noted_status(&self) -> Option<ExitStatus> {
        self.shared.lock().status
    }

    fn exited_within(&self, timeout: Timeout) -> io::Result<bool> {
        let mut guard = self.shared.lock();
        match guard.phase {
            Phase::Live => {}
            Phase::ReapedEarly(_) | Phase::Done => return Ok(true),
            Phase::Released => return Err(Errno::EINVAL.into()),
        }
        let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
        let exited = process.has_exited(&mut state.seen)?;
        if exited || matches!(timeout, Timeout::Poll) {
            settle(guard, None);
            return Ok(exited);
        }
        let lease = self.lease(&mut guard)?;
        let deadline = timeout.deadline();
        match &*lease {
            Process::Pidfd(process) => {
                drop(guard);
                Ok(process.block_until_exited(deadline)?)
            }
            Process::Waitpid(process) if process.is_child(&guard.seen) => {
                if deadline.is_none() {
                    let peek = self.begin_blocking(guard)?;
                    let found = waitpid::block_until_waitable(process.pid());
                    drop(peek);
                    let mut guard = self.end_blocking();
                    // ECHILD: it was reaped, and so it has exited.
                    let _ = guard.seen.note(found);
                    settle(guard, None);
                    return Ok(true);
                }
                let watched = self.watch(&mut guard);
                drop(guard);
                match watched {
                    Ok(fd) => Ok(sys::poll_readable(&*fd, deadline)? || self.peek_exited(&lease)?),
                    Err(_) => self.poll_exited(&lease, deadline),
                }
            }
            Process::Waitpid(_) => {
                drop(guard);
                self.poll_exited(&lease, deadline)
            }
        }
    }

    /// One look of a wait that began while the handle was live.
    fn peek_exited(&self, process: &Process) -> io::Result<bool> {
        let mut guard = self.shared.lock();
        let exited = process.has_exited(&mut guard.seen)?;
        settle(guard, None);
        Ok(exited)
    }

    fn poll_exited(
        &self,
        process: &Process,
        deadline: Option<std::time::Instant>,
    ) -> io::Result<bool> {
        let look = || -> io::Result<_> { Ok(self.peek_exited(process)?.then_some(())) };
        Ok(poll_until(deadline, look)?.is_some())
    }
}
