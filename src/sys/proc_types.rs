// Tests: src/sys/proc.rs

//! What `/proc` tells. Nothing makes these values on systems without one.

#![cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]

use std::ops::Range;

use nix::libc::pid_t;

/// Some fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcStat {
    /// `R`, `S`, …; `Z` or `X` once the main thread has exited.
    pub(crate) state: u8,
    pub(crate) parent: pid_t,
    pub(crate) group: pid_t,
    pub(crate) threads: u64,
    /// Clock ticks from the boot to the start of the process.
    pub(crate) start_time: u64,
}

impl ProcStat {
    /// Whether the whole process has exited. If only its main thread has, the state is the same, but
    /// there are other threads.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// The PIDs that were given out in some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// No PID was given out.
    None,
    /// Only these can have been given out.
    Few(Range<pid_t>),
    /// Too many to check each, or the numbers have wrapped around.
    Many,
}
