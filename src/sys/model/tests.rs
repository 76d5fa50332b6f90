//! The handle and both backends, in as many orders of their calls as there is time for.

use shuttle::rand::{thread_rng, Rng};

use super::kernel::Fault;
use super::run::{Call, Run, Scenario};
use super::schedules::{assert_finds, explore};
use crate::Backend::{self, Pidfd, Waitpid};

macro_rules! explorations {
    ($($name:ident: $run:expr;)*) => {
        const EXPLORATIONS: usize = [$(stringify!($name)),*].len();

        $(#[test]
        fn $name() {
            explore(EXPLORATIONS, || $run);
        })*
    };
}

explorations! {
    own_child_by_pidfd: any_calls(Pidfd, Scenario::OwnChild);
    own_child_by_pid: any_calls(Waitpid, Scenario::OwnChild);
    own_child_without_descriptors: any_calls(Waitpid, Scenario::NoDescriptors);
    reaped_early_by_pidfd: any_calls(Pidfd, Scenario::ReapedEarly);
    reaped_early_by_pid: any_calls(Waitpid, Scenario::ReapedEarly);
    missing_by_pidfd: any_calls(Pidfd, Scenario::Missing);
    missing_by_pid: any_calls(Waitpid, Scenario::Missing);
    reaped_externally_by_pidfd: any_calls(Pidfd, Scenario::ReapedExternally);
    reaped_externally_by_pid: any_calls(Waitpid, Scenario::ReapedExternally);
    sigchld_ignored_by_pidfd: any_calls(Pidfd, Scenario::SigchldIgnored);
    sigchld_ignored_by_pid: any_calls(Waitpid, Scenario::SigchldIgnored);
    non_child_by_pidfd: any_calls(Pidfd, Scenario::NonChild);
    non_child_by_pid: any_calls(Waitpid, Scenario::NonChild);
    child_that_runs_on_by_pidfd: exits_last(Pidfd, Scenario::OwnChild);
    child_that_runs_on_by_pid: exits_last(Waitpid, Scenario::OwnChild);
    non_child_that_runs_on_by_pidfd: exits_last(Pidfd, Scenario::NonChild);
    non_child_that_runs_on_by_pid: exits_last(Waitpid, Scenario::NonChild);
    waits_for_a_non_child_by_pid: only_waits(Waitpid, Scenario::NonChild);
    several_waits_by_pidfd: only_waits(Pidfd, Scenario::OwnChild);
    several_waits_by_pid: only_waits(Waitpid, Scenario::OwnChild);
    signal_beside_wait_by_pid: signal_beside_wait(Waitpid);
    open_beside_reap_by_pidfd: open_beside_reap(Pidfd);
    open_beside_reap_by_pid: open_beside_reap(Waitpid);
    peek_beside_reap_by_pidfd: peek_beside_reap(Pidfd);
    peek_beside_reap_by_pid: peek_beside_reap(Waitpid);
    release_beside_wait_by_pidfd: release_beside_wait(Pidfd);
    release_beside_wait_by_pid: release_beside_wait(Waitpid);
}

// ---- seeded faults, which the runs above must find ----

#[test]
fn finds_a_signal_without_the_lock() {
    let messages = ["hit an unrelated process"];
    assert_finds(Fault::SignalWithoutLock, &messages, || {
        signal_beside_wait(Waitpid)
    });
}

#[test]
fn finds_a_blocking_peek_that_reaps() {
    let messages = ["hit an unrelated process", "lost the status", "not noted"];
    assert_finds(Fault::ReapInBlockingPeek, &messages, || {
        signal_beside_wait(Waitpid)
    });
}

#[test]
fn finds_a_release_that_closes_at_once() {
    assert_finds(Fault::CloseAtRelease, &["that is not open"], || {
        release_beside_wait(Pidfd)
    });
}

// ---- runs ----

fn any_calls(backend: Backend, scenario: Scenario) -> Run {
    random_calls(&Call::ALL, backend, scenario)
}

fn only_waits(backend: Backend, scenario: Scenario) -> Run {
    random_calls(&Call::WAITS, backend, scenario)
}

fn exits_last(backend: Backend, scenario: Scenario) -> Run {
    Run {
        exits_last: true,
        ..random_calls(&Call::SHORT, backend, scenario)
    }
}

/// Three threads with one to three calls each.
fn random_calls(all: &[Call], backend: Backend, scenario: Scenario) -> Run {
    let mut rng = thread_rng();
    let mut calls = || {
        let number = rng.gen_range(1..=3);
        let call = |_| all[rng.gen_range(0..all.len())];
        (0..number).map(call).collect()
    };
    let threads = vec![calls(), calls(), calls()];
    Run::new(backend, scenario, threads)
}

fn signal_beside_wait(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::Wait],
        vec![Call::Signal],
        vec![Call::SignalGroup],
    ];
    Run::new(backend, Scenario::OwnChild, threads)
}

fn release_beside_wait(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::WaitTimeout],
        vec![Call::Wait],
        vec![Call::Release],
    ];
    Run::new(backend, Scenario::OwnChild, threads)
}

fn open_beside_reap(backend: Backend) -> Run {
    let threads = vec![
        vec![Call::OpenAgain; 2],
        vec![Call::OpenAgain],
        vec![Call::Wait],
    ];
    Run::new(backend, Scenario::ReapedExternally, threads)
}

fn peek_beside_reap(backend: Backend) -> Run {
    let threads = vec![vec![Call::Peek], vec![Call::Peek], vec![Call::Wait]];
    Run::new(backend, Scenario::ReapedExternally, threads)
}
