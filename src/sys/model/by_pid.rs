//! Calls by PID.

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};
use nix::Result;

use super::kernel::{self, block_until, step, with, Fault};
use super::process::{Id, Life};
use super::ProcStat;
use crate::exit::{Event, ResourceUsage};

pub(crate) fn peek_by_pid(pid: pid_t) -> Result<Event> {
    step();
    if let Some(event) = with(|kernel| kernel.reaped_too_early(false)) {
        return Ok(event);
    }
    let id = with(|kernel| kernel.child(pid))?;
    step();
    with(|kernel| kernel.peek(id))
}

pub(crate) fn peek_usage_by_pid(pid: pid_t, _usage: &mut ResourceUsage) -> Result<Event> {
    peek_by_pid(pid)
}

pub(crate) fn block_by_pid(pid: pid_t) -> Result<Event> {
    step();
    let id = with(|kernel| kernel.child(pid))?;
    step();
    block_until(|kernel| {
        let found = match kernel.rules.fault {
            Some(Fault::ReapInBlockingPeek) => kernel.reap_too_early(id),
            _ => kernel.peek(id),
        };
        (found != Ok(Event::Running)).then_some(found)
    })
}

pub(crate) fn reap_by_pid(pid: pid_t, _usage: Option<&mut ResourceUsage>) -> Result<Event> {
    step();
    if let Some(event) = with(|kernel| kernel.reaped_too_early(true)) {
        return Ok(event);
    }
    let id = with(|kernel| kernel.child(pid))?;
    step();
    let found = with(|kernel| kernel.reap(id));
    end_of_reap(found, id)
}

/// The PID is free only when the call returns: other threads can run between the two steps.
pub(super) fn end_of_reap(found: Result<Event>, id: Id) -> Result<Event> {
    if let Ok(Event::Exited(_)) = found {
        step();
        with(|kernel| kernel.free_pid(id));
    }
    found
}

pub(crate) fn kill(pid: pid_t, signal: c_int) -> Result<()> {
    let send = move || {
        step();
        with(|kernel| kernel.deliver_by_pid(pid, signal))
    };
    if with(|kernel| kernel.rules.fault) == Some(Fault::SignalWithoutLock) {
        kernel::spawn(move || _ = send());
        return Ok(());
    }
    send()
}

/// Every process is the only member of its group.
pub(crate) fn kill_group(pid: pid_t, signal: c_int) -> Result<()> {
    kill(pid, signal)
}

pub(crate) fn group_of(pid: pid_t) -> Result<pid_t> {
    step();
    with(|kernel| kernel.owner(pid)).map(|_| pid)
}

pub(crate) fn proc_is_own() -> Result<bool> {
    Ok(with(|kernel| kernel.rules.procfs))
}

/// An open and a read: once it is open, the file belongs to that process only.
pub(crate) fn proc_stat(pid: pid_t) -> Result<ProcStat> {
    step();
    if proc_is_own() != Ok(true) {
        return Err(Errno::EACCES);
    }
    let id = with(|kernel| kernel.check_owner(pid))?;
    step();
    with(|kernel| match kernel.life(id) {
        Life::Reaped => Err(Errno::ESRCH),
        life => Ok(ProcStat {
            state: if life == Life::Running { b'S' } else { b'Z' },
            parent: kernel.parent(id),
            group: pid,
            threads: 1,
            start_time: kernel.start_time(id),
        }),
    })
}
