//! Which calls start a thread, and that none of those outlives what it watches.
//!
//! One binary with one test, because it counts the threads of the whole process.

mod common;

use std::fs;
use std::time::Duration;

use common::{backends, eventually, readable, sleeper, LONG};
use pidwait::{Backend, ChildExt, PidHandle};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn threads() {
    for backend in backends() {
        waits_and_exit_fds_of_a_child(backend);
        waits_and_exit_fds_of_a_non_child(backend);
    }
    timed_waits_of_childs();
    watchers_of_dropped_handles_go_with_their_processes();
    a_non_child_watcher_goes_with_its_listeners();
    a_watcher_takes_no_signal();
}

fn count() -> usize {
    tids().len()
}

fn tids() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc");
    let names = tasks.map(|task| task.expect("a task").file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).unwrap()
}

fn end(mut child: std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// By descriptor none ever; by pid one, once a limit or an exit_fd asks for it, and not another.
fn waits_and_exit_fds_of_a_child(backend: Backend) {
    let before = count();
    let child = sleeper();
    let handle = open(child.id(), backend);
    let deadline = std::time::Instant::now() + MILLI;
    handle.try_wait().unwrap();
    handle.wait_timeout(Duration::ZERO).unwrap();
    handle.has_exited().unwrap();
    handle.signal(0).unwrap();
    assert_eq!(count(), before, "{backend}: what never waits");

    let watchers = usize::from(backend == Backend::Waitpid);
    handle.wait_timeout(MILLI).unwrap();
    assert_eq!(count(), before + watchers, "{backend}: a timed wait");
    handle.wait_deadline(deadline).unwrap();
    handle.wait_exited_timeout(MILLI).unwrap();
    let exits = [handle.exit_fd().unwrap(), handle.exit_fd().unwrap()];
    handle.wait_timeout(MILLI).unwrap();
    drop(exits);
    let _exit = handle.exit_fd().unwrap();
    assert_eq!(count(), before + watchers, "{backend}: all who listen");

    end(child);
    eventually("the watcher ends with the child", || count() == before);
}

/// Looked at again and again, or by one watcher for all who ask for a descriptor.
fn waits_and_exit_fds_of_a_non_child(backend: Backend) {
    let before = count();
    let me = open(std::process::id(), backend);
    me.wait_exited_timeout(MILLI).unwrap();
    assert_eq!(count(), before, "{backend}: a timed wait for a non-child");
    let watchers = usize::from(backend == Backend::Waitpid);
    let exits = [me.exit_fd().unwrap(), me.exit_fd().unwrap()];
    assert_eq!(count(), before + watchers, "{backend}: its exit_fds");
    drop((exits, me));
    eventually("its watcher ends with them", || count() == before);
}

/// None, by either backend: this runs under whatever PIDWAIT_BACKEND says. Any watcher would still
/// be there after the wait, for the child is.
fn timed_waits_of_childs() {
    let before = count();
    let mut child = sleeper();
    assert_eq!(child.pidfd_wait_timeout(MILLI).unwrap(), None);
    let deadline = std::time::Instant::now() + MILLI;
    assert_eq!(child.pidfd_wait_deadline(deadline).unwrap(), None);
    assert_eq!(count(), before);
    child.pidfd_terminate(Duration::MAX).unwrap();
}

fn watchers_of_dropped_handles_go_with_their_processes() {
    let before = count();
    let mut children = Vec::new();
    let mut exits = Vec::new();
    for number in 0..100 {
        let child = sleeper();
        let handle = open(child.id(), Backend::Waitpid);
        match number % 2 {
            0 => drop(handle.wait_timeout(MILLI).unwrap()),
            _ => exits.push(handle.exit_fd().unwrap()),
        }
        children.push(child);
    }
    assert_eq!(count(), before + 100);
    children.into_iter().for_each(end);
    for exit in &exits {
        assert!(readable(exit, LONG));
    }
    eventually("all watchers are gone", || count() == before);
}

/// Nobody reaps it for us, and it may run for ever: only its listeners keep the watcher.
fn a_non_child_watcher_goes_with_its_listeners() {
    let before = count();
    let me = open(std::process::id(), Backend::Waitpid);
    let exit = me.exit_fd().unwrap();
    let twin = exit.clone();
    drop((me, exit));
    assert!(!readable(&twin, 200)); // Several looks later, one listener is still there.
    assert_eq!(count(), before + 1);
    drop(twin);
    eventually("its watcher is gone", || count() == before);
}

/// Every signal that can be blocked is, so that no handler of the program's runs on it.
fn a_watcher_takes_no_signal() {
    let before = tids();
    let child = sleeper();
    let handle = open(child.id(), Backend::Waitpid);
    let _exit = handle.exit_fd().unwrap();
    let watcher = tids().into_iter().find(|tid| !before.contains(tid));
    let path = format!("/proc/self/task/{}/status", watcher.expect("a watcher"));
    let mut status = String::new();
    // libc blocks all signals in a thread that is only about to run.
    eventually("the watcher sleeps", || {
        status = fs::read_to_string(&path).unwrap();
        status.contains("State:\tS")
    });
    let blocked = status.lines().find_map(|it| it.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(blocked.unwrap().trim(), 16).unwrap();
    // Not SIGKILL and SIGSTOP, nor the two that libc keeps to itself, 32 and 33 (musl: 34, too).
    let never = [9, 19, 32, 33, 34].map(|signal| 1_u64 << (signal - 1));
    let mask = never.iter().fold(blocked, |mask, signal| mask | signal);
    assert_eq!(mask, u64::MAX, "{status}");

    // And the thread that started it has its own mask back.
    let mine = fs::read_to_string("/proc/thread-self/status").unwrap();
    let mine = mine.lines().find_map(|it| it.strip_prefix("SigBlk:"));
    assert_eq!(mine.unwrap().trim(), "0000000000000000");
    end(child);
}
