//! `reap_orphans`, in a subreaper: a process for each test.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use crate::common::isolated::enter_with_each_backend;
use crate::common::{
    await_gone, await_state, become_subreaper, eventually, kill, line, shell, state_of,
};
use nix::libc::SIGKILL;
use pidwait::{reap_orphans, PidHandle};

/// Starts a process that runs on, and whose parent has exited, so that this process adopts it. Returns its
/// PID.
fn orphan() -> u32 {
    let mut parent = shell("exec 2>/dev/null; sleep 600 & echo $!")
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts");
    let pid = line(&mut parent).parse().expect("a PID");
    parent.wait().expect("wait");
    pid
}

fn reap_all(wanted: usize, is_own: impl Fn(u32) -> bool) {
    let mut reaped = 0;
    eventually("orphans are reaped", || {
        reaped += reap_orphans(&is_own).unwrap();
        reaped == wanted
    });
}

#[test]
fn exited_orphans_are_reaped_and_own_children_are_not() {
    if !enter_with_each_backend("orphans::exited_orphans_are_reaped_and_own_children_are_not") {
        return;
    }
    become_subreaper();
    let own = PidHandle::spawn(&mut shell("exit 3")).unwrap().handle;
    own.wait_exited().unwrap();
    let orphans = [orphan(), orphan()];
    let running = orphan();
    for pid in orphans {
        kill(pid, SIGKILL);
    }
    reap_all(2, |pid| pid == own.id());
    for pid in orphans {
        await_gone(pid);
    }
    assert_ne!(state_of(running), None);
    assert_eq!(own.wait().unwrap().code(), Some(3));

    kill(running, SIGKILL);
    reap_all(1, |_| false);
    assert_eq!(reap_orphans(|_| false).unwrap(), 0);
}

#[test]
fn jobs_that_were_ended_by_groups_leave_no_zombies() {
    if !enter_with_each_backend("orphans::jobs_that_were_ended_by_groups_leave_no_zombies") {
        return;
    }
    become_subreaper();
    for _ in 0..5 {
        let mut command = shell("sleep 600 & sleep 600 & wait");
        let spawned = PidHandle::spawn(command.process_group(0)).unwrap();
        let group = spawned.group.as_ref().expect("it leads a group");
        eventually("the members run", || group.members().unwrap().len() == 3);
        group.terminate(Duration::from_secs(60)).unwrap();
    }
    reap_all(10, |_| false);
}

#[test]
fn leader_that_a_group_keeps_is_left_out() {
    if !enter_with_each_backend("orphans::leader_that_a_group_keeps_is_left_out") {
        return;
    }
    become_subreaper();
    let mut command = shell("exit 3");
    let spawned = PidHandle::spawn(command.process_group(0)).unwrap();
    let pid = spawned.handle.id();
    await_state(pid, 'Z');
    assert_eq!(reap_orphans(|_| false).unwrap(), 0);
    let status = spawned.handle.wait().unwrap();
    assert_eq!(reap_orphans(|_| false).unwrap(), 0);
    let group = spawned.handle.process_group().unwrap();
    drop(spawned);
    assert_eq!(reap_orphans(|_| false).unwrap(), 0);
    assert_eq!(group.terminate(Duration::ZERO).unwrap(), status);
    drop(group);
    await_gone(pid);
}
