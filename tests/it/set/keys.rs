//! Taking processes out, and keys that name only what they were given for.

use std::time::Duration;

use pidwait::{Backend, PidHandle, WaitKey, WaitSet};

use super::{code, handle, next, ourselves};
use crate::common::{backends, errno, readable, sleeper, zombie, NonChild, LONG};
use nix::libc::ECHILD;

const SHORT: Duration = Duration::from_millis(50);

/// Two zombies, of which one is reported: the other's exit was fetched together with it.
fn fetched_and_not_reported(backend: Backend) -> (WaitSet<i32>, WaitKey, i32) {
    let mut set = WaitSet::new().unwrap();
    let keys = [1, 2].map(|number| {
        let child = zombie(&format!("exit {number}"));
        // On the waitpid backend the watcher, too, has to have seen it.
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
fn taken_out_before_it_was_fetched() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let key = set
            .insert(handle(zombie("exit 3"), backend), "dead")
            .unwrap();
        set.insert(ourselves(backend), "alive").unwrap();
        let (child, value) = set.remove(key).unwrap();
        assert_eq!(value, "dead");
        assert!(set.wait_timeout(SHORT).unwrap().is_none());
        assert_eq!(set.len(), 1);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn taken_out_between_fetch_and_report() {
    for backend in backends() {
        let (mut set, key, number) = fetched_and_not_reported(backend);
        let (child, value) = set.remove(key).unwrap();
        assert_eq!(value, number);
        assert!(set.wait().unwrap().is_none());
        assert_eq!(child.wait().unwrap().code(), Some(number));
    }
}

/// The event of one that was taken out must not be laid at the door of the one that came into its
/// place; least of all of a process that cannot be asked, for it is no child.
#[test]
fn an_exit_of_the_past_is_not_its_successors() {
    for backend in backends() {
        let (mut set, key, _) = fetched_and_not_reported(backend);
        set.remove(key).unwrap();
        // Both places are free: one of the two comes into that one's.
        set.insert(ourselves(backend), 3).unwrap();
        set.insert(ourselves(backend), 4).unwrap();
        assert!(set.wait_timeout(SHORT).unwrap().is_none());
        assert_eq!(set.len(), 2);
    }
}

#[test]
fn a_key_of_the_past_reaches_nothing() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let reported = set.insert(handle(zombie("exit 3"), backend), 0).unwrap();
        assert_eq!(next(&mut set).key, reported);
        let mut old = vec![reported];
        for number in 1..4 {
            let key = set.insert(ourselves(backend), number).unwrap();
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

/// By the same descriptor, which the poller must have forgotten.
#[test]
fn taken_out_and_put_in_again() {
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

/// A process that is no child can be reported more than once: nothing of it is used up.
#[test]
fn reported_and_put_in_again() {
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

#[test]
fn places_are_used_again() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let old: Vec<_> = (0..8)
            .map(|number| set.insert(ourselves(backend), number).unwrap())
            .collect();
        for &key in &old {
            set.remove(key).unwrap();
        }
        let new: Vec<_> = (8..24)
            .map(|number| set.insert(ourselves(backend), number).unwrap())
            .collect();
        assert!(old.iter().all(|&key| set.get(key).is_none()));
        for (number, key) in (8..).zip(new) {
            assert_eq!(set.get(key).map(value), Some(number));
        }
        assert_eq!(set.iter().count(), 16);
    }
}

fn value((_, &value): (&PidHandle, &i32)) -> i32 {
    value
}
