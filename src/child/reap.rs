//! Reaping through std's `Child`, and telling a status that it has just reaped from one that it
//! had before: no method of `Child` says which.

use std::io;
use std::process::{Child, ExitStatus};

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::backend::{Limit, Process};
use crate::exit::Event;
use crate::handle::{is_already_reaped, Kept, PidHandle};

/// The process that has the child's pid: the child, for as long as nobody has reaped it.
pub(crate) fn process_of(child: &Child) -> io::Result<Process> {
    let pid = pid_t::try_from(child.id()).map_err(|_| Errno::ECHILD)?;
    // The one way this fails: nobody has the pid, so the child was reaped.
    Process::of_child(pid).map_err(|_| Errno::ECHILD.into())
}

/// Every wait of `ChildExt`.
pub(super) fn reap(child: &mut Child, limit: Limit) -> io::Result<Option<ExitStatus>> {
    let process = process_of(child)?;
    if let Some(status) = first_try(child, &process)? {
        return Ok(Some(status));
    }
    if let Limit::Try = limit {
        return Ok(None);
    }
    // Now that std is known to have no status, whatever it gets is new.
    while process.look_until_reapable(limit)? {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

/// Reaps a child that has exited. ECHILD where it was reaped before, by std or anybody else.
pub(crate) fn first_try(child: &mut Child, process: &Process) -> io::Result<Option<ExitStatus>> {
    // ECHILD ends it here, before std could wait by a pid that is no child's.
    if process.look()? == Event::Trapped {
        // std would take the trace stop for an exit.
        return Ok(None);
    }
    let Some(status) = child.try_wait()? else {
        return Ok(None);
    };
    match process.look() {
        Err(Errno::ECHILD) => Ok(Some(status)),
        Err(errno) => Err(errno.into()),
        // Still there, so that was not the one reaped: the status is an old one, of a process
        // whose pid has a new owner.
        Ok(_) => Err(Errno::ECHILD.into()),
    }
}

/// Makes a handle of a child.
pub(super) fn take_over(mut child: Child) -> PidHandle {
    let pid = child.id();
    let Ok(process) = process_of(&child) else {
        return PidHandle::of_reaped(pid);
    };
    let usage = process.zombie_usage();
    let status = match first_try(&mut child, &process) {
        Ok(status) => status,
        Err(error) if is_already_reaped(&error) => return PidHandle::of_reaped(pid),
        // No answer to what is there; what std has reaped on the way, it gives again.
        Err(_) => child.try_wait().ok().flatten(),
    };
    match status {
        None => PidHandle::of_child(pid, process),
        Some(status) => PidHandle::of_kept(
            pid,
            Kept {
                process,
                status,
                usage,
            },
        ),
    }
}
