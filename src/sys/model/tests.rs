//! The shipped state machine and both backends, in every order that there is time for.
//!
//! `PIDWAIT_SCHEDULES` says how many schedules there are to be in all. They are the same in every
//! run, unless `SHUTTLE_RANDOM_SEED` says otherwise; of one that fails, shuttle prints how to play
//! it again.

use std::env;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use shuttle::rand::{thread_rng, Rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::kernel::Sabotage;
use super::story::{Call, Story, World};
use crate::probe;
use crate::Backend::{self, Pidfd, Waitpid};

macro_rules! explorations {
    ($($name:ident: $story:expr;)*) => {
        const EXPLORATIONS: usize = [$(stringify!($name)),*].len();

        $(#[test]
        fn $name() {
            let each = schedules().div_ceil(2 * EXPLORATIONS);
            run(random(each), || $story);
            run(pct(each), || $story);
        })*
    };
}

explorations! {
    own_child_by_pidfd: anything(Pidfd, World::Own);
    own_child_by_pid: anything(Waitpid, World::Own);
    own_child_without_descriptors: anything(Waitpid, World::Exhausted);
    kept_zombie_by_pidfd: anything(Pidfd, World::Kept);
    kept_zombie_by_pid: anything(Waitpid, World::Kept);
    missing_by_pidfd: anything(Pidfd, World::Missing);
    missing_by_pid: anything(Waitpid, World::Missing);
    robbed_by_pidfd: anything(Pidfd, World::Robbed);
    robbed_by_pid: anything(Waitpid, World::Robbed);
    ignored_by_pidfd: anything(Pidfd, World::Ignored);
    ignored_by_pid: anything(Waitpid, World::Ignored);
    stranger_by_pidfd: anything(Pidfd, World::Stranger);
    stranger_by_pid: anything(Waitpid, World::Stranger);
    child_that_stays_by_pidfd: it_stays(Pidfd, World::Own);
    child_that_stays_by_pid: it_stays(Waitpid, World::Own);
    stranger_that_stays_by_pidfd: it_stays(Pidfd, World::Stranger);
    stranger_that_stays_by_pid: it_stays(Waitpid, World::Stranger);
    waits_for_a_stranger: waits_only(Waitpid, World::Stranger);
    waits_at_once_by_pidfd: waits_only(Pidfd, World::Own);
    waits_at_once_by_pid: waits_only(Waitpid, World::Own);
    signal_beside_wait_by_pid: signal_beside_wait(Waitpid);
    open_beside_reap_by_pidfd: open_beside_reap(Pidfd);
    open_beside_reap_by_pid: open_beside_reap(Waitpid);
    look_beside_reap_by_pidfd: look_beside_reap(Pidfd);
    look_beside_reap_by_pid: look_beside_reap(Waitpid);
    release_beside_wait_by_pidfd: release_beside_wait(Pidfd);
    release_beside_wait_by_pid: release_beside_wait(Waitpid);
}

// ---- would these tests notice? ----

#[test]
fn a_signal_without_the_lock_is_noticed() {
    let story = || signal_beside_wait(Waitpid);
    notices(Sabotage::SignalWithoutLock, &["reached a bystander"], story);
}

#[test]
fn a_reap_before_the_look_is_noticed() {
    let story = || signal_beside_wait(Waitpid);
    let complaints = ["reached a bystander", "lost"];
    notices(Sabotage::ReapBeforeLook, &complaints, story);
}

#[test]
fn a_close_at_release_is_noticed() {
    let story = || release_beside_wait(Pidfd);
    notices(Sabotage::CloseAtRelease, &["that is not open"], story);
}

fn notices(
    sabotage: Sabotage,
    complaints: &[&str],
    story: impl Fn() -> Story + Copy + Send + Sync + 'static,
) {
    // The rarest is seen in one of 70.
    const BUDGET: usize = 5_000;
    let under_random = complaint_of(random(BUDGET), sabotage, story);
    let under_pct = complaint_of(pct(BUDGET), sabotage, story);
    for (played, end) in [under_random, under_pct] {
        eprintln!("{sabotage:?}: schedule {played} ended with {end:?}");
        let end = end.expect("it went unnoticed");
        assert!(complaints.iter().any(|complaint| end.contains(complaint)));
    }
}

/// How many schedules it took, and what the last one ended with.
fn complaint_of(
    scheduler: impl Scheduler + 'static,
    sabotage: Sabotage,
    story: impl Fn() -> Story + Send + Sync + 'static,
) -> (usize, Option<String>) {
    let played = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&played);
    let story = move || {
        counter.fetch_add(1, SeqCst);
        Story {
            sabotage: Some(sabotage),
            ..story()
        }
    };
    let end = catch_unwind(AssertUnwindSafe(|| run(scheduler, story)));
    let complaint = end.err().map(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => format!("{:?}", panic.downcast::<&str>()),
    });
    (played.load(SeqCst), complaint)
}

