//! Calls by PID.

use std::ops::Range;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};
use nix::Result;

use super::kernel::{self, block_until, step, with, Fault, Kernel, Rules};
use super::process::{Id, Life};
use super::{Given, ProcStat};
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
            Some(Fault::ReapInBlockingPeek | Fault::ReapWithoutLock) => kernel.reap_too_early(id),
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
    send(move |kernel| kernel.deliver_by_pid(pid, signal))
}

pub(crate) fn kill_group(pid: pid_t, signal: c_int) -> Result<()> {
    send(move |kernel| kernel.deliver_by_group_number(pid, signal))
}

fn send(deliver: impl FnOnce(&mut Kernel) -> Result<()> + Send + 'static) -> Result<()> {
    let send = move || {
        step();
        with(deliver)
    };
    if with(|kernel| kernel.rules.fault) == Some(Fault::SignalWithoutLock) {
        kernel::spawn(move || _ = send());
        return Ok(());
    }
    send()
}

pub(crate) fn group_of(pid: pid_t) -> Result<pid_t> {
    // A scan asks for many PIDs that no process has.
    with(|kernel| kernel.owner(pid))?;
    step();
    with(|kernel| kernel.owner(pid).map(|id| kernel.group_number(id)))
}

/// Not a snapshot: other threads run while it is read, and a process that is started meanwhile may be
/// missed.
pub(crate) fn list_pids() -> Result<Vec<pid_t>> {
    if !with(|kernel| kernel.rules.procfs) {
        return Err(Errno::ENOENT);
    }
    let mut pids = Vec::new();
    let mut last = 0;
    loop {
        step();
        match with(|kernel| kernel.next_pid(last)) {
            Some(pid) => pids.push(pid),
            None => return Ok(pids),
        }
        last = pids[pids.len() - 1];
    }
}

/// The newest PID comes from `/proc/loadavg`, or from a thread that is started for it.
#[derive(Debug)]
pub(crate) struct NewPids {
    last: pid_t,
}

impl NewPids {
    pub(crate) fn from_now() -> Result<Self> {
        let (last, _) = newest_pid()?;
        Ok(Self { last })
    }

    pub(crate) fn before(&self, number: pid_t) -> Range<pid_t> {
        (self.last + 1 - number).max(1)..self.last + 1
    }

    pub(crate) fn take(&mut self) -> Result<Given> {
        const FEW: pid_t = 3;
        let (newest, is_ours) = newest_pid()?;
        let given = self.last + 1..newest + pid_t::from(!is_ours);
        self.last = newest;
        Ok(match given.end - given.start {
            0 => Given::None,
            1..=FEW => Given::Few(given),
            _ => Given::Many,
        })
    }
}

/// The newest PID, and whether it is that of a thread that was started for it.
fn newest_pid() -> Result<(pid_t, bool)> {
    step();
    with(|kernel| match kernel.rules {
        Rules { loadavg: true, .. } => Ok((kernel.newest_pid, false)),
        Rules {
            no_threads: true, ..
        } => Err(Errno::EAGAIN),
        _ => Ok((kernel.new_pid(), true)),
    })
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
            group: kernel.group_number(id),
            threads: 1,
            start_time: kernel.start_time(id),
        }),
    })
}
