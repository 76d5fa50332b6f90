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

pub(crate) const HAS_PROCFS: bool = false;

#[derive(Clone, Copy, Debug)]
pub(crate) struct NewestPid {
    pub(crate) pid: pid_t,
}

impl NewestPid {
    pub(crate) fn others_since(self, before: Self) -> pid_t {
        self.pid.wrapping_sub(before.pid)
    }
}

pub(crate) fn newest_pid() -> Result<NewestPid> {
    Err(Errno::ENOSYS)
}

pub(crate) fn list_pids() -> Result<Vec<pid_t>> {
    Err(Errno::ENOSYS)
}
