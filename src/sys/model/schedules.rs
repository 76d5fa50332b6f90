//! How many schedules the tests explore, and how.
//!
//! `PIDWAIT_SCHEDULES` is their total number. The default takes a second or two; CI explores many more.
//! They are the same in every run, unless `SHUTTLE_RANDOM_SEED` changes them. If one fails, shuttle prints how to run it again.

use std::env;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::kernel::Fault;
use super::scenario::Run;
use crate::support;

/// Executes these shares of all schedules with runs from `make`.
pub(super) fn explore(
    shares: usize,
    of: usize,
    make: impl Fn() -> Run + Copy + Send + Sync + 'static,
) {
    let number = (shares * schedules()).div_ceil(2 * of);
    execute(random(number), make);
    execute(pct(number), make);
}

fn schedules() -> usize {
    let number = env::var("PIDWAIT_SCHEDULES").ok();
    number.map_or(5_000, |text| text.parse().expect("a number of schedules"))
}

fn random(schedules: usize) -> RandomScheduler {
    RandomScheduler::new_from_seed(5, schedules)
}

/// Up to three times in a schedule, at random, all other threads run before the current one continues.
fn pct(schedules: usize) -> PctScheduler {
    PctScheduler::new_from_seed(5, 4, schedules)
}

fn execute(scheduler: impl Scheduler + 'static, make: impl Fn() -> Run + Send + Sync + 'static) {
    // Probe first: `once_cell` is not shuttle's, so its lock would block all threads.
    support::require_pidfd().expect("the model has pidfds");
    let _ = support::support();
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(50_000);
    Runner::new(scheduler, config).run(move || make().execute());
}

/// Checks that runs with the fault fail, with one of these messages.
pub(super) fn assert_finds(
    fault: Fault,
    messages: &[&str],
    make: impl Fn() -> Run + Copy + Send + Sync + 'static,
) {
    // The rarest fault is found in one of 70 schedules.
    const BUDGET: usize = 5_000;
    let by_random = first_failure(random(BUDGET), fault, make);
    let by_pct = first_failure(pct(BUDGET), fault, make);
    for (schedules, failure) in [by_random, by_pct] {
        eprintln!("{fault:?}: schedule {schedules} failed with {failure:?}");
        let failure = failure.expect("the fault was not found");
        assert!(messages.iter().any(|message| failure.contains(message)));
    }
}

/// How many schedules it took, and the message of the last one's failure.
fn first_failure(
    scheduler: impl Scheduler + 'static,
    fault: Fault,
    make: impl Fn() -> Run + Send + Sync + 'static,
) -> (usize, Option<String>) {
    let executed = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&executed);
    let make = move || {
        counter.fetch_add(1, SeqCst);
        Run {
            fault: Some(fault),
            ..make()
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| execute(scheduler, make)));
    let failure = result.err().map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => format!("{:?}", panic.downcast::<&str>()),
    });
    (executed.load(SeqCst), failure)
}
