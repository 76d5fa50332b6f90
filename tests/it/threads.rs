//! Which calls start a watcher thread, and when that thread ends.
//!
//! It runs alone, because it counts the threads of the whole process.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::common::isolated::enter;
use crate::common::{
    backends, eventually, readable, shell, sleeper, thread_count, thread_ids, LONG,
};
use pidwait::{Backend, Capture, ChildExt, PidHandle, StoppedBy};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn watcher_threads_start_when_needed_and_end_with_what_they_watch() {
    if !enter("threads::watcher_threads_start_when_needed_and_end_with_what_they_watch") {
        return;
    }
    for backend in backends() {
        check_handle_of_a_child(backend);
        check_handle_of_a_non_child(backend);
        check_capture(backend);
    }
    check_child_ext();
    check_watchers_of_dropped_handles();
    check_non_child_watcher_without_listeners();
    check_signal_mask_of_a_watcher();
}

fn open(pid: u32, backend: Backend) -> PidHandle {
    PidHandle::open_with(pid, backend).unwrap()
}

fn end(mut child: std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// With pidfds no thread. Otherwise one per handle, started by the first timed wait or `exit_fd`.
fn check_handle_of_a_child(backend: Backend) {
    let before = thread_count();
    let child = sleeper();
    let handle = open(child.id(), backend);
    let deadline = std::time::Instant::now() + MILLI;
    handle.try_wait().unwrap();
    handle.wait_timeout(Duration::ZERO).unwrap();
    handle.wait_deadline(std::time::Instant::now()).unwrap();
    handle.has_exited().unwrap();
    handle.signal(0).unwrap();
    assert_eq!(thread_count(), before, "{backend}: calls that do not wait");

    let watchers = usize::from(backend == Backend::Waitpid);
    handle.wait_timeout(MILLI).unwrap();
    assert_eq!(thread_count(), before + watchers, "{backend}: a timed wait");
    handle.wait_deadline(deadline).unwrap();
    handle.wait_exited_timeout(MILLI).unwrap();
    let exits = [handle.exit_fd().unwrap(), handle.exit_fd().unwrap()];
    handle.wait_timeout(MILLI).unwrap();
    drop(exits);
    let _exit = handle.exit_fd().unwrap();
    assert_eq!(
        thread_count(),
        before + watchers,
        "{backend}: one watcher for all listeners"
    );

    end(child);
    eventually("the watcher ends with the child", || {
        thread_count() == before
    });
}

/// Timed waits poll. Without pidfds, one watcher serves all `exit_fd`s.
fn check_handle_of_a_non_child(backend: Backend) {
    let before = thread_count();
    let me = open(std::process::id(), backend);
    me.wait_exited_timeout(MILLI).unwrap();
    assert_eq!(
        thread_count(),
        before,
        "{backend}: a timed wait for a non-child"
    );
    let watchers = usize::from(backend == Backend::Waitpid);
    let exits = [me.exit_fd().unwrap(), me.exit_fd().unwrap()];
    assert_eq!(
        thread_count(),
        before + watchers,
        "{backend}: exit_fds of a non-child"
    );
    drop((exits, me));
    eventually("the watcher ends with its exit_fds", || {
        thread_count() == before
    });
}

/// No thread, on whichever backend PIDWAIT_BACKEND selects. The child still runs after the wait, so a
/// watcher would still run, too.
fn check_child_ext() {
    let before = thread_count();
    let mut child = sleeper();
    assert_eq!(child.pidfd_wait_timeout(MILLI).unwrap(), None);
    let deadline = std::time::Instant::now() + MILLI;
    assert_eq!(child.pidfd_wait_deadline(deadline).unwrap(), None);
    assert_eq!(thread_count(), before);
    child.pidfd_terminate(Duration::MAX).unwrap();
}

/// One poll loop, on both backends.
fn check_capture(backend: Backend) {
    let before = thread_count();
    let mut command = shell("cat; exec sleep 600");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut spawned = PidHandle::spawn(&mut command).unwrap();
    spawned.handle = open(spawned.handle.id(), backend);
    let capture = Capture::new().timeout(MILLI).input("in");
    let run = capture
        .terminate_on_timeout(Duration::MAX)
        .run_with(&mut spawned, |_, _| {
            assert_eq!(thread_count(), before, "{backend}");
            Ok(())
        });
    assert_eq!(run.unwrap().stopped_by, Some(StoppedBy::Timeout));
    assert_eq!(thread_count(), before, "{backend}");
}

fn check_watchers_of_dropped_handles() {
    let before = thread_count();
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
    assert_eq!(thread_count(), before + 100);
    children.into_iter().for_each(end);
    for exit in &exits {
        assert!(readable(exit, LONG));
    }
    eventually("all watchers are gone", || thread_count() == before);
}

/// A non-child may run forever, so its watcher ends with the last `ExitFd`.
fn check_non_child_watcher_without_listeners() {
    let before = thread_count();
    let me = open(std::process::id(), Backend::Waitpid);
    let exit = me.exit_fd().unwrap();
    let clone = exit.clone();
    drop((me, exit));
    assert!(!readable(&clone, 200)); // Long enough for several polls; one listener remains.
    assert_eq!(thread_count(), before + 1);
    drop(clone);
    eventually("the watcher is gone", || thread_count() == before);
}

/// It blocks every signal that can be blocked, so that no signal handler of the program runs on it.
fn check_signal_mask_of_a_watcher() {
    let before = thread_ids();
    let child = sleeper();
    let handle = open(child.id(), Backend::Waitpid);
    let _exit = handle.exit_fd().unwrap();
    let watcher = thread_ids().into_iter().find(|tid| !before.contains(tid));
    let path = format!("/proc/self/task/{}/status", watcher.expect("a watcher"));
    let mut status = String::new();
    // libc also blocks all signals while a thread starts, so wait until it sleeps.
    eventually("the watcher sleeps", || {
        status = fs::read_to_string(&path).unwrap();
        status.contains("State:\tS")
    });
    let blocked = status.lines().find_map(|it| it.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(blocked.unwrap().trim(), 16).unwrap();
    // Not SIGKILL and SIGSTOP, nor the signals that libc reserves: 32 and 33 (musl: also 34).
    let unblockable = [9, 19, 32, 33, 34].map(|signal| 1_u64 << (signal - 1));
    let mask = unblockable
        .iter()
        .fold(blocked, |mask, signal| mask | signal);
    assert_eq!(mask, u64::MAX, "{status}");

    // The mask of the thread that started the watcher is restored.
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    let own = own.lines().find_map(|it| it.strip_prefix("SigBlk:"));
    assert_eq!(own.unwrap().trim(), "0000000000000000");
    end(child);
}
