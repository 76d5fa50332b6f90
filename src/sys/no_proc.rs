// Tests: tests/it/process_group/other_systems.rs

//! Stubs, for systems without a `/proc` like that of Linux.

use std::ops::Range;

use nix::errno::Errno;
use nix::libc::pid_t;
use nix::Result;

use super::proc_types::{Given, ProcStat};

pub(crate) fn proc_is_own() -> Result<bool> {
    Ok(false)
}

pub(crate) fn proc_stat(_pid: pid_t) -> Result<ProcStat> {
    Err(Errno::ENOSYS)
}

pub(crate) fn own_start_time() -> Result<u64> {
    Err(Errno::ENOSYS)
}

pub(crate) fn start_times_have_offset() -> bool {
    false
}

pub(crate) fn boot_id() -> Result<String> {
    Err(Errno::ENOSYS)
}

pub(crate) const HAS_PROCFS: bool = false;

pub(crate) fn list_pids() -> Result<Vec<pid_t>> {
    Err(Errno::ENOSYS)
}

#[derive(Debug)]
pub(crate) struct NewPids(());

impl NewPids {
    pub(crate) fn from_now() -> Result<Self> {
        Err(Errno::ENOSYS)
    }

    pub(crate) fn before(&self, _number: pid_t) -> Range<pid_t> {
        0..0
    }

    pub(crate) fn take(&mut self) -> Result<Given> {
        Err(Errno::ENOSYS)
    }
}
