//! The model kernel, which replaces `real` in the library's unit tests.
//!
//! It has the same functions on a kernel in memory, under shuttle's scheduler, which can try any order
//! in which threads may run. Every call is a *step*: other threads may run before it. A call that is
//! not atomic in a real kernel, because it looks up a process and then acts on it, is two steps. The
//! PID is looked up in the first step, and the second acts on that process even if the PID was reused
//! in between. What is not modelled comes from `real`.

mod by_pid;
mod by_pidfd;
mod checks;
mod faults;
mod fd;
mod files;
mod group_checks;
mod groups;
mod kernel;
mod oracle;
mod process;
mod processes;
mod run;
mod runs;
mod scenario;
mod schedules;
mod tests;
mod thread;

pub(crate) use super::real::*;

pub(crate) use by_pid::{
    block_by_pid, group_of, kill, kill_group, list_pids, peek_by_pid, peek_usage_by_pid,
    proc_is_own, proc_stat, reap_by_pid, NewPids,
};
pub(crate) use by_pidfd::{
    adopt, fdinfo, is_thread_pidfd, pidfd_info, pidfd_open, pidfd_send_signal, poll_reaped,
    waitid_pidfd, PidfdInfo, INFO_EXIT, SIGNAL_PROCESS_GROUP,
};
pub(crate) use fd::{is_readable, poll_readable, NotifyFd};
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use thread::{
    fork_number, is_forked_since, is_in_another_pid_namespace, now, sleep, spawn_thread,
};

pub(crate) type Pidfd = fd::Descriptor;

/// Nothing starts after a fork in the model.
pub(crate) fn own_start_time() -> nix::Result<u64> {
    Ok(u64::MAX)
}

pub(crate) fn start_times_have_offset() -> bool {
    false
}
