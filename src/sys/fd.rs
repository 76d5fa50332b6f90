// Tests: tests/it/exit_fd.rs, tests/descriptors/handle.rs

//! Descriptors: poll, flags, reads, and a descriptor that signals an exit.

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::Result;

use super::pidfd::Pidfd;
use super::select::select_once;
use super::thread::now;
use super::{errno_of, retry};

/// Waits until one of `fds` is ready, and returns how many are. 0 only once the deadline has passed.
///
/// RLIMIT_NOFILE may be lower than the number of descriptors, even 0. A hang-up without another event is
/// not noticed then. On systems other than Linux the call fails with EMFILE.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<usize> {
    retry_until(deadline, |left| poll_once(fds, left))
}

/// One call, which may end before its limit.
///
/// If the process is stopped meanwhile, `poll` keeps its deadline, and `ppoll` goes on with the time
/// that was left at the stop. So `ppoll` waits only for what is left below a millisecond.
fn poll_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let ready = match limit.map(|time| time.min(LONGEST)) {
        Some(rest) if !rest.is_zero() && rest < MILLISECOND => match ppoll(fds, Some(rest)) {
            Err(Errno::ENOSYS | Errno::EPERM) => poll_millis(fds, Some(MILLISECOND)),
            ready => ready,
        },
        limit => match poll_millis(fds, limit) {
            // A sandbox may allow only the newer call.
            Err(Errno::ENOSYS | Errno::EPERM) => ppoll(fds, limit),
            ready => ready,
        },
    };
    match ready {
        Err(Errno::EINVAL) => select_once(fds, limit),
        ready => ready,
    }
}

/// Some systems fail with EINVAL for longer times. On some architectures, and on Android, libc's `poll`
/// is `ppoll`: a wait of a process that was stopped ends at most that much later there.
const LONGEST: Duration = if cfg!(any(
    target_os = "android",
    target_arch = "aarch64",
    target_arch = "loongarch64",
    target_arch = "riscv32",
    target_arch = "riscv64",
)) {
    Duration::from_millis(500)
} else {
    Duration::from_secs(1_000_000)
};

fn poll_millis(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    let limit = limit.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time.as_millis()).unwrap_or(PollTimeout::MAX)
    });
    let ready = nix::poll::poll(fds, limit)?;
    Ok(usize::try_from(ready).unwrap_or(0))
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn ppoll(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    let ready = nix::poll::ppoll(fds, limit.map(Into::into), None)?;
    Ok(usize::try_from(ready).unwrap_or(0))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn ppoll(_fds: &mut [PollFd<'_>], _limit: Option<Duration>) -> Result<usize> {
    Err(Errno::ENOSYS)
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

/// Waits until `fd` is readable. False once the deadline has passed. RLIMIT_NOFILE does not matter: see
/// [`poll`].
pub(crate) fn poll_readable(fd: &impl AsFd, deadline: Option<Instant>) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, deadline)? > 0)
}

/// Whether `fd` is readable now, as [`poll_readable`].
pub(crate) fn is_readable(fd: &impl AsFd) -> Result<bool> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    retry_errno(|| poll_once(&mut fds, Some(Duration::ZERO))).map(|ready| ready > 0)
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

/// Whether all other ends of a pipe are closed: POLLHUP. Data that is left in it can still be read. False
/// if RLIMIT_NOFILE is 0.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> Result<bool> {
    // With no events requested, poll reports only this one, and errors.
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    retry_errno(|| poll_once(&mut fds, Some(Duration::ZERO))).map(|ready| ready > 0)
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
