// Tests: tests/it/exit.rs, tests/it/shared.rs

//! Whether and how a process has exited, child or not, without reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{settle, with_process, Phase, PidHandle};
use crate::backend::Process;
use crate::support::Backend;
use crate::sys;
use crate::wait::{poll_until, Timeout};

impl PidHandle {
    /// Returns whether the process, child or not, has exited. A zombie has exited. Nothing is reaped.
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
    /// EINVAL: the handle is released. On a done handle it returns `true`.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) cannot tell that a non-child is a zombie, and
    /// returns `false` until it is reaped; nor that a child is one, as long as a tracer holds it. If the
    /// start time of a non-child is not known (see [`open`](Self::open)) and its PID was reused, it also
    /// returns `false`.
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Timeout::Poll)
    }

    /// Waits until the process, child or not, has exited. Nothing is reaped.
    ///
    /// Any number of threads can wait for one process. They can also wait for a
    /// [`Child`](std::process::Child) that they share, and reap it by its own `wait` afterwards.
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
    /// EINVAL: the handle is released. On a done handle it returns at once.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [poll(2)] on the descriptor.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): for a child [waitid(2)] with WNOWAIT; for a
    /// non-child repeated checks, 1 ms to 50 ms apart, with the limits of
    /// [`has_exited`](Self::has_exited).
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "WNOWAIT")]
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Timeout::Infinite).map(drop)
    }

    /// Waits until the process, child or not, has exited. Returns `false` once `timeout` has passed,
    /// and never earlier.
    ///
    /// Like [`wait_exited`](Self::wait_exited). A timeout of zero is [`has_exited`](Self::has_exited).
    /// One that is too long for the clock is no limit.
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
    /// EINVAL: the handle is released. On a done handle it returns `true` at once.
    ///
    /// # Platform notes
    ///
    /// Those of [`wait_exited`](Self::wait_exited). For a child,
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) uses the watcher thread of
    /// [`wait_timeout`](Self::wait_timeout).
    #[doc(alias = "waitid")]
    #[doc(alias = "WNOWAIT")]
    pub fn wait_exited_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.exited_within(Timeout::after(timeout))
    }

    /// Returns how the process ended, if that is known. It never waits for the exit.
    ///
    /// If a wait through this handle or a clone got the status, it returns that. Otherwise it asks the
    /// kernel, which may keep a record of a reaped process: even if other code reaped it, if its
    /// status was thrown away because SIGCHLD is ignored, or if it is a non-child.
    ///
    /// Returns `None` while the process runs or is a zombie, and on a handle that was released before
    /// it had the status. A zombie that was given to
    /// [`Spawned::from`](crate::Spawned#impl-From%3CChild%3E-for-Spawned) was reaped there, so its status
    /// is returned before any wait.
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
    /// The kernel keeps records on Linux 6.15 and later. Only [`Backend::Pidfd`](crate::Backend::Pidfd)
    /// can read them, and only while the handle is live.
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
        if self.backend == Backend::Pidfd && guard.in_flight > 0 && guard.status.is_none() {
            let (process, state) = guard.parts()?;
            if process.peek(&mut state.seen) == Err(Errno::ECHILD) {
                guard = self.await_other_reaps(guard);
            }
        }
        guard.status
    }

    /// Whether a wait would return the status now. Nothing is reaped.
    pub(crate) fn is_waitable(&self) -> io::Result<bool> {
        let guard = self.shared.lock();
        if guard.is_reaped_early() {
            return Ok(true);
        }
        with_process(guard, |process, seen| {
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
                    // ECHILD: it was reaped, and so it has exited.
                    let _ = self.block_by_pid(guard, process.pid());
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

    /// One check of a wait that began while the handle was live.
    fn peek_exited(&self, process: &Process) -> io::Result<bool> {
        let mut guard = self.shared.lock();
        let exited = process.has_exited(&mut guard.seen)?;
        settle(guard, None);
        Ok(exited)
    }

    fn poll_exited(&self, process: &Process, deadline: Option<Instant>) -> io::Result<bool> {
        let check = || -> io::Result<_> { Ok(self.peek_exited(process)?.then_some(())) };
        Ok(poll_until(deadline, check)?.is_some())
    }
}
