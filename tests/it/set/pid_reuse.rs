//! Other code reaps a process of the set, and another child gets its PID.

use std::time::Duration;

use pidwait::{Backend, Exited, PidHandle, WaitSet};

use super::{handle, own_process};
use crate::common::pid_namespace::{in_pid_namespace, ReusedPid};
use crate::common::{
    assert_idle, backends, errno, has_exit_records, readable, reap_externally, zombie, LONG,
};
use nix::libc::ECHILD;

type Wait = fn(&mut WaitSet<()>, Duration) -> std::io::Result<Option<Exited<()>>>;

const WAITS: [Wait; 2] = [WaitSet::wait_timeout, WaitSet::wait_exited_timeout];

/// A zombie in a set, whose exit the handle has seen; another child has its PID now.
fn with_reused_pid(backend: Backend, see: fn(&PidHandle)) -> (WaitSet<()>, ReusedPid) {
    let child = handle(zombie("exit 3"), backend);
    see(&child);
    let mut set = WaitSet::new().unwrap();
    let pid = child.id();
    set.insert(child, ()).unwrap();
    reap_externally(pid);
    (set, ReusedPid::running(pid))
}

#[test]
fn exit_is_reported_although_the_pid_was_reused() {
    if !in_pid_namespace("set::pid_reuse::exit_is_reported_although_the_pid_was_reused") {
        return;
    }
    let see: [fn(&PidHandle); 2] = [
        |child| assert!(child.has_exited().unwrap()),
        |child| assert!(readable(&child.exit_fd().unwrap(), LONG)),
    ];
    for backend in backends() {
        for (see, wait) in see
            .into_iter()
            .flat_map(|see| WAITS.map(|wait| (see, wait)))
        {
            let (mut set, reused) = with_reused_pid(backend, see);
            set.insert(own_process(backend), ()).unwrap();
            let exited = wait(&mut set, Duration::ZERO).unwrap();
            let exited = exited.expect("the exit was seen before");
            let code = exited.status.and_then(|status| status.code());
            assert_eq!(code, has_exit_records(backend).then_some(3));
            assert_eq!(errno(exited.handle.kill()), ECHILD);
            let timeout = Duration::from_millis(100);
            assert_idle(|| assert!(wait(&mut set, timeout).unwrap().is_none()));
            reused.assert_untouched();
        }
    }
}
