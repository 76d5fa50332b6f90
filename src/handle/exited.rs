// Tests: tests/it/exit.rs, tests/it/shared.rs, tests/contract/

//! Whether and how a process has exited, child or not, without reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{settle, HandleSubject, Phase, PidHandle};
use crate::engine::{self, Timeout};

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
        self.exited_within(Timeout::Now)
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

    /// Waits until the process, child or not, has exited. Returns `false` once `deadline` has passed, and
    /// never earlier.
    ///
    /// Like [`wait_exited_timeout`](Self::wait_exited_timeout). With a deadline in the past it checks once.
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released. On a done handle it returns `true` at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let own = pidwait::PidHandle::open(std::process::id())?;
    /// assert!(!own.wait_exited_deadline(Instant::now())?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited_deadline(&self, deadline: Instant) -> io::Result<bool> {
        self.exited_within(Timeout::until(deadline))
    }

    /// Returns how the process ended, if that is known. It never waits for the exit, and reaps nothing.
    ///
    /// If a wait through this handle or a clone got the status, it returns that. Of a child that is a
    /// zombie it returns the status as well. Otherwise it asks the kernel, which may keep a record of a
    /// reaped process: even if other code reaped it, if its status was thrown away because SIGCHLD is
    /// ignored, or if it is a non-child.
    ///
    /// Returns `None` while the process runs, while a tracer holds its zombie, and on a handle that was
    /// released before it had the status.
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
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) cannot tell a child that other code reaped from a later
    /// child with the same PID, and returns the status of that one, as [`wait`](Self::wait) does.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut guard = self.lock();
        if guard.status.is_some() {
            return guard.status;
        }
        let Phase::Live(process) = &guard.phase else {
            return None;
        };
        let process = process.clone();
        let found = process.peek(&mut guard.seen, None);
        settle(guard);
        match found {
            Ok(event) => event.exited(),
            // Reaped by other code, or a non-child. The call can take a moment, so it needs no lock. A
            // wait may have got the status meanwhile.
            Err(_) => process.exit_record().or_else(|| self.lock().status),
        }
    }

    /// Whether the child can be reaped: it is a zombie, and no tracer holds it.
    pub(crate) fn is_waitable(&self) -> io::Result<bool> {
        if self.lock().is_reaped_early() {
            return Ok(true);
        }
        let event = self.with_process(|process, seen| process.peek(seen, None))?;
        Ok(event.exited().is_some())
    }

    /// The status, if a wait through this handle has got it.
    pub(crate) fn noted_status(&self) -> Option<ExitStatus> {
        self.lock().status
    }

    fn exited_within(&self, timeout: Timeout) -> io::Result<bool> {
        let mut subject = HandleSubject::new(self);
        match subject.take_process() {
            Err(Errno::ECHILD) => Ok(true),
            Err(errno) => Err(errno.into()),
            Ok(_) => engine::wait_exited(&mut subject, timeout),
        }
    }
}
