// Tests: tests/it/exit_fd.rs, tests/it/threads.rs, tests/idle.rs

//! A descriptor to poll for the exit.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use super::{settle, Guard, PidHandle, Shared, State};
use crate::backend::{waitpid, Process, Seen};
use crate::support::Backend;
use crate::sys::{self, Arc, NotifyFd, Pidfd, Weak};
use crate::wait::poll_until;

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
    Pidfd(sys::LeasedPart<Arc<Shared>, Process, State, Pidfd>),
    Watcher(Arc<NotifyFd>),
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
    /// This wait ends at the exit or at a message on a socket. In `examples/interruptible.rs` a signal
    /// ends it.
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
    /// - ECHILD: the handle is done.
    /// - EINVAL: the handle is released.
    /// - EMFILE, ENFILE, ENOMEM, EAGAIN: no descriptor or thread is available. Only with
    ///   [`Backend::Waitpid`].
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Pidfd`] it is the pidfd itself, which needs no system call.
    ///
    /// With [`Backend::Waitpid`] it is one end of a socket pair, which a watcher thread makes readable.
    /// The thread ends when the process exits or, for a non-child, when no `ExitFd` is left. It sees the
    /// exits that [`has_exited`](Self::has_exited) sees.
    pub fn exit_fd(&self) -> io::Result<ExitFd> {
        let mut guard = self.shared.lock();
        guard.check_live()?;
        if self.backend == Backend::Waitpid {
            return Ok(ExitFd(Source::Watcher(self.watch(&mut guard)?)));
        }
        let lease = guard.lease(Arc::clone(&self.shared));
        drop(guard);
        let pidfd = lease.and_then(|lease| lease.part(Process::pidfd));
        Ok(ExitFd(Source::Pidfd(pidfd.ok_or(Errno::EINVAL)?)))
    }

    /// By PID: returns the descriptor that is notified of the exit, and starts the watcher thread
    /// unless it runs already.
    pub(super) fn watch(&self, guard: &mut Guard<'_>) -> nix::Result<Arc<NotifyFd>> {
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
        let shared = Arc::downgrade(&self.shared);
        let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
        let Process::Waitpid(process) = process else {
            return Err(Errno::EINVAL);
        };
        if process.is_child(&state.seen) {
            let (pid, fd) = (process.pid(), Arc::clone(&fd));
            // The thread keeps the descriptor until the exit, so that later listeners share both.
            sys::spawn_thread(move || {
                let found = waitpid::block_until_waitable(pid);
                if let Some(shared) = shared.upgrade() {
                    let mut guard = shared.lock();
                    // First stores what it saw, then leaves: a reap that waits for it to leave must
                    // find that stored.
                    let _ = guard.seen.note(found);
                    guard.in_flight -= 1;
                    guard.notify();
                    settle(guard, None);
                }
                fd.notify();
            })?;
            state.in_flight += 1;
        } else if process.has_exited(&mut state.seen)? {
            fd.notify();
        } else {
            let (process, listeners) = (process.clone(), Arc::downgrade(&fd));
            sys::spawn_thread(move || {
                let _ = watch_non_child(&process, &shared, &listeners);
            })?;
        }
        state.seen.set_notify_fd(&fd);
        Ok(fd)
    }
}

/// Checks for the exit until it has happened or no listener is left.
///
/// It checks without the lock: a process that is forked while a thread holds the lock could not use
/// its copy of the handle. So it keeps what it has seen apart until the exit.
fn watch_non_child(
    process: &waitpid::Process,
    shared: &Weak<Shared>,
    listeners: &Weak<NotifyFd>,
) -> nix::Result<()> {
    let mut seen = Seen::default();
    let notified = poll_until(None, || {
        let Some(fd) = listeners.upgrade() else {
            return Ok(Some(None));
        };
        // Readable: another thread, or another process that shares it, has seen the exit. The process
        // may have been reaped since, and its PID be reused.
        let has_exited = sys::is_readable(&*fd) == Ok(true) || process.has_exited(&mut seen)?;
        Ok(has_exited.then_some(Some(fd)))
    })?;
    if let Some(fd) = notified.flatten() {
        // First stores what it saw: once the descriptor is readable, no other process with that PID
        // is signalled.
        if let Some(shared) = shared.upgrade() {
            let mut guard = shared.lock();
            guard.seen.merge(&seen);
            process.note_notified(&mut guard.seen);
        }
        fd.notify();
    }
    Ok(())
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Pidfd(fd) => fd.as_fd(),
            Source::Watcher(fd) => fd.as_fd(),
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
