// Tests: tests/it/exit_fd.rs, tests/descriptors/handle.rs

//! Descriptors: poll, flags, reads, and a descriptor that signals an exit.

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags};
use nix::Result;

use super::{errno_of, now, poll_once, retry, Pidfd};

/// Waits until one of `fds` is ready, and returns how many are. 0 only once the deadline has passed.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<usize> {
    // Some systems fail with EINVAL for longer times.
    const LONGEST: Duration = Duration::from_secs(1_000_000);
    retry_until(deadline, |left| {
        poll_some(fds, left.map(|time| time.min(LONGEST)))
    })
}

/// One `poll`. EMFILE: RLIMIT_NOFILE was lowered to fewer descriptors than that. The system call fails
/// with EINVAL then, which from a handle means that it is released.
fn poll_some(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    match poll_once(fds, limit) {
        Err(Errno::EINVAL) => Err(Errno::EMFILE),
        ready => ready,
    }
}

/// Makes a call with the time that is left, and again if it is interrupted or ends early.
pub(super) fn retry_until(
    deadline: Option<Instant>,
    mut call: impl FnMut(Option<Duration>) -> Result<usize>,
) -> Result<usize> {
    loop {
        match call(deadline.map(|at| at.saturating_duration_since(now()))) {
            Err(Errno::EINTR) => {}
            Ok(0) if deadline.map_or(true, |at| now() < at) => {}
            done => return done,
        }
    }
}

/// Waits until `fd` is readable. False once the deadline has passed.
pub(crate) fn poll_readable(fd: &impl AsFd, deadline: Option<Instant>) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, deadline)? > 0)
}

/// Whether `fd` is readable now.
pub(crate) fn is_readable(fd: &impl AsFd) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    retry_errno(|| poll_some(&mut fds, Some(Duration::ZERO))).map(|ready| ready > 0)
}

fn retry_errno<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Waits until a pidfd reports that its process was reaped, POLLHUP (Linux 6.9), or until the
/// deadline.
pub(crate) fn poll_reaped(fd: &Pidfd, deadline: Option<Instant>) -> Result<()> {
    // With no events requested, poll reports only this one.
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::empty())];
    poll(&mut fds, deadline).map(drop)
}

/// A duplicate of a descriptor, close-on-exec, `fcntl(F_DUPFD_CLOEXEC)`.
pub(crate) fn duplicate(fd: &impl AsFd) -> Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned().map_err(errno_of)
}

/// The status flags of an open file description, `fcntl(F_GETFL)`.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> Result<c_int> {
    // SAFETY: `fd` is open while it is borrowed, and F_GETFL takes no third argument.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// Sets the status flags, `fcntl(F_SETFL)`.
pub(crate) fn set_status_flags(fd: BorrowedFd<'_>, flags: c_int) -> Result<()> {
    // SAFETY: `fd` is open while it is borrowed, and F_SETFL takes an int.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// Whether all other ends of a pipe are closed: POLLHUP. Data that is left in it can still be read.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> Result<bool> {
    // With no events requested, poll reports only this one, and errors.
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    retry_errno(|| poll_some(&mut fds, Some(Duration::ZERO))).map(|ready| ready > 0)
}

/// How many bytes can be read now, `ioctl(FIONREAD)`.
pub(crate) fn readable_bytes(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut held: c_int = 0;
    // SAFETY: `fd` is open while it is borrowed, and FIONREAD writes one int to a local.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut held) })?;
    Ok(usize::try_from(held).unwrap_or(0))
}

/// One `read` that appends at most `most` bytes to `buffer`, within its spare capacity. 0 is the end.
pub(crate) fn read_spare(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, most: usize) -> Result<usize> {
    /// On macOS reads of more than `INT_MAX` bytes fail.
    const LONGEST: usize = 1 << 30;
    let spare = buffer.spare_capacity_mut();
    let (start, room) = (
        spare.as_mut_ptr().cast(),
        spare.len().min(most).min(LONGEST),
    );
    let raw = fd.as_raw_fd();
    let read = retry(|| {
        // SAFETY: `fd` is open while it is borrowed; the spare capacity is ours, at least `room`
        // bytes long, and may be written to.
        unsafe { libc::read(raw, start, room) }
    })?;
    let read = usize::try_from(read).unwrap_or(0);
    let length = buffer.len() + read;
    // SAFETY: `read` has initialized that many bytes behind the old length, within the capacity.
    unsafe { buffer.set_len(length) };
    Ok(read)
}

/// A descriptor that becomes readable when [`notify`](Self::notify) is called, and stays so.
///
/// It is a socket pair, because writing to a pipe can raise SIGPIPE. `shutdown` reaches all copies of
/// the descriptor. Closing the other end would have no effect while a forked process has a copy of it.
#[derive(Debug)]
pub(crate) struct NotifyFd {
    readable: UnixStream,
    /// Kept open, so that `readable` is not readable before the notification.
    _peer: UnixStream,
}

impl NotifyFd {
    pub(crate) fn new() -> Result<Self> {
        let (readable, _peer) = UnixStream::pair().map_err(errno_of)?;
        Ok(Self { readable, _peer })
    }

    pub(crate) fn notify(&self) {
        // It can only fail if an earlier call has already notified.
        let _ = self.readable.shutdown(Shutdown::Both);
    }
}

impl AsFd for NotifyFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}
