//! CPU time.

use std::io;
use std::mem::MaybeUninit;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::time::TimeSpec;

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
    TimeSpec::from(time).into()
}

/// Runs a call that should only sleep, and panics if the thread was busy instead.
#[track_caller]
pub(crate) fn assert_idle(mut run: impl FnMut()) {
    let mut check = IdleCheck::start();
    loop {
        run();
        if check.was_idle() {
            return;
        }
    }
}

/// Measures periods in which the calling thread, or the whole process, should only sleep.
///
/// When a host preempts a virtual CPU, that time is charged to the thread on it, so one period can look
/// busy. A thread that spins is busy in each.
pub(crate) struct IdleCheck {
    cpu_time: fn() -> Duration,
    /// The least part of the period that counts as busy.
    part: u32,
    start: Instant,
    busy_before: Duration,
    periods_left: u32,
}

impl IdleCheck {
    /// Begins the first period of the calling thread.
    pub(crate) fn start() -> Self {
        Self::of(thread_time, 5)
    }

    fn of(cpu_time: fn() -> Duration, part: u32) -> Self {
        Self {
            cpu_time,
            part,
            start: Instant::now(),
            busy_before: cpu_time(),
            periods_left: 5,
        }
    }

    /// Returns whether it was busy for less than that part of the period, usually a fifth. Otherwise begins
    /// another period, and panics after the last. The margin is for slow emulators, where even a few
    /// system calls take some time.
    #[track_caller]
    pub(crate) fn was_idle(&mut self) -> bool {
        let (took, busy) = (self.start.elapsed(), (self.cpu_time)() - self.busy_before);
        eprintln!("busy for {busy:?} of {took:?}");
        if busy < took / self.part {
            return true;
        }
        let periods_left = self.periods_left - 1;
        assert!(periods_left > 0, "busy for {busy:?} of {took:?}, as before");
        *self = Self {
            periods_left,
            ..Self::of(self.cpu_time, self.part)
        };
        false
    }
}

/// Panics if the threads of this process are busy while the calling one sleeps. To be idle is no event,
/// so it sleeps for some time.
#[track_caller]
pub(crate) fn assert_other_threads_idle() {
    let mut check = IdleCheck::of(process_time, 5);
    loop {
        thread::sleep(Duration::from_millis(300));
        if check.was_idle() {
            return;
        }
    }
}

/// Panics if the threads of this process are busy for more than a part of the time of a call that sleeps.
#[track_caller]
pub(crate) fn assert_process_uses_at_most(part: u32, mut run: impl FnMut()) {
    let mut check = IdleCheck::of(process_time, part);
    loop {
        run();
        if check.was_idle() {
            return;
        }
    }
}

/// Makes the calling thread run only when a CPU is otherwise idle.
#[cfg(target_os = "linux")]
pub(crate) fn run_at_idle_priority() {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads a local variable.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &priority) };
    assert_eq!(set, 0, "sched_setscheduler: {}", io::Error::last_os_error());
}