// ---- stories ----

fn anything(backend: Backend, world: World) -> Story {
    drawn_from(&Call::ALL, backend, world)
}

fn waits_only(backend: Backend, world: World) -> Story {
    drawn_from(&Call::WAITS, backend, world)
}

fn it_stays(backend: Backend, world: World) -> Story {
    Story {
        stays: true,
        ..drawn_from(&Call::SHORT, backend, world)
    }
}

fn drawn_from(all: &[Call], backend: Backend, world: World) -> Story {
    let mut rng = thread_rng();
    let mut calls = || {
        let number = rng.gen_range(1..=3);
        let call = |_| all[rng.gen_range(0..all.len())];
        (0..number).map(call).collect()
    };
    let threads = vec![calls(), calls(), calls()];
    told(backend, world, threads)
}

fn signal_beside_wait(backend: Backend) -> Story {
    let threads = vec![
        vec![Call::Wait],
        vec![Call::Signal],
        vec![Call::SignalGroup],
    ];
    told(backend, World::Own, threads)
}

fn release_beside_wait(backend: Backend) -> Story {
    let threads = vec![
        vec![Call::WaitTimeout],
        vec![Call::Wait],
        vec![Call::Release],
    ];
    told(backend, World::Own, threads)
}

fn open_beside_reap(backend: Backend) -> Story {
    let threads = vec![
        vec![Call::OpenAgain; 2],
        vec![Call::OpenAgain],
        vec![Call::Wait],
    ];
    told(backend, World::Robbed, threads)
}

fn look_beside_reap(backend: Backend) -> Story {
    let threads = vec![vec![Call::Look], vec![Call::Look], vec![Call::Wait]];
    told(backend, World::Robbed, threads)
}

fn told(backend: Backend, world: World, threads: Vec<Vec<Call>>) -> Story {
    Story {
        backend,
        world,
        stays: false,
        threads,
        sabotage: None,
    }
}

// ---- schedules ----

fn schedules() -> usize {
    let number = env::var("PIDWAIT_SCHEDULES").ok();
    number.map_or(20_000, |text| text.parse().expect("a number of schedules"))
}

fn random(schedules: usize) -> RandomScheduler {
    RandomScheduler::new_from_seed(5, schedules)
}

/// Up to three times in a schedule, at random, whoever runs has to let the others go first.
fn pct(schedules: usize) -> PctScheduler {
    PctScheduler::new_from_seed(5, 4, schedules)
}

fn run(scheduler: impl Scheduler + 'static, story: impl Fn() -> Story + Send + Sync + 'static) {
    // Asked for beforehand, as it is kept in a `once_cell`, which knows no threads of shuttle's.
    probe::require_pidfd().expect("the model has pidfds");
    let _ = probe::support();
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(50_000);
    Runner::new(scheduler, config).run(move || story().play());
}
