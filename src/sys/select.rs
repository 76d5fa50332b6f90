//! `pselect`, for what `poll` refuses: Linux.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_ulong};
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use nix::Result;

/// By `pselect`, for more descriptors than RLIMIT_NOFILE, with which `poll` fails with EINVAL on Linux.
pub(super) fn select_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    /// It goes on with the time that was left at a stop, as `ppoll` does.
    const LONGEST: Duration = Duration::from_millis(500);
    let mut readable = FdBits::new(fds, PollFlags::POLLIN);
    let mut writable = FdBits::new(fds, PollFlags::POLLOUT);
    let limit = limit.map(|time| TimeSpec::from(time.min(LONGEST)));
    let limit = limit
        .as_ref()
        .map_or(ptr::null(), |time| ptr::from_ref(time.as_ref()));
    let (reads, writes) = (readable.as_mut_ptr(), writable.as_mut_ptr());
    let (none, same_mask) = (ptr::null_mut(), ptr::null());
    // SAFETY: both sets have a bit for each number below `end`, which the call reads and writes. The
    // time is valid for reads or null, and the call accepts null for the rest.
    let found = unsafe { libc::pselect(readable.end, reads, writes, none, limit, same_mask) };
    Errno::result(found)?;
    let mut ready = 0;
    for fd in fds {
        let mut found = PollFlags::empty();
        found.set(PollFlags::POLLIN, readable.has(fd));
        found.set(PollFlags::POLLOUT, writable.has(fd));
        ready += usize::from(!found.is_empty());
        // SAFETY: `PollFd` is a transparent wrapper of a `pollfd`.
        let raw = unsafe { &mut *ptr::from_mut(fd).cast::<libc::pollfd>() };
        raw.revents = found.bits();
    }
    Ok(ready)
}

/// A set of descriptors as the kernel takes it, for any numbers: `fd_set` ends at 1024.
struct FdBits {
    words: Vec<c_ulong>,
    /// All numbers are lower.
    end: c_int,
}

impl FdBits {
    /// The descriptors that are polled for one of `events`.
    fn new(fds: &[PollFd<'_>], events: PollFlags) -> Self {
        let highest = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).max();
        let end = highest.map_or(0, |highest| highest + 1);
        let mut bits = Self {
            words: Vec::new(),
            end,
        };
        let words = Self::position(end).0 + 1;
        bits.words.resize(words, 0);
        for fd in fds.iter().filter(|fd| fd.events().intersects(events)) {
            let (word, bit) = Self::position(fd.as_fd().as_raw_fd());
            if let Some(word) = bits.words.get_mut(word) {
                *word |= bit;
            }
        }
        bits
    }

    fn has(&self, fd: &PollFd<'_>) -> bool {
        let (word, bit) = Self::position(fd.as_fd().as_raw_fd());
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The word and the bit of a descriptor.
    fn position(fd: RawFd) -> (usize, c_ulong) {
        let fd = fd.unsigned_abs();
        let (word, bit) = (fd / c_ulong::BITS, fd % c_ulong::BITS);
        (usize::try_from(word).unwrap_or(usize::MAX), 1 << bit)
    }

    fn as_mut_ptr(&mut self) -> *mut libc::fd_set {
        self.words.as_mut_ptr().cast()
    }
}
