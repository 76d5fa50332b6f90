//! The cases of the rows. Each row sets up a new one. Processes that a row leaves behind end with the
//! test's process.

use std::io;
use std::os::unix::process::{parent_id, CommandExt};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc;
use std::thread;

#[cfg(target_os = "linux")]
use nix::unistd::gettid;
use pidwait::PidHandle;

use crate::common;
use crate::outcome::Describe;

/// A handle for a PID that no kernel assigns.
pub(crate) fn missing() -> PidHandle {
    open(i32::MAX.unsigned_abs())
}

/// A running child.
pub(crate) fn running() -> PidHandle {
    open(common::sleeper().id())
}

/// A zombie that exited with 3.
pub(crate) fn exited() -> PidHandle {
    open(common::zombie("exit 3").id())
}

/// A child that is about to exit with 3, or already has.
pub(crate) fn exiting() -> PidHandle {
    open(common::sh("exit 3").id())
}

/// A handle whose wait has returned exit code 3.
pub(crate) fn done() -> PidHandle {
    let handle = exiting();
    handle.wait().expect("the first wait returns the status");
    handle
}

/// A released handle for a running child.
pub(crate) fn released() -> PidHandle {
    let handle = running();
    handle.release().expect("release cannot fail");
    handle
}

/// A child that other code has reaped.
pub(crate) fn reaped_externally() -> PidHandle {
    let handle = exited();
    common::reap_externally(handle.id());
    handle
}

/// A child that exits with 3 when the returned stdin is dropped.
pub(crate) fn until_stdin_closes() -> (PidHandle, ChildStdin) {
    let (child, stdin) = common::blocked_on_stdin();
    (open(child.id()), stdin)
}

/// A child that exited while SIGCHLD was ignored, so that the kernel discarded its status.
pub(crate) fn status_discarded() -> PidHandle {
    let (handle, stdin) = until_stdin_closes();
    common::ignore_sigchld();
    drop(stdin);
    common::await_gone(handle.id());
    common::restore_sigchld();
    handle
}

/// A running process that is not a child of this one.
pub(crate) fn non_child() -> PidHandle {
    open(parent_id())
}

/// A zombie that is not a child of this process.
pub(crate) fn non_child_zombie() -> PidHandle {
    let mut non_child = common::NonChild::new();
    non_child.let_exit_unreaped();
    open(non_child.pid)
}

/// A child stopped by SIGSTOP.
pub(crate) fn stopped() -> PidHandle {
    let handle = running();
    common::stop(handle.id());
    handle
}

/// A handle for a non-child that has exited with 7, and was reaped by its parent.
pub(crate) fn non_child_reaped() -> PidHandle {
    let mut non_child = common::NonChild::new();
    let handle = open(non_child.pid);
    assert_eq!(non_child.finish(), Some(7));
    handle
}

/// A child that other code has killed and reaped.
pub(crate) fn killed_and_reaped() -> PidHandle {
    let mut child = common::sleeper();
    let handle = open(child.id());
    child.kill().expect("it runs");
    child.wait().expect("std's wait");
    handle
}

/// A script that exits with 3 on SIGTERM. Not by `read`, which can miss a signal that arrives just before
/// it blocks.
const HANDLES_SIGTERM: &str = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";

/// A child that exits with 3 on SIGTERM.
pub(crate) fn handling_sigterm() -> Child {
    common::ready(HANDLES_SIGTERM)
}

/// The same, stopped.
pub(crate) fn handling_sigterm_stopped() -> Child {
    let child = handling_sigterm();
    common::stop(child.id());
    child
}

/// A child in a trace stop. The calling thread is its tracer.
#[cfg(target_os = "linux")]
pub(crate) fn trace_stopped() -> Child {
    common::trace_stopped("exit 3")
}

/// A running child that leads its own process group.
pub(crate) fn leader() -> PidHandle {
    open(lead(&mut common::shell("exec sleep 600")).id())
}

/// A zombie that exited with 3 and leads its own process group.
pub(crate) fn leader_zombie() -> PidHandle {
    leader_zombie_of("exit 3")
}

/// The same, with a running member. `before` runs in the shell that starts it.
pub(crate) fn leader_zombie_with_member(before: &str) -> PidHandle {
    leader_zombie_of(&format!("{before}sleep 600 & exit 3"))
}

fn leader_zombie_of(script: &str) -> PidHandle {
    let child = lead(&mut common::shell(script));
    common::await_zombie(child.id());
    open(child.id())
}

/// Spawns a command as the leader of a group.
pub(crate) fn lead(command: &mut Command) -> Child {
    command.process_group(0).spawn().expect("sh starts")
}

/// Calls `call` while the process has no file descriptor left.
pub(crate) fn without_descriptors<T>(call: impl FnOnce() -> T) -> T {
    common::limit_descriptors(0);
    let result = call();
    common::limit_descriptors(256);
    result
}

/// Calls `call` with the ID of a thread that is no process.
#[cfg(target_os = "linux")]
pub(crate) fn with_thread_id(call: impl FnOnce(u32) -> String) -> String {
    let (end, until_end) = mpsc::channel::<()>();
    let (send_tid, tid) = mpsc::channel();
    thread::spawn(move || {
        send_tid.send(gettid().as_raw()).expect("the test receives");
        until_end.recv()
    });
    let outcome = call(tid.recv().expect("a thread ID").unsigned_abs());
    drop(end);
    outcome
}

pub(crate) fn open(pid: u32) -> PidHandle {
    PidHandle::open(pid).expect("open")
}

/// What `signal` returns for numbers that are no signals on any system, and for the one after the last
/// signal. Consecutive equal results appear once.
pub(crate) fn unknown_signals(signal: impl Fn(i32) -> io::Result<()>) -> String {
    let unknown = [
        -1,
        65_000,
        1 << 20,
        i32::MAX,
        i32::MIN,
        common::last_signal() + 1,
    ];
    let mut outcomes: Vec<_> = unknown
        .into_iter()
        .map(|it| signal(it).describe())
        .collect();
    outcomes.dedup();
    outcomes.join(", ")
}

/// "still running", "still stopped", "still a zombie" or "gone".
pub(crate) fn state(pid: u32) -> String {
    match common::state_of(pid) {
        Some('T') => "still stopped",
        Some('Z') => "still a zombie",
        Some(_) => "still running",
        None => "gone",
    }
    .to_owned()
}
