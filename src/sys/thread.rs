//! Clock, threads and locks.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::time::{clock_gettime, ClockId};
use nix::Result;

use super::errno_of;
use super::fd::poll;

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long this thread has used a processor. Zero if the system does not tell.
pub(crate) fn processor_time() -> Duration {
    let clock = ClockId::CLOCK_THREAD_CPUTIME_ID;
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Sleeps for that long by the clock.
///
/// Not with std's `sleep`, which restarts with the remaining time after each signal handler and does
/// not count the time in between: frequent signals would prolong it without limit.
pub(crate) fn sleep(time: Duration) {
    // With no descriptors, poll can only report that the time is over. It fails where a sandbox denies
    // it; repeated checks must not spin there.
    if poll(&mut [], now().checked_add(time)).is_err() {
        thread::sleep(time);
    }
}

/// Starts a thread with all signals blocked and a small stack.
///
/// EAGAIN: no thread can be started, also after `unshare(CLONE_NEWPID)`.
pub(crate) fn spawn_thread(run: impl FnOnce() + Send + 'static) -> Result<()> {
    start_thread(run).map(drop)
}

/// The same, for a thread that is joined.
pub(super) fn start_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    // Blocked before the thread starts and inherits the mask, so that no handler ever runs on it.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = thread::Builder::new()
        .name("pidwait".to_owned())
        .stack_size(64 * 1024)
        .spawn(run);
    // It cannot fail for a mask that was in use, and the thread has started.
    let _ = before.thread_set_mask();
    spawned.map_err(|error| match errno_of(error) {
        Errno::EINVAL => Errno::EAGAIN, // How clone fails after unshare(CLONE_NEWPID).
        errno => errno,
    })
}
