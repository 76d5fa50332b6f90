//! `WaitSet`: reports each process once, after its exit, with its key and its value.

#[cfg(target_os = "linux")]
mod exited;
#[cfg(target_os = "linux")]
mod forked;
mod handles;
mod insert_error;
mod iter;
mod keys;
#[cfg(target_os = "linux")]
mod pid_reuse;
#[cfg(target_os = "linux")]
mod ready_fd;
mod timeout;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

use pidwait::{Backend, Exited, PidHandle, WaitSet};

use crate::common::{
    all_backends, await_zombie, backends, errno, has_exit_records, sh, sleeper, zombie, NonChild,
};
#[cfg(target_os = "linux")]
use crate::common::{await_state, traceable_sleeper, Tracer};
use nix::libc::{ECHILD, SIGKILL};

/// Opens a handle for a child and drops the `Child`.
fn handle(child: Child, backend: Backend) -> PidHandle {
    PidHandle::open_with(child.id(), backend).unwrap()
}

/// Opens this process: it runs as long as any test and is not a child.
fn own_process(backend: Backend) -> PidHandle {
    PidHandle::open_with(std::process::id(), backend).unwrap()
}

/// Starts a child that another process traces. `None` if this user may not trace.
#[cfg(target_os = "linux")]
fn traced_child(backend: Backend) -> Option<(PidHandle, Tracer)> {
    let child = traceable_sleeper();
    let tracer = Tracer::attach(child.id())?;
    Some((handle(child, backend), tracer))
}

/// Kills a traced child, and returns when it is a zombie that its tracer holds.
#[cfg(target_os = "linux")]
fn kill_traced(child: &PidHandle) {
    child.kill().unwrap();
    await_state(child.id(), 'Z');
}

/// Waits for the next exit. The set must not be empty.
#[track_caller]
fn next<T>(set: &mut WaitSet<T>) -> Exited<T> {
    set.wait().unwrap().expect("the set is not empty")
}

fn code<T>(exited: &Exited<T>) -> Option<i32> {
    exited.status.and_then(|status| status.code())
}

/// Returns all permutations.
fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in items {
        let others: Vec<_> = items.iter().copied().filter(|&it| it != first).collect();
        for mut order in permutations(&others) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

#[test]
fn mixed_backends_report_exits_in_any_order() {
    let backends = all_backends();
    for order in permutations(&[0, 1, 2, 3]) {
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
            assert_eq!(errno(exited.handle.wait()), ECHILD, "the set reaped it");
        }
        assert!(set.wait().unwrap().is_none());
    }
}

#[test]
fn simultaneous_exits_are_each_reported_once() {
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

/// With every pair of backends, and with either process exiting first.
#[test]
fn children_and_non_children_share_a_set() {
    for (child_backend, other_backend) in backend_pairs() {
        for child_first in [true, false] {
            let mut non_child = NonChild::new();
            let mut set = WaitSet::new().unwrap();
            let other = PidHandle::open_with(non_child.pid, other_backend).unwrap();
            set.insert(other, "other").unwrap();
            let child = set
                .insert(handle(sleeper(), child_backend), "child")
                .unwrap();
            let end_child = |set: &mut WaitSet<_>| {
                set.get(child).unwrap().0.kill().unwrap();
                let exited = next(set);
                assert_eq!((exited.key, exited.value), (child, "child"));
                assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
            };
            if child_first {
                end_child(&mut set);
            }
            // After this it is reaped, so its exit record exists if the kernel keeps one.
            assert_eq!(non_child.finish(), Some(7));
            let exited = next(&mut set);
            assert_eq!(exited.value, "other");
            assert_eq!(code(&exited), has_exit_records(other_backend).then_some(7));
            assert!(exited.handle.has_exited().unwrap());
            if !child_first {
                end_child(&mut set);
            }
            assert!(set.is_empty());
        }
    }
}

fn backend_pairs() -> Vec<(Backend, Backend)> {
    let all = all_backends();
    let with_each = |first| all.iter().map(move |&second| (first, second));
    all.iter().copied().flat_map(with_each).collect()
}

#[test]
fn exits_before_insert_and_before_wait_are_reported() {
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

/// The first report reaps the process. The second gets its status from the exit record.
#[test]
fn two_handles_of_one_process_are_both_reported() {
    for (one, two) in backend_pairs() {
        let child = sleeper();
        let first = PidHandle::open_with(child.id(), one).unwrap();
        let second = PidHandle::open_with(child.id(), two).unwrap();
        let mut set = WaitSet::new().unwrap();
        set.insert(first, ()).unwrap();
        set.insert(second, ()).unwrap();
        kill_first(&set);
        let (first, second) = (next(&mut set), next(&mut set));
        assert_eq!(first.status.unwrap().signal(), Some(SIGKILL));
        let recorded = has_exit_records(second.handle.backend());
        let signal = second.status.and_then(|status| status.signal());
        assert_eq!(signal, recorded.then_some(SIGKILL));
        assert!(set.is_empty());
    }
}

fn kill_first<T>(set: &WaitSet<T>) {
    let (_, handle, _) = set.iter().next().expect("the set is not empty");
    handle.kill().unwrap();
}

#[test]
fn len_get_and_iter_list_the_inserted_handles() {
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

#[test]
fn public_types_can_be_shared_and_cross_a_panic() {
    use std::fmt::Debug;
    use std::panic::{RefUnwindSafe, UnwindSafe};

    fn shared<T: Debug + Send + Sync + RefUnwindSafe>() {}
    fn check<T: Debug + Send + Sync + RefUnwindSafe + UnwindSafe>() {
        shared::<T>();
    }
    check::<WaitSet<i32>>();
    check::<pidwait::WaitKey>();
    check::<Exited<i32>>();
    check::<pidwait::InsertError<i32>>();
    check::<pidwait::Iter<'static, i32>>();
    check::<pidwait::IntoIter<i32>>();
    shared::<pidwait::IterMut<'static, i32>>(); // No `&mut` is `UnwindSafe`.
}
