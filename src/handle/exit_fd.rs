//! A descriptor to poll for the exit.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

use super::{settle, Guard, PidHandle, Shared, State};
use crate::backend::{waitpid, Process};
use crate::support::Backend;
use crate::sys::{self, Arc, NotifyFd, Pidfd, Weak};
use crate::wait::poll_until;

/// A descriptor that is readable once its process has exited, and stays so.
///
/// From [`PidHandle::exit_fd`]. Pass it to `poll`, `epoll` or a reactor and wait until it is readable
/// (POLLIN). There is nothing to read from it. It stays open and valid as long as it or a clone of
/// it lives, whatever becomes of the handle; clones share one descriptor.
///
/// A raw descriptor can be readable too early, for a moment, while a thread of the process that is
/// not its main thread execs. [`PidHandle::has_exited`] and the waits check again.
#[derive(Clone)]
pub struct ExitFd(Source);

#[derive(Clone)]
enum Source {
    Pidfd(sys::LeasedPart<Arc<Shared>, Process, State, Pidfd>),
    /// The watcher needs the process, and so it is kept open.
    Watcher(
        Arc<NotifyFd>,
        #[allow(dead_code)] sys::Lease<Arc<Shared>, Process, State>,
    ),
}

impl PidHandle {
    /// Returns a descriptor that becomes readable when the process, child or not, has exited.
    ///
    /// For event loops, and for a wait that something else may end: a signal, by a signalfd or a
    /// self-pipe, a socket, a timer. It stays readable, and stays open as long as it lives, whatever
    /// becomes of the handle.
    ///
    /// # Examples
    ///
    /// A wait that a message on a socket ends. `examples/interruptible.rs` has one that a signal ends.
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
    /// - EMFILE, ENFILE, ENOMEM, EAGAIN: [`Backend::Waitpid`](crate::Backend::Waitpid) could not
    ///   get its descriptors or its thread.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): the pidfd itself, at no cost.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): one end of a socket pair, and a watcher thread
    /// that makes it readable. The thread ends with the process or, for a non-child, when no
    /// `ExitFd` is left. It sees the exits that [`has_exited`](Self::has_exited) sees.
    pub fn exit_fd(&self) -> io::Result<ExitFd> {
        let mut guard = self.shared.lock();
        guard.check_live()?;
        let watcher = match self.backend {
            Backend::Pidfd => None,
            Backend::Waitpid => Some(self.watch(&mut guard)?),
        };
        let lease = guard.lease(Arc::clone(&self.shared));
        drop(guard);
        let lease = lease.ok_or(Errno::EINVAL)?;
        Ok(ExitFd(match watcher {
            Some(notified) => Source::Watcher(notified, lease),
            None => Source::Pidfd(lease.part(Process::pidfd).ok_or(Errno::EINVAL)?),
        }))
    }

    /// By PID: the descriptor that is notified when the process is seen to have exited, and a
    /// watcher thread that looks for that.
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
            // It keeps the descriptor until the exit, so that one thread serves all listeners.
            sys::spawn_thread(move || {
                let found = waitpid::block_until_waitable(pid);
                if let Some(shared) = shared.upgrade() {
                    let mut guard = shared.lock();
                    // Noted before it stops to count: a reap that waits for that finds it noted.
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
            let listeners = Arc::downgrade(&fd);
            sys::spawn_thread(move || watch_non_child(&shared, &listeners))?;
        }
        state.seen.set_notify_fd(&fd);
        Ok(fd)
    }
}

/// Looks for the exit until it has happened or no listener is left. The call that sees the exit notes
/// it, which notifies the listeners.
fn watch_non_child(shared: &Weak<Shared>, listeners: &Weak<NotifyFd>) {
    let _ = poll_until(None, || -> Result<Option<()>, Errno> {
        let Some(shared) = shared.upgrade().filter(|_| listeners.strong_count() > 0) else {
            return Ok(Some(()));
        };
        let mut guard = shared.lock();
        let Some((process, state)) = guard.parts() else {
            return Ok(Some(()));
        };
        Ok(process.has_exited(&mut state.seen)?.then_some(()))
    });
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Pidfd(fd) => fd.as_fd(),
            Source::Watcher(fd, _) => fd.as_fd(),
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
