//! The time that something takes from the processor.

use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use nix::libc;

/// The CPU time that this process has used so far, all its threads together.
pub(crate) fn process_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time that the calling thread has used so far.
pub(crate) fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is valid for writes during the call.
    let got = unsafe { libc::clock_gettime(id, time.as_mut_ptr()) };
    assert_eq!(got, 0, "clock_gettime: {}", io::Error::last_os_error());
    // SAFETY: zeroed, and filled in.
    let time = unsafe { time.assume_init() };
    let nanos = Duration::from_nanos(time.tv_nsec.unsigned_abs());
    Duration::from_secs(time.tv_sec.unsigned_abs()) + nanos
}

/// Runs what has nothing to do but sleep, and fails where the thread was busy all the while.
#[track_caller]
pub(crate) fn assert_idle<T>(run: impl FnOnce() -> T) -> T {
    let idle = IdleCheck::start();
    let result = run();
    idle.finish();
    result
}

/// A time in which the calling thread has nothing to do but sleep.
pub(crate) struct IdleCheck(Instant, Duration);

impl IdleCheck {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), thread_time())
    }

    /// Fails where the thread was busy all the while. A few looks take a slow emulator some time.
    #[track_caller]
    pub(crate) fn finish(self) {
        let (took, busy) = (self.0.elapsed(), thread_time() - self.1);
        assert!(busy < took / 5, "busy for {busy:?} of {took:?}");
    }
}

/// Has the calling thread run only when a processor is idle, or nearly so.
pub(crate) fn run_at_idle_priority() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads a local.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &priority) };
    assert_eq!(set, 0, "sched_setscheduler: {}", io::Error::last_os_error());
}
