// Tests: tests/it/exit_fd.rs, tests/it/timeout.rs, tests/contract/others.rs

//! Blocking until a process exits, and a descriptor to poll for it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::PoisonError;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::pid_t;

use super::{settle, Guard, Phase, PidHandle, Shared};
use crate::backend::{waitpid, Process, Seen};
use crate::checks;
use crate::engine::{check_until, Backoff};
use crate::exit::Event;
use crate::sys::{self, Arc, NotifyFd, Pidfd, Weak};

/// A descriptor that is readable once its process has exited, and stays so.
///
/// Returned by [`PidHandle::exit_fd`]. Pass it to `poll`, `epoll` or a reactor, and wait until it is
/// readable (POLLIN). Do not read from it. It stays open until it and its clones are dropped, even if
/// the handle is done, released or dropped. Clones share one descriptor.
///
/// While a thread of the process other than its main thread execs, the descriptor can be readable
/// for a moment although the process runs. After the poll, check with [`PidHandle::has_exited`] or
/// [`PidHandle::try_wait`].
#[derive(Clone)]
pub struct ExitFd(Source);

#[derive(Clone)]
enum Source {
    Pidfd(Arc<Pidfd>),
    Notify(Arc<NotifyFd>),
}

impl PidHandle {
    /// Returns a descriptor that becomes readable when the process, child or not, has exited.
    ///
    /// Use it in an event loop, or to wait for the exit or something else: a socket, a timer, or a
    /// signal by a signalfd or a self-pipe. It stays readable. It stays open even if the handle is
    /// done, released or dropped.
    ///
    /// # Examples
    ///
    /// This wait ends at the exit or at a message on a socket, which can come from a signal handler.
    ///
    /// ```
    /// use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    /// use pidwait::PidHandle;
    /// use std::io::Write;
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let (stop, mut sender) = UnixStream::pair()?;
    /// sender.write_all(b"stop")?;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let exit = child.exit_fd()?;
    /// let mut fds = [
    ///     PollFd::new(exit.as_fd(), PollFlags::POLLIN),
    ///     PollFd::new(stop.as_fd(), PollFlags::POLLIN),
    /// ];
    /// poll(&mut fds, PollTimeout::NONE)?;
    /// let status = match fds[0].any() {
    ///     Some(true) => child.wait()?,
    ///     _ => child.terminate(Duration::from_secs(5))?,
    /// };
    /// assert!(!status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - EINVAL: the handle is released. On a done handle the descriptor is readable at once.
    /// - EMFILE, ENFILE, ENOMEM, EAGAIN: no descriptor or thread is available. Only with
    ///   [`Backend::Waitpid`](crate::Backend::Waitpid), or on a done handle.
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Pidfd`](crate::Backend::Pidfd) it is the pidfd itself, which needs no system call.
    ///
    /// With [`Backend::Waitpid`](crate::Backend::Waitpid) it is one end of a socket pair, which a watcher thread makes readable.
    /// The thread ends when the process exits. One thread watches all non-children, and ends when no
    /// `ExitFd` of one is left. It sees the exits that [`has_exited`](Self::has_exited) sees.
    pub fn exit_fd(&self) -> io::Result<ExitFd> {
        let mut guard = self.lock();
        match &guard.phase {
            Phase::Live(process) | Phase::ReapedEarly(process, _) => {
                if let Some(pidfd) = process.pidfd() {
                    return Ok(ExitFd(Source::Pidfd(Arc::clone(pidfd))));
                }
                let process = process.clone();
                Ok(ExitFd(Source::Notify(self.watch(&mut guard, &process)?)))
            }
            Phase::Done => {
                let fd = NotifyFd::new()?;
                fd.notify();
                Ok(ExitFd(Source::Notify(Arc::new(fd))))
            }
            Phase::Released => Err(Errno::EINVAL.into()),
        }
    }

    /// Blocks until a process that this handle refers to may have exited, without the lock. False once the
    /// deadline has passed, and it has not.
    pub(super) fn block_on(
        &self,
        process: &Process,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let by_pid = match process {
            Process::Pidfd(process) => return Ok(process.block(deadline)?),
            Process::Waitpid(by_pid) => by_pid,
        };
        let mut guard = self.lock();
        // Since the caller's check another thread may have reaped the child, and another child have got the
        // PID: a peek would wait for that one.
        if guard.seen.has_exited() {
            return Ok(true);
        }
        if !by_pid.is_child(&guard.seen) {
            drop(guard);
            return self.check_until_exited(process, deadline);
        }
        if deadline.is_none() {
            return match self.peek_blocking(guard, by_pid.pid()) {
                Ok(_) | Err(Errno::ECHILD) => Ok(true), // ECHILD: it was reaped, so it has exited.
                Err(errno) => Err(errno.into()),
            };
        }
        let watched = self.watch(&mut guard, process);
        drop(guard);
        match watched {
            // The watcher may not have run yet at the deadline: hence one more check.
            Ok(fd) => Ok(sys::poll_readable(&*fd, deadline)? || self.check_exited(process)?),
            // Without descriptors or threads, repeated checks find the same, only later.
            Err(_) => self.check_until_exited(process, deadline),
        }
    }

    fn check_until_exited(&self, process: &Process, deadline: Option<Instant>) -> io::Result<bool> {
        let found = check_until(deadline, || -> io::Result<_> {
            Ok(self.check_exited(process)?.then_some(()))
        })?;
        Ok(found.is_some())
    }

    fn check_exited(&self, process: &Process) -> io::Result<bool> {
        let mut guard = self.lock();
        let exited = process.has_exited(&mut guard.seen);
        settle(guard);
        Ok(exited?)
    }

    /// Blocks in a peek by PID, without the lock, until the child can be reaped. The PID is not reused
    /// meanwhile, because no other thread reaps.
    fn peek_blocking(&self, mut guard: Guard<'_>, pid: pid_t) -> nix::Result<Event> {
        guard.peeks += 1;
        drop(guard);
        let found = waitpid::block_until_waitable(pid);
        self.end_peek(found)
    }

    /// Stores what a blocking peek has found, and reaps if other threads left that to it.
    fn end_peek(&self, found: nix::Result<Event>) -> nix::Result<Event> {
        let mut guard = self.lock();
        let found = guard.seen.note(found);
        guard.peeks -= 1;
        let is_paid = guard.pay();
        settle(guard);
        if !is_paid {
            self.reap_owed_in_background();
        }
        found
    }

    /// By PID: returns the descriptor that is notified of the exit, and starts the watcher thread
    /// unless it runs already.
    fn watch(&self, guard: &mut Guard<'_>, process: &Process) -> nix::Result<Arc<NotifyFd>> {
        let Process::Waitpid(process) = process else {
            return Err(Errno::EINVAL); // A pidfd needs no watcher.
        };
        let fd = match guard.seen.notify_fd() {
            Some(fd) if guard.seen.is_watched() => return Ok(fd),
            // Of the process that this one was forked from. Its watcher sees a zombie, and the one
            // of this process sees the exit even if that process has ended.
            Some(fd) => fd,
            None => Arc::new(NotifyFd::new()?),
        };
        if guard.seen.has_exited() || guard.is_reaped_early() {
            fd.notify();
            return Ok(fd);
        }
        if process.is_child(&guard.seen) {
            let shared = Arc::downgrade(&self.shared);
            let (pid, backend) = (self.pid, self.backend);
            let (by_pid, notified) = (process.pid(), Arc::clone(&fd));
            // The thread keeps the descriptor until the exit, so that later listeners share both.
            sys::spawn_thread(move || {
                let found = peek_at_last(by_pid);
                if let Some(shared) = shared.upgrade() {
                    let handle = Self {
                        shared,
                        pid,
                        backend,
                    };
                    let _ = handle.end_peek(found);
                }
                notified.notify();
            })?;
            guard.peeks += 1;
        } else if process.has_exited(&mut guard.seen)? {
            fd.notify();
        } else {
            let mut watch = NonChildWatch {
                process: process.clone(),
                seen: Seen::default(),
                shared: Arc::downgrade(&self.shared),
                listeners: Arc::downgrade(&fd),
            };
            checks::repeat(move || watch.is_over())?;
        }
        guard.seen.set_notify_fd(&fd);
        Ok(fd)
    }
}

/// Blocks until the child with that PID can be reaped, or is no child any more. Other errors may pass: a
/// watcher that gave up would leave its listeners waiting.
fn peek_at_last(pid: pid_t) -> nix::Result<Event> {
    let backoff = Backoff::new();
    loop {
        match waitpid::block_until_waitable(pid) {
            found @ (Ok(_) | Err(Errno::ECHILD)) => return found,
            Err(_) => backoff.sleep(None),
        };
    }
}

/// Watches a non-child for its listeners.
///
/// It checks without the handle's lock: a process that is forked while a thread holds the lock could not
/// use its copy of the handle. So it keeps what it has seen apart until the exit.
struct NonChildWatch {
    process: waitpid::Process,
    seen: Seen,
    shared: Weak<Shared>,
    listeners: Weak<NotifyFd>,
}

impl NonChildWatch {
    /// Whether it has exited, or no listener is left.
    fn is_over(&mut self) -> bool {
        let Some(fd) = self.listeners.upgrade() else {
            return true;
        };
        // Readable: another thread, or another process that shares it, has seen the exit. The process
        // may have been reaped since, and its PID be reused.
        let is_notified = sys::is_readable(&*fd) == Ok(true);
        // An error may pass.
        if !is_notified && self.process.has_exited(&mut self.seen) != Ok(true) {
            return false;
        }
        // First stores what it saw: once the descriptor is readable, no other process with that PID
        // is signalled.
        if let Some(shared) = self.shared.upgrade() {
            let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
            guard.seen.merge(&self.seen);
            self.process.note_notified(&mut guard.seen);
        }
        fd.notify();
        true
    }
}

impl ExitFd {
    pub(crate) fn of_pidfd(fd: Arc<Pidfd>) -> Self {
        Self(Source::Pidfd(fd))
    }

    /// Whether it is a clone of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.as_raw_fd() == other.as_raw_fd()
    }
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Pidfd(fd) => (**fd).as_fd(),
            Source::Notify(fd) => (**fd).as_fd(),
        }
    }
}

impl AsRawFd for ExitFd {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for ExitFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExitFd").field(&self.as_raw_fd()).finish()
    }
}
