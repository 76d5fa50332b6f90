// Tests: tests/it/usage.rs, tests/it/wait.rs

//! The system call `waitid`, because libc's function lacks its fifth argument, the usage: Linux.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, pid_t, __WALL, WEXITED, WNOHANG};
use nix::Result;

use super::retry;
use super::wait::{decode, id_of};
use crate::exit::{Event, ResourceUsage};

/// Reaps a child by PID: `waitpid(pid, WNOHANG | __WALL)`, which is faster than `waitid`, or
/// `waitid` for the usage.
#[inline]
pub(crate) fn reap_by_pid(pid: pid_t, usage: Option<&mut ResourceUsage>) -> Result<Event> {
    if usage.is_some() {
        return waitid_by_pid(pid, WEXITED | WNOHANG, usage);
    }
    let mut status = 0;
    let reaped = retry(|| {
        // SAFETY: `status` is a local that is valid for writes for the whole call.
        unsafe { libc::waitpid(pid, &mut status, WNOHANG | __WALL) }
    })?;
    Ok(match reaped {
        0 => Event::Running,
        _ => Event::from_wait_status(status),
    })
}

/// `waitid(P_PID)`.
pub(super) fn waitid_by_pid(
    pid: pid_t,
    options: c_int,
    mut usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    /// `waitid` fails with EINVAL for `__WALL` before Linux 4.7.
    static NO_WALL: AtomicBool = AtomicBool::new(false);
    let id = id_of(pid)?;
    if !NO_WALL.load(Relaxed) {
        // A child whose exit signal is not SIGCHLD is only found with __WALL.
        match waitid(libc::P_PID, id, options | __WALL, usage.as_deref_mut()) {
            Err(Errno::EINVAL) => NO_WALL.store(true, Relaxed),
            found => return found,
        }
    }
    waitid(libc::P_PID, id, options, usage)
}

pub(super) fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: c_int,
    usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let info_ptr = info.as_mut_ptr();
    let Some(usage) = usage else {
        let none = std::ptr::null_mut::<Rusage>();
        retry(|| {
            // SAFETY: `info` is a local that is valid for writes for the whole call, and the
            // call accepts a null pointer for the usage.
            unsafe { libc::syscall(libc::SYS_waitid, kind, id, info_ptr, options, none) }
        })?;
        return Ok(decode(&info));
    };
    let mut raw = Rusage::default();
    retry(|| {
        // SAFETY: both pointers are to locals that are valid for writes for the whole call,
        // and `Rusage` has the kernel's layout.
        unsafe { libc::syscall(libc::SYS_waitid, kind, id, info_ptr, options, &mut raw) }
    })?;
    let event = decode(&info);
    if let Event::Exited(_) = event {
        *usage = raw.into();
    }
    Ok(event)
}

/// `struct rusage` as the kernel writes it: longs only. libc's differs from it on 32-bit
/// targets with a 64-bit `time_t`.
#[repr(C)]
#[derive(Default)]
struct Rusage {
    user_time: [c_long; 2],
    system_time: [c_long; 2],
    max_rss: c_long,
    _unused_sizes: [c_long; 3],
    minor_faults: c_long,
    major_faults: c_long,
    _swaps: c_long,
    block_reads: c_long,
    block_writes: c_long,
    _unused_counts: [c_long; 3],
    voluntary_switches: c_long,
    involuntary_switches: c_long,
}

impl From<Rusage> for ResourceUsage {
    fn from(raw: Rusage) -> Self {
        Self {
            user_time: duration(raw.user_time),
            system_time: duration(raw.system_time),
            max_rss: count(raw.max_rss).saturating_mul(1024),
            minor_faults: count(raw.minor_faults),
            major_faults: count(raw.major_faults),
            block_reads: count(raw.block_reads),
            block_writes: count(raw.block_writes),
            voluntary_switches: count(raw.voluntary_switches),
            involuntary_switches: count(raw.involuntary_switches),
        }
    }
}

fn duration([seconds, microseconds]: [c_long; 2]) -> Duration {
    Duration::from_secs(count(seconds)).saturating_add(Duration::from_micros(count(microseconds)))
}

fn count(raw: c_long) -> u64 {
    u64::try_from(raw).unwrap_or(0)
}
