//! Calls by pidfd.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, WNOHANG, WNOWAIT};
use nix::Result;

use super::by_pid::end_of_reap;
use super::fd::Descriptor;
use super::files::File;
use super::kernel::{block_until, step, with};
use super::process::Life;
use super::Pidfd;
use crate::exit::{Event, ResourceUsage};

// Not those of `real`, which are 0 on systems without pidfds.
pub(crate) const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
pub(crate) const INFO_EXIT: u64 = 1 << 3;

#[derive(Debug, Default)]
pub(crate) struct PidfdInfo {
    pub(crate) mask: u64,
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    pub(crate) exit_code: i32,
}

pub(crate) fn pidfd_open(pid: pid_t) -> Result<Pidfd> {
    step();
    let id = with(|kernel| kernel.owner(pid))?;
    step();
    // If it was reaped in between, the kernel treats the PID as the ID of a thread.
    match with(|kernel| kernel.life(id)) {
        Life::Reaped => Err(Errno::EINVAL),
        Life::Running | Life::Zombie | Life::Dead => Descriptor::open(File::Pidfd(id)),
    }
}

pub(crate) fn pidfd_send_signal(fd: &Pidfd, signal: c_int, flags: u32) -> Result<()> {
    step();
    if flags != 0 && !with(|kernel| kernel.rules.group_signals) {
        return Err(Errno::EINVAL);
    }
    let id = fd.process();
    if flags != 0 {
        return with(|kernel| kernel.deliver_to_group(id, signal));
    }
    with(|kernel| match kernel.life(id) {
        Life::Reaped => Err(Errno::ESRCH),
        Life::Running | Life::Zombie | Life::Dead => {
            kernel.note_check(id);
            kernel.deliver(id, signal);
            Ok(())
        }
    })
}

pub(crate) fn waitid_pidfd(
    fd: &Pidfd,
    options: c_int,
    _usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    step();
    let id = fd.process();
    step();
    let reaps = options & WNOWAIT == 0;
    if let Some(event) = with(|kernel| kernel.reaped_too_early(reaps)) {
        return Ok(event);
    }
    let found = block_until(|kernel| {
        let found = match reaps {
            true => kernel.reap(id),
            false => kernel.peek(id),
        };
        (found != Ok(Event::Running) || options & WNOHANG != 0).then_some(found)
    });
    match reaps {
        true => end_of_reap(found, id),
        false => found,
    }
}

pub(crate) fn pidfd_info(fd: &Pidfd, wanted: u64) -> Result<PidfdInfo> {
    step();
    let id = fd.process();
    with(|kernel| match kernel.life(id) {
        Life::Running | Life::Zombie | Life::Dead => Ok(PidfdInfo {
            tgid: kernel.pid(id).unsigned_abs(),
            ppid: kernel.parent(id).unsigned_abs(),
            ..PidfdInfo::default()
        }),
        Life::Reaped if kernel.rules.exit_records && wanted & INFO_EXIT != 0 => Ok(PidfdInfo {
            mask: INFO_EXIT,
            exit_code: kernel.status(id).into_raw(),
            ..PidfdInfo::default()
        }),
        Life::Reaped => Err(Errno::ESRCH),
    })
}

/// Ignores the deadline: a real kernel is done long before it.
pub(crate) fn poll_reaped(fd: &Pidfd, _deadline: Option<Instant>) -> Result<()> {
    let id = fd.process();
    while with(|kernel| kernel.life(id)) != Life::Reaped {
        step();
    }
    Ok(())
}

pub(crate) fn adopt(fd: OwnedFd) -> Pidfd {
    Descriptor::adopt(fd)
}

pub(crate) fn is_thread_pidfd(_fd: &Pidfd) -> Result<bool> {
    Ok(false)
}

pub(crate) fn fdinfo(_fd: &Pidfd) -> io::Result<String> {
    Err(io::ErrorKind::Unsupported.into())
}
