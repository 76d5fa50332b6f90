// Tests: tests/it/usage.rs, tests/it/signal.rs, tests/contract/handle.rs

//! How a process ended: plain data, decoded from what the kernel returns.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc::{self, c_int};

/// What a wait or a peek found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It runs, or it is stopped.
    Running,
    /// It is in a trace stop, and this process traces it. `waitid` reports that, but it is not an
    /// exit.
    Trapped,
    /// It has exited.
    Exited(ExitStatus),
}

impl Event {
    /// Decodes what `waitid` filled in: `si_signo`, `si_code` and `si_status`.
    ///
    /// Not through nix: its `waitid` reaps a child that a real-time signal has killed and then fails
    /// with EINVAL, which loses the status.
    pub(crate) fn from_siginfo(signo: c_int, code: c_int, status: c_int) -> Self {
        match code {
            // There is nothing to report.
            _ if signo != libc::SIGCHLD => Event::Running,
            libc::CLD_EXITED => Event::Exited(ExitStatus::from_raw((status & 0xff) << 8)),
            libc::CLD_KILLED => Event::Exited(ExitStatus::from_raw(status & 0x7f)),
            libc::CLD_DUMPED => Event::Exited(ExitStatus::from_raw(status & 0x7f | 0x80)),
            _ => Event::Trapped,
        }
    }

    /// Decodes a wait status, as `wait4` returns it and the kernel's exit record holds it.
    pub(crate) fn from_wait_status(raw: c_int) -> Self {
        if libc::WIFEXITED(raw) || libc::WIFSIGNALED(raw) {
            Event::Exited(ExitStatus::from_raw(raw))
        } else {
            Event::Trapped
        }
    }

    pub(crate) fn exited(self) -> Option<ExitStatus> {
        match self {
            Event::Exited(status) => Some(status),
            Event::Running | Event::Trapped => None,
        }
    }
}

/// The resources that a process, and the children that it waited for, have used.
///
/// Returned by [`PidHandle::wait_usage`]. The fields are those of [getrusage(2)] that Linux fills in.
///
/// [`PidHandle::wait_usage`]: crate::PidHandle::wait_usage
/// [getrusage(2)]: https://man7.org/linux/man-pages/man2/getrusage.2.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ResourceUsage {
    /// CPU time spent in user mode (`ru_utime`), to the microsecond.
    pub user_time: Duration,
    /// CPU time spent in the kernel (`ru_stime`), to the microsecond.
    pub system_time: Duration,
    /// The largest resident set size (`ru_maxrss`), in **bytes** on every platform. If the process had
    /// children, that of the largest single process. On Linux it starts at the peak of the process that
    /// spawned it.
    pub max_rss: u64,
    /// Page faults served without I/O (`ru_minflt`).
    pub minor_faults: u64,
    /// Page faults that needed I/O (`ru_majflt`).
    pub major_faults: u64,
    /// How often the file system had to read (`ru_inblock`), in blocks of 512 bytes on Linux.
    pub block_reads: u64,
    /// How often the file system had to write (`ru_oublock`), in blocks of 512 bytes on Linux.
    pub block_writes: u64,
    /// How often it gave up the CPU before its time slice ended, mostly to wait (`ru_nvcsw`).
    pub voluntary_switches: u64,
    /// How often it was preempted (`ru_nivcsw`).
    pub involuntary_switches: u64,
}
