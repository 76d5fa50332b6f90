//! A forked process has a copy of the set and shares its epoll instance with the parent. A process for each
//! test, where no other test starts or ends threads at the moment of the fork.
#![allow(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use pidwait::{WaitKey, WaitSet};

use super::{handle, next};
use crate::common::isolated::enter;
use crate::common::{await_library_threads, backends, kill, reap_externally, sleeper};
use nix::libc::{self, SIGKILL};

/// Runs a call on the set in a forked process. There, a call that fails must not panic, because a
/// panic would run the tests again.
fn in_fork(set: &mut WaitSet<()>, key: WaitKey, call: fn(&mut WaitSet<()>, WaitKey) -> bool) {
    await_library_threads();
    // SAFETY: no other thread uses the set or its handles, and the child exits without unwinding.
    match unsafe { libc::fork() } {
        0 => {
            let passed = call(set, key);
            // SAFETY: does not return.
            unsafe { libc::_exit(i32::from(!passed)) };
        }
        pid => assert_eq!(reap_externally(u32::try_from(pid).unwrap()), 0),
    }
}

#[test]
fn calls_in_a_fork_leave_the_set_of_the_parent_alone() {
    if !enter("set::forked::calls_in_a_fork_leave_the_set_of_the_parent_alone") {
        return;
    }
    let calls: [fn(&mut WaitSet<()>, WaitKey) -> bool; 3] = [
        |set, key| set.remove(key).is_some() && set.is_empty(),
        |set, key| {
            let waited = set.wait_timeout(Duration::from_millis(1));
            waited.is_ok_and(|exited| exited.is_none()) && set.remove(key).is_some()
        },
        |set, _| {
            drop(std::mem::replace(
                set,
                match WaitSet::new() {
                    Ok(empty) => empty,
                    Err(_) => return false,
                },
            ));
            true
        },
    ];
    for backend in backends() {
        for call in calls {
            let child = handle(sleeper(), backend);
            let mut set = WaitSet::new().unwrap();
            let key = set.insert(child.clone(), ()).unwrap();
            in_fork(&mut set, key, call);
            assert!(set.wait_timeout(Duration::ZERO).unwrap().is_none());
            child.kill().unwrap();
            assert_eq!(next(&mut set).status.unwrap().signal(), Some(SIGKILL));
        }
    }
}

/// The process is a non-child there. Its exit is reported, and the parent still gets the status.
#[test]
fn exit_is_reported_in_a_fork_and_in_the_parent() {
    if !enter("set::forked::exit_is_reported_in_a_fork_and_in_the_parent") {
        return;
    }
    for backend in backends() {
        let child = handle(sleeper(), backend);
        let mut set = WaitSet::new().unwrap();
        let key = set.insert(child.clone(), ()).unwrap();
        in_fork(&mut set, key, |set, key| {
            let Some((child, ())) = set.get(key) else {
                return false;
            };
            let killed = child.kill();
            let timeout = Duration::from_secs(60);
            let reported = set
                .wait_timeout(timeout)
                .is_ok_and(|exited| exited.is_some());
            let is_over = set
                .wait_timeout(timeout)
                .is_ok_and(|exited| exited.is_none());
            killed.is_ok() && reported && is_over
        });
        assert_eq!(next(&mut set).status.unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn exit_of_a_released_handle_is_reported_in_a_fork_and_in_the_parent() {
    if !enter("set::forked::exit_of_a_released_handle_is_reported_in_a_fork_and_in_the_parent") {
        return;
    }
    for backend in backends() {
        let child = handle(sleeper(), backend);
        let mut set = WaitSet::new().unwrap();
        let key = set.insert(child.clone(), ()).unwrap();
        child.release().unwrap();
        in_fork(&mut set, key, |set, key| {
            let Some((child, ())) = set.get(key) else {
                return false;
            };
            kill(child.id(), SIGKILL);
            let reported = set.wait_timeout(Duration::from_secs(60));
            reported.is_ok_and(|exited| exited.is_some())
        });
        next(&mut set);
        reap_externally(child.id());
    }
}
