//! Handles that are used while they are in a set, and the drop of a set.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pidwait::{PidHandle, WaitSet};

use super::{handle, next};
use crate::common::{backends, errno, reap_externally, rounds, sh, shell, sleeper, zombie};
use nix::libc::{EINVAL, SIGKILL};

/// Inserts a handle, runs `meanwhile` and returns the reported status. Asserts that the set reports
/// the handle once.
#[track_caller]
fn reported_once(handle: PidHandle, meanwhile: impl FnOnce(&PidHandle)) -> Option<ExitStatus> {
    let mut set = WaitSet::new().unwrap();
    let key = set.insert(handle, "value").unwrap();
    meanwhile(set.get(key).unwrap().0);
    let exited = next(&mut set);
    assert_eq!((exited.key, exited.value), (key, "value"));
    assert_eq!(exited.status, exited.handle.exit_status());
    assert!(set.get(key).is_none());
    assert!(set.wait().unwrap().is_none());
    exited.status
}

/// Without pidfds, the watcher may see the exit only after the wait has returned. The wait itself must
/// make the exit descriptor readable.
#[test]
fn child_reaped_by_wait_is_reported_at_once() {
    for backend in backends() {
        for _ in 0..rounds(50) {
            let child = handle(sh("exit 3"), backend);
            let mut set = WaitSet::new().unwrap();
            set.insert(child.clone(), ()).unwrap();
            child.wait().unwrap();
            let exited = set.wait_timeout(Duration::ZERO).unwrap();
            assert_eq!(exited.unwrap().status.unwrap().code(), Some(3));
        }
    }
}

#[test]
fn all_children_killed_through_iter_are_reported() {
    let mut set = WaitSet::new().unwrap();
    for backend in backends() {
        for _ in 0..3 {
            set.insert(handle(sleeper(), backend), ()).unwrap();
        }
    }
    for (_, child, ()) in set.iter() {
        child.kill().unwrap();
    }
    for _ in 0..set.len() {
        assert_eq!(next(&mut set).status.unwrap().signal(), Some(SIGKILL));
    }
    assert!(set.wait().unwrap().is_none());
}

/// The set has its own descriptor and so sees the exit, but a released handle must not reap.
#[test]
fn released_child_is_reported_without_a_status() {
    for backend in backends() {
        let mut child = shell("read go; exit 3")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, gate) = (child.id(), child.stdin.take());
        let status = reported_once(handle(child, backend), |child| {
            child.release().unwrap();
            assert_eq!(errno(child.try_wait()), EINVAL);
            drop(gate);
        });
        assert_eq!(status, None);
        assert_eq!(reap_externally(pid), 3 << 8, "it is still a zombie");
    }
}

#[test]
fn dropping_a_set_reaps_and_kills_nothing() {
    for backend in backends() {
        let zombies = [zombie("exit 3"), zombie("exit 3")];
        let pids = [zombies[0].id(), zombies[1].id()];
        let mut running = shell("read go; exit 5")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, gate) = (running.id(), running.stdin.take());
        let mut set = WaitSet::new().unwrap();
        for child in zombies {
            set.insert(handle(child, backend), ()).unwrap();
        }
        set.insert(handle(running, backend), ()).unwrap();
        let reported = next(&mut set).handle.id();
        drop(set);
        let left = pids.into_iter().find(|&pid| pid != reported).unwrap();
        assert_eq!(reap_externally(left), 3 << 8);
        drop(gate);
        assert_eq!(reap_externally(pid), 5 << 8, "it exited by itself");
    }
}
