// Tests: tests/it/wait.rs, tests/it/usage.rs, tests/syscalls.rs

//! Waiting: `waitid`, and `wait4` where `waitid` returns no resource usage.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "waitid.rs")]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "no_waitid_usage.rs"
)]
pub(super) mod waitid;

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc::{self, pid_t, WEXITED, WNOHANG, WNOWAIT};
use nix::Result;

use super::retry;
use crate::exit::{Event, ResourceUsage};

pub(crate) use waitid::reap_by_pid;

/// `waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)`: peeks at a child without reaping it.
pub(crate) fn peek_by_pid(pid: pid_t) -> Result<Event> {
    waitid::waitid_by_pid(pid, WEXITED | WNOHANG | WNOWAIT, None)
}

/// The same, with the usage of a zombie if [`PEEK_HAS_USAGE`].
pub(crate) fn peek_usage_by_pid(pid: pid_t, usage: &mut ResourceUsage) -> Result<Event> {
    waitid::waitid_by_pid(pid, WEXITED | WNOHANG | WNOWAIT, Some(usage))
}

/// Whether a peek returns the resource usage of a zombie.
pub(crate) const PEEK_HAS_USAGE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Like [`peek_by_pid`], but blocks until there is an exit or a trace stop.
pub(crate) fn block_by_pid(pid: pid_t) -> Result<Event> {
    waitid::waitid_by_pid(pid, WEXITED | WNOWAIT, None)
}

fn id_of(pid: pid_t) -> Result<libc::id_t> {
    libc::id_t::try_from(pid).map_err(|_| Errno::EINVAL)
}

fn decode(info: &MaybeUninit<libc::siginfo_t>) -> Event {
    // SAFETY: it was zeroed, and zeroes are valid for every field; a call may have filled it in.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: `si_status` is the field that `waitid` fills in, or still the zeroes.
    let status = unsafe { info.si_status() };
    Event::from_siginfo(info.si_signo, info.si_code, status)
}
