//! `wait_exited` and `wait_exited_timeout` report exits and reap nothing.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::{Duration, Instant};

use pidwait::{PidHandle, WaitSet};

use super::{handle, kill_traced, own_process, traced_child};
use crate::common::{
    all_backends, assert_idle, backends, has_exit_records, reap_externally, shell, zombie, NonChild,
};
use nix::libc::SIGKILL;

/// Until the leader is reaped, its group can be signalled.
#[test]
fn group_of_reported_leader_can_be_signalled() {
    for backend in backends() {
        let mut leader = shell("sleep 600 & exit 3");
        let leader = leader.process_group(0).spawn().unwrap();
        let mut set = WaitSet::new().unwrap();
        set.insert(handle(leader, backend), ()).unwrap();
        let exited = set.wait_exited().unwrap().unwrap();
        exited.handle.process_group().unwrap().kill().unwrap();
        assert_eq!(exited.handle.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn wait_exited_of_done_released_or_reaped_child_reports_it_once() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let [waited, released, reaped] = [3, 4, 5].map(|code| {
            let child = zombie(&format!("exit {code}"));
            let child = handle(child, backend);
            set.insert(child.clone(), code).unwrap();
            child
        });
        waited.wait().unwrap();
        released.release().unwrap();
        reap_externally(reaped.id());
        for _ in 0..3 {
            let exited = set.wait_exited().unwrap().unwrap();
            let code = exited.status.and_then(|status| status.code());
            assert_eq!(exited.status, exited.handle.exit_status());
            match exited.value {
                3 => assert_eq!(code, Some(3)),
                4 => assert_eq!(code, None),
                _ => assert_eq!(code, has_exit_records(backend).then_some(5)),
            }
        }
        assert!(set.wait_exited().unwrap().is_none());
        reap_externally(released.id());
    }
}

#[test]
fn wait_exited_reports_non_children() {
    for backend in all_backends() {
        let mut non_child = NonChild::new();
        let mut set = WaitSet::new().unwrap();
        let other = PidHandle::open_with(non_child.pid, backend).unwrap();
        set.insert(other, ()).unwrap();
        assert!(set
            .wait_exited_timeout(Duration::from_millis(20))
            .unwrap()
            .is_none());
        assert_eq!(non_child.finish(), Some(7));
        let exited = set.wait_exited().unwrap().unwrap();
        let code = exited.status.and_then(|status| status.code());
        assert_eq!(code, has_exit_records(backend).then_some(7));
        assert!(exited.handle.has_exited().unwrap());
    }
}

#[test]
fn reported_child_can_be_inserted_and_reported_again() {
    for backend in backends() {
        let mut child = handle(zombie("exit 3"), backend);
        let mut set = WaitSet::new().unwrap();
        for _ in 0..3 {
            set.insert(child, ()).unwrap();
            child = set.wait_exited().unwrap().unwrap().handle;
        }
        set.insert(child, ()).unwrap();
        let exited = set.wait().unwrap().unwrap();
        assert_eq!(exited.status.unwrap().code(), Some(3));
    }
}

#[test]
fn wait_exited_timeout_never_ends_early() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(own_process(backend), ()).unwrap();
        for micros in [1, 999, 1_001, 12_345] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            assert!(set.wait_exited_timeout(timeout).unwrap().is_none());
            assert!(start.elapsed() >= timeout);
        }
    }
}

#[test]
fn wait_exited_sleeps_while_tracer_holds_zombie() {
    for backend in backends() {
        let Some((child, tracer)) = traced_child(backend) else {
            return;
        };
        let mut set = WaitSet::new().unwrap();
        set.insert(child.clone(), ()).unwrap();
        kill_traced(&child);
        let timeout = Duration::from_millis(300);
        assert_idle(|| assert!(set.wait_exited_timeout(timeout).unwrap().is_none()));
        tracer.end();
        let exited = set.wait_exited().unwrap().unwrap();
        assert_eq!(exited.handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}
