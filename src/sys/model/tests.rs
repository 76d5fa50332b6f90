//! Tests the handle and both backends in many orders of their calls.

use std::time::Duration;

use super::kernel::with;
use super::runs::{
    any_calls, any_calls_with_groups, child_seen_to_exit, drop_beside_wait, ends_beside_waits,
    exec_in_a_thread, exits_last, fork, kept_zombie_reaped_externally, non_child_seen_gone,
    non_child_with_start_time, only_waits, open_beside_reap, peek_beside_reap, release_beside_wait,
    signal_beside_wait, terminate_beside_waits, try_wait_beside_waits, waits_beside_groups,
};
use super::scenario::Scenario;
use super::schedules::explore;
use super::thread::now;
use crate::engine::Backoff;
use crate::Backend::{Pidfd, Waitpid};

/// How many times as many schedules a focused exploration gets.
const FOCUS: usize = 3;

macro_rules! explorations {
    (
        broad: { $($broad:ident: $broad_run:expr;)* }
        focused: { $($focused:ident: $focused_run:expr;)* }
    ) => {
        const SHARES: usize = [$(stringify!($broad)),*].len()
            + FOCUS * [$(stringify!($focused)),*].len();

        $(#[test]
        fn $broad() {
            explore(1, SHARES, || $broad_run);
        })*

        $(#[test]
        fn $focused() {
            explore(FOCUS, SHARES, || $focused_run);
        })*
    };
}

explorations! {
    broad: {
        own_child_by_pidfd: any_calls(Pidfd, Scenario::OwnChild);
        own_child_by_pid: any_calls(Waitpid, Scenario::OwnChild);
        own_child_without_descriptors: any_calls(Waitpid, Scenario::NoDescriptors);
        own_child_without_threads: any_calls(Waitpid, Scenario::NoThreads);
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
        non_child_with_start_time_by_pid: non_child_with_start_time();
        adopted_by_pidfd: any_calls(Pidfd, Scenario::Adopted);
        adopted_by_pid: any_calls(Waitpid, Scenario::Adopted);
        exec_in_a_thread_of_a_child: exec_in_a_thread(Scenario::OwnChild);
        exec_in_a_thread_of_a_non_child: exec_in_a_thread(Scenario::NonChild);
        fork_by_pidfd: fork(Pidfd, Scenario::OwnChild);
        fork_by_pid: fork(Waitpid, Scenario::OwnChild);
        fork_with_non_child_by_pidfd: fork(Pidfd, Scenario::NonChild);
        fork_with_non_child_by_pid: fork(Waitpid, Scenario::NonChild);
        child_that_runs_on_by_pidfd: exits_last(Pidfd, Scenario::OwnChild);
        child_that_runs_on_by_pid: exits_last(Waitpid, Scenario::OwnChild);
        non_child_that_runs_on_by_pidfd: exits_last(Pidfd, Scenario::NonChild);
        non_child_that_runs_on_by_pid: exits_last(Waitpid, Scenario::NonChild);
        waits_for_a_non_child_by_pid: only_waits(Waitpid, Scenario::NonChild);
        group_of_a_child_by_pidfd: any_calls_with_groups(Pidfd, Scenario::OwnChild);
        group_of_a_child_by_pid: any_calls_with_groups(Waitpid, Scenario::OwnChild);
        group_without_descriptors: any_calls_with_groups(Waitpid, Scenario::NoDescriptors);
        group_without_threads_by_pidfd: any_calls_with_groups(Pidfd, Scenario::NoThreads);
        group_without_threads_by_pid: any_calls_with_groups(Waitpid, Scenario::NoThreads);
        group_reaped_externally_by_pidfd: waits_beside_groups(Pidfd, Scenario::ReapedExternally);
        group_reaped_externally_by_pid: waits_beside_groups(Waitpid, Scenario::ReapedExternally);
        group_with_sigchld_ignored_by_pidfd: waits_beside_groups(Pidfd, Scenario::SigchldIgnored);
        group_with_sigchld_ignored_by_pid: waits_beside_groups(Waitpid, Scenario::SigchldIgnored);
        group_of_a_non_child_by_pidfd: any_calls_with_groups(Pidfd, Scenario::NonChild);
        group_of_a_non_child_by_pid: any_calls_with_groups(Waitpid, Scenario::NonChild);
        group_of_an_adopted_child_by_pidfd: any_calls_with_groups(Pidfd, Scenario::Adopted);
        group_of_an_adopted_child_by_pid: any_calls_with_groups(Waitpid, Scenario::Adopted);
        kept_zombie_reaped_externally_by_pid: kept_zombie_reaped_externally();
    }
    focused: {
        non_child_seen_gone_by_pid: non_child_seen_gone();
        child_seen_to_exit_by_pid: child_seen_to_exit();
        several_waits_by_pidfd: only_waits(Pidfd, Scenario::OwnChild);
        several_waits_by_pid: only_waits(Waitpid, Scenario::OwnChild);
        signal_beside_wait_by_pid: signal_beside_wait(Waitpid);
        open_beside_reap_by_pidfd: open_beside_reap(Pidfd);
        open_beside_reap_by_pid: open_beside_reap(Waitpid);
        peek_beside_reap_by_pidfd: peek_beside_reap(Pidfd);
        peek_beside_reap_by_pid: peek_beside_reap(Waitpid);
        terminate_beside_waits_by_pidfd: terminate_beside_waits(Pidfd);
        terminate_beside_waits_by_pid: terminate_beside_waits(Waitpid);
        try_wait_beside_waits_by_pidfd: try_wait_beside_waits(Pidfd);
        try_wait_beside_waits_by_pid: try_wait_beside_waits(Waitpid);
        release_beside_wait_by_pidfd: release_beside_wait(Pidfd);
        release_beside_wait_by_pid: release_beside_wait(Waitpid);
        waits_beside_groups_by_pidfd: waits_beside_groups(Pidfd, Scenario::OwnChild);
        waits_beside_groups_by_pid: waits_beside_groups(Waitpid, Scenario::OwnChild);
        ends_beside_waits_by_pidfd: ends_beside_waits(Pidfd);
        ends_beside_waits_by_pid: ends_beside_waits(Waitpid);
        drop_beside_wait_by_pidfd: drop_beside_wait(Pidfd);
        drop_beside_wait_by_pid: drop_beside_wait(Waitpid);
    }
}

/// Where a wait checks repeatedly, an exit is seen at the next check.
#[test]
fn looks_are_late_by_at_most_a_twentieth_of_the_time_waited() {
    let (start, backoff) = (now(), Backoff::new());
    let deadline = start + Duration::from_secs(10);
    let mut looks = 0;
    while let Some(delay) = backoff.next_delay(Some(deadline)) {
        let waited = now() - start;
        let latest = (waited / 20).max(Duration::from_millis(1));
        assert!(
            delay <= latest.min(Duration::from_millis(50)),
            "{delay:?} after {waited:?}"
        );
        with(|kernel| kernel.advance_clock(start + waited + delay));
        looks += 1;
    }
    assert_eq!(now(), deadline);
    assert!(looks < 300, "{looks} looks in 10 s");
}
