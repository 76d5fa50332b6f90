// Tests: tests/it/process_group/other_systems.rs

//! Stubs, for systems without a `/proc` like that of Linux.

use nix::errno::Errno;
use nix::libc::pid_t;
use nix::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcStat {
    pub(crate) state: u8,
    pub(crate) parent: pid_t,
    pub(crate) group: pid_t,
    pub(crate) threads: u64,
    pub(crate) start_time: u64,
}

pub(crate) fn proc_is_own() -> Result<bool> {
    Ok(false)
}

pub(crate) fn proc_stat(_pid: pid_t) -> Result<ProcStat> {
    Err(Errno::ENOSYS)
}

pub(crate) fn boot_id() -> Result<String> {
    Err(Errno::ENOSYS)
}
