//! The calls on pidfds where the system has none: Unix other than Linux.

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};
use nix::Result;

use super::{Pidfd, PidfdInfo};
use crate::exit::{Event, ResourceUsage};

pub(crate) fn pidfd_open(_pid: pid_t) -> Result<Pidfd> {
    Err(Errno::ENOSYS)
}

pub(crate) fn pidfd_send_signal(_fd: &Pidfd, _signal: c_int, _flags: u32) -> Result<()> {
    Err(Errno::ENOSYS)
}

pub(crate) fn waitid_pidfd(
    _fd: &Pidfd,
    _options: c_int,
    _usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    Err(Errno::ENOSYS)
}

pub(crate) fn pidfd_info(_fd: &Pidfd, _wanted: u64) -> Result<PidfdInfo> {
    Err(Errno::ENOSYS)
}

pub(crate) fn usage_by_pid(_pid: pid_t) -> Option<ResourceUsage> {
    None
}
