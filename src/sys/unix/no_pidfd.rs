// Tests: tests/it/support.rs

//! Stubs of the calls on pidfds, for Unix other than Linux.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};
use nix::Result;

use super::Pidfd;
use crate::exit::{Event, ResourceUsage};

pub(crate) const SIGNAL_PROCESS_GROUP: u32 = 0;
pub(crate) const INFO_EXIT: u64 = 0;

#[derive(Debug, Default)]
pub(crate) struct PidfdInfo {
    pub(crate) mask: u64,
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    pub(crate) exit_code: i32,
}

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

pub(crate) fn adopt(fd: OwnedFd) -> Pidfd {
    fd
}

pub(crate) fn is_thread_pidfd(_fd: &Pidfd) -> Result<bool> {
    Ok(false)
}

pub(crate) fn fdinfo(_fd: &Pidfd) -> io::Result<String> {
    Err(io::ErrorKind::Unsupported.into())
}
