//! Injected faults: each disables one precaution of the library, and the runs must find it.

use super::kernel::Fault;
use super::runs::{
    child_seen_to_exit, drop_beside_wait, exec_in_a_thread, fork, kept_zombie_reaped_externally,
    non_child_seen_gone, non_child_with_start_time, release_beside_wait, signal_beside_wait,
};
use super::scenario::{Call, Run, Scenario};
use super::schedules::assert_finds;
use crate::Backend::{Pidfd, Waitpid};

const KEPT: &str = "reaped the leader of a group that lives";
const OTHER: &str = "the status of another process";
const HIT: &str = "hit an unrelated process";
const REAPED: &str = "reaped an unrelated process";
const MISSED: &str = "missed the exit";
const EARLY: &str = "reported an exit too early";
const LOST: &str = "lost the status";
const NOT_NOTED: &str = "not noted";
const WATCHED_AGAIN: &str = "more than one watcher";
const DEADLOCK: &str = "deadlock";

#[test]
fn finds_a_signal_without_the_lock() {
    let run = || signal_beside_wait(Waitpid);
    assert_finds(Fault::SignalWithoutLock, &[HIT], run);
}

#[test]
fn finds_a_blocking_peek_that_reaps() {
    let run = || signal_beside_wait(Waitpid);
    assert_finds(
        Fault::ReapInBlockingPeek,
        &[HIT, KEPT, LOST, NOT_NOTED],
        run,
    );
}

#[test]
fn finds_a_zombie_that_is_not_kept() {
    for backend in [Pidfd, Waitpid] {
        assert_finds(Fault::ForgetGroup, &[KEPT], move || {
            drop_beside_wait(backend)
        });
    }
}

#[test]
fn finds_a_reap_without_the_lock() {
    let several = |backend| Run::new(backend, Scenario::OwnChild, vec![vec![Call::Wait]; 3]);
    let messages = [KEPT, OTHER, HIT, REAPED, LOST, NOT_NOTED, DEADLOCK];
    for backend in [Pidfd, Waitpid] {
        assert_finds(Fault::ReapWithoutLock, &messages, move || several(backend));
        assert_finds(Fault::ReapWithoutLock, &messages, move || {
            drop_beside_wait(backend)
        });
    }
}

#[test]
fn finds_a_kept_zombie_that_is_not_recognized() {
    let messages = [HIT, REAPED];
    assert_finds(
        Fault::IgnoreStartTimes,
        &messages,
        kept_zombie_reaped_externally,
    );
}

#[test]
fn finds_a_release_that_closes_at_once() {
    let run = || release_beside_wait(Pidfd);
    assert_finds(Fault::CloseAtRelease, &["that is not open"], run);
}

#[test]
fn finds_a_forgotten_exit_of_a_non_child() {
    assert_finds(Fault::ForgetSeen, &[HIT], || {
        then(non_child_seen_gone(), Call::Kill)
    });
    assert_finds(Fault::ForgetSeen, &[MISSED], || {
        then(non_child_seen_gone(), Call::HasExited)
    });
}

#[test]
fn finds_a_forgotten_exit_of_a_child() {
    assert_finds(Fault::ForgetSeen, &[HIT], || {
        then(child_seen_to_exit(), Call::Kill)
    });
    assert_finds(Fault::ForgetSeen, &[MISSED], || {
        then(child_seen_to_exit(), Call::HasExited)
    });
    assert_finds(Fault::ForgetSeen, &[DEADLOCK, WATCHED_AGAIN], || {
        then(child_seen_to_exit(), Call::ExitFd)
    });
}

#[test]
fn finds_ignored_start_times() {
    let run = || then(non_child_with_start_time(), Call::Kill);
    assert_finds(Fault::IgnoreStartTimes, &[HIT], run);
}

#[test]
fn finds_a_notification_by_closing_beside_a_fork() {
    let run = || Run {
        fork: Some(vec![Call::HasExited]),
        ..Run::new(Waitpid, Scenario::OwnChild, vec![vec![Call::ExitFd]])
    };
    assert_finds(Fault::NotifyByClosing, &[DEADLOCK], run);
}

#[test]
fn finds_echild_in_a_fork_taken_for_reaped() {
    let run = || fork(Waitpid, Scenario::OwnChild);
    assert_finds(Fault::IgnoreForks, &[EARLY, "not signalled"], run);
}

#[test]
fn finds_a_poll_that_is_believed() {
    let run = || exec_in_a_thread(Scenario::NonChild);
    assert_finds(Fault::RepeatEarlyPolls, &[EARLY], run);
}

/// Makes this call after the PID was reused, and no calls in other threads.
fn then(run: Run, call: Call) -> Run {
    let mut calls = run.threads.into_iter().next().unwrap_or_default();
    let reuse = calls.iter().position(|call| *call == Call::ReusePid);
    calls.truncate(reuse.map_or(0, |index| index + 1));
    calls.push(call);
    Run {
        threads: vec![calls],
        ..run
    }
}
