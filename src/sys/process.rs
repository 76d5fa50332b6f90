// Tests: tests/it/signal.rs, tests/it/process_group.rs

//! Signals by PID, and privileges. The pidfd calls are in `pidfd.rs`.

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t};
use nix::Result;

/// `kill(pid, signal)`. Not nix's, whose `Signal` lacks the real-time signals.
///
/// To `kill`, a PID of 0 or below means a group or every process: EINVAL.
pub(crate) fn kill(pid: pid_t, signal: c_int) -> Result<()> {
    if pid <= 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: `kill` reads two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// `kill(-pid, signal)`: signals the process group that `pid` leads.
///
/// Group 1 cannot be signalled that way, because -1 means every process: ESRCH.
pub(crate) fn kill_group(pid: pid_t, signal: c_int) -> Result<()> {
    if pid <= 1 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: `kill` reads two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(-pid, signal) }).map(drop)
}

/// The process group of `pid`, `getpgid(pid)`. On macOS it fails with ESRCH for a zombie.
pub(crate) fn group_of(pid: pid_t) -> Result<pid_t> {
    // SAFETY: `getpgid` reads an integer and touches no memory of ours.
    Errno::result(unsafe { libc::getpgid(pid) })
}

/// Whether there is a signal with that number, or it is 0, which `kill` accepts as a check.
///
/// Not by `sigismember`, which accepts any number with musl.
pub(crate) fn is_signal(signal: c_int) -> bool {
    (0..=last_signal()).contains(&signal)
}

/// Whether this program runs with more privileges than its caller, such as a setuid program. Its
/// environment belongs to the caller then.
pub(crate) fn is_privileged() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: `getauxval` reads an integer and touches no memory of ours.
    let is_privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    // SAFETY: `issetugid` takes no arguments and touches no memory of ours.
    let is_privileged = unsafe { issetugid() } != 0;
    is_privileged
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
extern "C" {
    /// The crate `libc` lacks it for some systems.
    fn issetugid() -> c_int;
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn last_signal() -> c_int {
    libc::SIGRTMAX()
}

/// FreeBSD has real-time signals up to 126. The others have fewer signals.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn last_signal() -> c_int {
    if cfg!(target_os = "freebsd") {
        126
    } else if cfg!(target_os = "netbsd") {
        63
    } else if cfg!(target_os = "openbsd") {
        32
    } else {
        31
    }
}
