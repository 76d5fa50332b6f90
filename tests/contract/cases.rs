//! The cases that rows are about, each made anew. What is left of them ends with the process.

use std::os::unix::process::{parent_id, CommandExt};
use std::process::{Child, ChildStdin};

use pidwait::{Backend, PidHandle};

use crate::answer::NOT_HERE;
use crate::common;

/// No kernel gives out that pid.
pub(crate) fn missing() -> PidHandle {
    open(i32::MAX.unsigned_abs())
}

pub(crate) fn running() -> PidHandle {
    open(common::sleeper().id())
}

/// Exits with 3 and is a zombie already.
pub(crate) fn exited() -> PidHandle {
    open(common::zombie("exit 3").id())
}

/// Exits with 3, now or in a moment.
pub(crate) fn exiting() -> PidHandle {
    open(common::sh("exit 3").id())
}

pub(crate) fn done() -> PidHandle {
    let handle = exiting();
    handle.wait().expect("the first wait has the status");
    handle
}

pub(crate) fn released() -> PidHandle {
    let handle = running();
    handle.release().expect("release cannot fail");
    handle
}

/// Reaped by somebody else.
pub(crate) fn reaped_externally() -> PidHandle {
    let handle = exited();
    common::reap_externally(handle.id());
    handle
}

/// Exits with 3 once the second of the two is dropped.
pub(crate) fn waiting() -> (PidHandle, ChildStdin) {
    let (child, opener) = common::blocked_on_stdin();
    (open(child.id()), opener)
}

/// Exited while SIGCHLD was ignored: the kernel has thrown its status away.
pub(crate) fn discarded() -> PidHandle {
    let (handle, opener) = waiting();
    common::ignore_sigchld();
    drop(opener);
    common::await_gone(handle.id());
    common::restore_sigchld();
    handle
}

/// Runs, and is no child of ours.
pub(crate) fn non_child() -> PidHandle {
    open(parent_id())
}

/// Somebody else's child, which has exited and is not reaped.
pub(crate) fn zombie_of_another() -> PidHandle {
    let mut non_child = common::NonChild::new();
    non_child.let_exit_unreaped();
    open(non_child.pid)
}

pub(crate) fn stopped() -> PidHandle {
    let handle = running();
    common::stop(handle.id());
    handle
}

/// In a trace stop, and this thread is the tracer.
pub(crate) fn trace_stopped() -> Child {
    common::trace_stopped("exit 3")
}

/// Leads a process group of its own, and runs.
pub(crate) fn leader() -> PidHandle {
    let mut command = common::shell("exec sleep 600");
    open(command.process_group(0).spawn().expect("sh starts").id())
}

/// Does something while no descriptor is to be had.
pub(crate) fn without_descriptors<T>(call: impl FnOnce() -> T) -> T {
    common::limit_descriptors(0);
    let answer = call();
    common::limit_descriptors(256);
    answer
}

pub(crate) fn open(pid: u32) -> PidHandle {
    PidHandle::open(pid).expect("open")
}

/// Where the backend has an exit record, this kernel must have it too.
pub(crate) fn on_linux_6_15(handle: &PidHandle, observe: fn(&PidHandle) -> String) -> String {
    let backend = handle.backend();
    if backend == Backend::Pidfd && !common::has_exit_records(backend) {
        return NOT_HERE.to_owned();
    }
    observe(handle)
}
