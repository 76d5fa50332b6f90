//! WaitSet: every process is reported once, when it has exited, with what it was put in with.

mod handles;
mod keys;
mod limits;
mod refused;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

use pidwait::{Backend, Exited, PidHandle, WaitSet};

use crate::common::{
    all_backends, await_zombie, backends, errno, has_exit_records, sh, sleeper, zombie, NonChild,
};
use nix::libc::{ECHILD, SIGKILL};

/// Opens a child and lets go of the `Child`.
fn handle(child: Child, backend: Backend) -> PidHandle {
    PidHandle::open_with(child.id(), backend).unwrap()
}

/// A process that runs for as long as any test does, and is no child.
fn ourselves(backend: Backend) -> PidHandle {
    PidHandle::open_with(std::process::id(), backend).unwrap()
}

/// The next exit of a set that has one.
#[track_caller]
fn next<T>(set: &mut WaitSet<T>) -> Exited<T> {
    set.wait().unwrap().expect("the set is not empty")
}

fn code<T>(exited: &Exited<T>) -> Option<i32> {
    exited.status.and_then(|status| status.code())
}

fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in of {
        let others: Vec<_> = of.iter().copied().filter(|&it| it != first).collect();
        for mut order in orders(&others) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

#[test]
fn exits_in_every_order_with_both_backends_mixed() {
    let backends = all_backends();
    for order in orders(&[0, 1, 2, 3]) {
        let mut set = WaitSet::new().unwrap();
        let keys = [0, 1, 2, 3].map(|number| {
            let child = handle(sleeper(), backends[number % backends.len()]);
            set.insert(child, number).unwrap()
        });
        for number in order {
            set.get(keys[number]).unwrap().0.kill().unwrap();
            let exited = next(&mut set);
            assert_eq!((exited.key, exited.value), (keys[number], number));
            assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
            assert_eq!(errno(exited.handle.wait()), ECHILD, "it was reaped");
        }
        assert!(set.wait().unwrap().is_none());
    }
}

#[test]
fn exits_all_at_once() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let mut left = HashMap::new();
        for number in 0..50 {
            let child = handle(sh(&format!("exit {number}")), backend);
            left.insert(set.insert(child, number).unwrap(), number);
        }
        while let Some(exited) = set.wait().unwrap() {
            assert_eq!(left.remove(&exited.key), Some(exited.value));
            assert_eq!(code(&exited), Some(exited.value));
        }
        assert!(left.is_empty(), "not reported: {left:?}");
    }
}

/// Every pair of backends, for the child and for the other one; whoever ends first.
#[test]
fn children_and_others_together() {
    for (ours, theirs) in pairs() {
        for child_first in [true, false] {
            let mut non_child = NonChild::new();
            let mut set = WaitSet::new().unwrap();
            let other = PidHandle::open_with(non_child.pid, theirs).unwrap();
            set.insert(other, "other").unwrap();
            let child = set.insert(handle(sleeper(), ours), "child").unwrap();
            let end_child = |set: &mut WaitSet<_>| {
                set.get(child).unwrap().0.kill().unwrap();
                let exited = next(set);
                assert_eq!((exited.key, exited.value), (child, "child"));
                assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
            };
            if child_first {
                end_child(&mut set);
            }
            // Reaped when this comes back, so that the kernel has its record, if it keeps one.
            assert_eq!(non_child.finish(), Some(7));
            let exited = next(&mut set);
            assert_eq!(exited.value, "other");
            assert_eq!(code(&exited), has_exit_records(theirs).then_some(7));
            assert!(exited.handle.has_exited().unwrap());
            if !child_first {
                end_child(&mut set);
            }
            assert!(set.is_empty());
        }
    }
}

fn pairs() -> Vec<(Backend, Backend)> {
    let all = all_backends();
    let with_each = |first| all.iter().map(move |&second| (first, second));
    all.iter().copied().flat_map(with_each).collect()
}

#[test]
fn an_exit_before_insert_and_one_before_wait() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(handle(zombie("exit 1"), backend), 1).unwrap();
        let child = sh("exit 2");
        let pid = child.id();
        set.insert(handle(child, backend), 2).unwrap();
        await_zombie(pid);
        let mut codes = [next(&mut set), next(&mut set)].map(|exited| {
            assert_eq!(code(&exited), Some(exited.value));
            exited.value
        });
        codes.sort_unstable();
        assert_eq!(codes, [1, 2]);
    }
}

/// `PidHandle::from` had to reap it, and keeps the status for the first who asks.
#[test]
fn a_zombie_that_was_reaped_into_its_handle() {
    let mut set = WaitSet::new().unwrap();
    let child = PidHandle::from(zombie("exit 3"));
    let key = set.insert(child, ()).unwrap();
    let exited = next(&mut set);
    assert_eq!((exited.key, code(&exited)), (key, Some(3)));
    assert_eq!(errno(exited.handle.wait()), ECHILD);
    assert!(set.is_empty());
}

/// Two handles of one process: the first to be reported reaps it.
#[test]
fn one_process_twice() {
    for (one, two) in pairs() {
        let child = sleeper();
        let first = PidHandle::open_with(child.id(), one).unwrap();
        let second = PidHandle::open_with(child.id(), two).unwrap();
        let mut set = WaitSet::new().unwrap();
        set.insert(first, ()).unwrap();
        set.insert(second, ()).unwrap();
        child_is_killed(&set);
        let (first, second) = (next(&mut set), next(&mut set));
        assert_eq!(first.status.unwrap().signal(), Some(SIGKILL));
        let known = has_exit_records(second.handle.backend());
        let signal = second.status.and_then(|status| status.signal());
        assert_eq!(signal, known.then_some(SIGKILL));
        assert!(set.is_empty());
    }
}

fn child_is_killed<T>(set: &WaitSet<T>) {
    let (_, handle, _) = set.iter().next().expect("there is one");
    handle.kill().unwrap();
}

#[test]
fn what_is_in_it() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        assert_eq!((set.len(), set.is_empty()), (0, true));
        let pids = ["one", "two", "three"].map(|name| {
            let child = sleeper();
            let pid = child.id();
            (set.insert(handle(child, backend), name).unwrap(), pid, name)
        });
        assert_eq!((set.len(), set.is_empty()), (3, false));
        let seen: Vec<_> = set
            .iter()
            .map(|(key, it, name)| (key, it.id(), *name))
            .collect();
        assert_eq!(seen, pids);
        for (key, pid, name) in pids {
            let (handle, value) = set.get(key).unwrap();
            assert_eq!((handle.id(), *value), (pid, name));
            assert!(format!("{set:?}").contains(&pid.to_string()));
        }
    }
}
