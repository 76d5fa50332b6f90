// Tests: tests/it/capture/sigpipe.rs, tests/it/capture/input.rs

//! Writing to a pipe whose reader may be gone, without SIGPIPE.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::Result;

use super::retry;

/// One `write`. EPIPE: the other end is closed; SIGPIPE is not raised, whatever its disposition.
///
/// No flag of `write` suppresses the signal for a pipe, and its disposition belongs to the program. The
/// kernel sends it to the thread that writes. So it is blocked in this thread, and a pending one is
/// consumed before the old mask is restored.
pub(crate) fn write_no_sigpipe(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    /// On macOS writes of more than `INT_MAX` bytes fail.
    const LONGEST: usize = 1 << 30;
    let mut sigpipe = SigSet::empty();
    sigpipe.add(Signal::SIGPIPE);
    let before = sigpipe.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // If it was pending before, it must stay pending. That is possible only if it was blocked.
    let was_pending = before.contains(Signal::SIGPIPE) && is_sigpipe_pending();
    let (raw, start) = (fd.as_raw_fd(), bytes.as_ptr().cast());
    let length = bytes.len().min(LONGEST);
    let written = retry(|| {
        // SAFETY: `fd` is open while it is borrowed, and `bytes` is readable for `length` bytes.
        unsafe { libc::write(raw, start, length) }
    });
    if written == Err(nix::errno::Errno::EPIPE) && !was_pending {
        take_sigpipe(&sigpipe);
    }
    // It cannot fail for a mask that was in use.
    let _ = before.thread_set_mask();
    written.map(|count| usize::try_from(count).unwrap_or(0))
}

fn is_sigpipe_pending() -> bool {
    let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `pending` is a local that is valid for writes for the whole call.
    let got = unsafe { libc::sigpending(pending.as_mut_ptr()) };
    // SAFETY: the set was zeroed, and the call has filled it in; it is only read.
    got == 0 && unsafe { libc::sigismember(pending.as_ptr(), libc::SIGPIPE) } == 1
}

/// Consumes a pending SIGPIPE, if there is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn take_sigpipe(sigpipe: &SigSet) {
    let no_time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let no_info = std::ptr::null_mut();
    // It fails if no signal is pending.
    let _ = retry(|| {
        // SAFETY: the set and the time are valid for reads, and the call accepts a null `info`.
        unsafe { libc::sigtimedwait(sigpipe.as_ref(), no_info, &no_time) }
    });
}

/// The same, for systems that may lack `sigtimedwait`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn take_sigpipe(sigpipe: &SigSet) {
    if is_sigpipe_pending() {
        let _ = sigpipe.wait();
    }
}
