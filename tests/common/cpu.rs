//! CPU time.

use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use nix::libc;

/// Returns the CPU time that all threads of this process have used so far.
pub(crate) fn process_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the CPU time that the calling thread has used so far.
pub(crate) fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `time` is valid for writes during the call.
    let got = unsafe { libc::clock_gettime(id, time.as_mut_ptr()) };
    assert_eq!(got, 0, "clock_gettime: {}", io::Error::last_os_error());
    // SAFETY: zeroed above and written by the kernel.
    let time = unsafe { time.assume_init() };
    let nanos = Duration::from_nanos(time.tv_nsec.unsigned_abs());
    Duration::from_secs(time.tv_sec.unsigned_abs()) + nanos
}

/// Runs a call that should only sleep, and panics if the thread was busy instead.
#[track_caller]
pub(crate) fn assert_idle<T>(run: impl FnOnce() -> T) -> T {
    let idle = IdleCheck::start();
    let result = run();
    idle.finish();
    result
}

/// A period in which the calling thread should only sleep.
pub(crate) struct IdleCheck(Instant, Duration);

impl IdleCheck {
    pub(crate) fn start() -> Self {
        Self(Instant::now(), thread_time())
    }

    /// Panics if the thread was busy for a fifth of the period or more. The margin is for slow
    /// emulators, where even a few system calls take some time.
    #[track_caller]
    pub(crate) fn finish(self) {
        let (took, busy) = (self.0.elapsed(), thread_time() - self.1);
        assert!(busy < took / 5, "busy for {busy:?} of {took:?}");
    }
}

/// Makes the calling thread run only when a CPU is otherwise idle.
pub(crate) fn run_at_idle_priority() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads a local variable.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &priority) };
    assert_eq!(set, 0, "sched_setscheduler: {}", io::Error::last_os_error());
}
