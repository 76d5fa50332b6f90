//! `remove`, and keys that stay unique when a slot is reused.

use std::time::Duration;

use pidwait::{Backend, PidHandle, WaitKey, WaitSet};

use super::{code, handle, next, own_process};
use crate::common::{backends, errno, readable, sleeper, zombie, NonChild, LONG};
use nix::libc::ECHILD;

const SHORT: Duration = Duration::from_millis(50);

/// Returns a set of two zombies of which one is reported: the set has received the exit of the other
/// one, too, but not reported it yet.
fn with_unreported_exit(backend: Backend) -> (WaitSet<i32>, WaitKey, i32) {
    let mut set = WaitSet::new().unwrap();
    let keys = [1, 2].map(|number| {
        let child = zombie(&format!("exit {number}"));
        // On the waitpid backend, wait until the watcher has seen the exit, too.
        let child = handle(child, backend);
        assert!(readable(&child.exit_fd().unwrap(), LONG));
        (set.insert(child, number).unwrap(), number)
    });
    let reported = next(&mut set);
    let left = keys.into_iter().find(|(key, _)| *key != reported.key);
    let (key, number) = left.unwrap();
    (set, key, number)
}

#[test]
fn zombie_removed_before_its_report_is_not_reported() {
    for backend in backends() {
        let (mut set, key, number) = with_unreported_exit(backend);
        let (child, value) = set.remove(key).unwrap();
        assert_eq!(value, number);
        assert!(set.wait().unwrap().is_none());
        assert_eq!(child.wait().unwrap().code(), Some(number));
    }
}

/// The set has received an exit event for a slot whose handle is removed and replaced. It must not
/// report the new handle, which for a non-child no wait could detect.
#[test]
fn exit_of_removed_handle_is_not_reported_for_its_successor() {
    for backend in backends() {
        let (mut set, key, _) = with_unreported_exit(backend);
        set.remove(key).unwrap();
        // Both slots are free, so one of the two new handles gets the slot of the removed one.
        set.insert(own_process(backend), 3).unwrap();
        set.insert(own_process(backend), 4).unwrap();
        assert!(set.wait_timeout(SHORT).unwrap().is_none());
        assert_eq!(set.len(), 2);
    }
}

#[test]
fn stale_key_finds_nothing() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let reported = set.insert(handle(zombie("exit 3"), backend), 0).unwrap();
        assert_eq!(next(&mut set).key, reported);
        let mut old = vec![reported];
        for number in 1..4 {
            let key = set.insert(own_process(backend), number).unwrap();
            for &old in &old {
                assert_ne!(old, key);
                assert!(set.get(old).is_none());
                assert!(set.remove(old).is_none());
            }
            assert_eq!(set.len(), 1);
            assert_eq!(set.remove(key).unwrap().1, number);
            assert!(set.remove(key).is_none());
            old.push(key);
        }
        assert!(set.is_empty());
    }
}

#[test]
fn key_of_another_set_finds_nothing() {
    for backend in backends() {
        let (mut one, mut two) = (WaitSet::new().unwrap(), WaitSet::new().unwrap());
        let key = one.insert(own_process(backend), 1).unwrap();
        let other = two.insert(own_process(backend), 2).unwrap();
        assert_ne!(key, other);
        assert!(two.get(key).is_none());
        assert!(two.get_mut(key).is_none());
        assert!(two.remove(key).is_none());
        assert_eq!((one.len(), two.len()), (1, 1));
        assert_eq!(one.remove(key).unwrap().1, 1);
        assert_eq!(two.remove(other).unwrap().1, 2);
        // A set that is moved stays the same set.
        let mut moved = Box::new(two);
        let key = moved.insert(own_process(backend), 3).unwrap();
        assert!(moved.get(key).is_some());
    }
}

/// The poller must have dropped the descriptor, which is the same one each time.
#[test]
fn removed_handle_can_be_inserted_again() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let mut child = handle(sleeper(), backend);
        for _ in 0..3 {
            let key = set.insert(child, ()).unwrap();
            (child, ()) = set.remove(key).unwrap();
        }
        let key = set.insert(child, ()).unwrap();
        set.get(key).unwrap().0.kill().unwrap();
        let exited = next(&mut set);
        assert_eq!(exited.key, key);
        assert_eq!(code(&exited), None, "killed");
        assert_eq!(errno(exited.handle.wait()), ECHILD);
    }
}

/// A report does not reap a non-child, so its handle can be inserted and reported again.
#[test]
fn reported_non_child_can_be_inserted_again() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let mut other = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(non_child.finish(), Some(7));
        let mut set = WaitSet::new().unwrap();
        for _ in 0..3 {
            set.insert(other, ()).unwrap();
            other = next(&mut set).handle;
        }
    }
}
