// Tests: tests/it/usage.rs, tests/it/wait.rs

//! `waitid` to peek and `wait4` to reap, for systems whose `waitid` returns no usage.

use std::mem::MaybeUninit;
use std::time::Duration;

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t, WNOHANG};
use nix::Result;

use super::{decode, id_of, retry};
use crate::exit::{Event, ResourceUsage};

/// `waitid(P_PID)`.
pub(super) fn waitid_by_pid(
    pid: pid_t,
    options: c_int,
    _usage: Option<&mut ResourceUsage>,
) -> Result<Event> {
    let id = id_of(pid)?;
    // Zeroed, because some systems leave it as it was when there is nothing to report.
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    retry(|| {
        // SAFETY: `info` is valid for writes for the whole call, which keeps no pointer to it.
        unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), options) }
    })?;
    Ok(decode(&info))
}

/// `wait4(pid, WNOHANG)`: reaps a child by PID.
pub(crate) fn reap_by_pid(pid: pid_t, usage: Option<&mut ResourceUsage>) -> Result<Event> {
    let mut status = 0;
    let mut raw = MaybeUninit::<libc::rusage>::zeroed();
    let reaped = wait4(pid, &mut status, usage.is_some().then_some(&mut raw))?;
    if reaped == 0 {
        return Ok(Event::Running);
    }
    if let Some(usage) = usage {
        // SAFETY: it was zeroed, and zeroes are valid for every field.
        let raw = unsafe { raw.assume_init_ref() };
        *usage = ResourceUsage {
            user_time: duration(raw.ru_utime),
            system_time: duration(raw.ru_stime),
            max_rss: count(raw.ru_maxrss).saturating_mul(MAX_RSS_UNIT),
            minor_faults: count(raw.ru_minflt),
            major_faults: count(raw.ru_majflt),
            block_reads: count(raw.ru_inblock),
            block_writes: count(raw.ru_oublock),
            voluntary_switches: count(raw.ru_nvcsw),
            involuntary_switches: count(raw.ru_nivcsw),
        };
    }
    Ok(Event::from_wait_status(status))
}

#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
fn wait4(
    pid: pid_t,
    status: &mut c_int,
    usage: Option<&mut MaybeUninit<libc::rusage>>,
) -> Result<pid_t> {
    let usage = usage.map_or(std::ptr::null_mut(), MaybeUninit::as_mut_ptr);
    retry(|| {
        // SAFETY: `status` and `usage`, unless that is null, are valid for writes for the whole call.
        unsafe { libc::wait4(pid, &mut *status, WNOHANG, usage) }
    })
}

/// There is no `wait4`. If the usage is requested: ENOSYS, and nothing is reaped.
#[cfg(any(target_os = "illumos", target_os = "solaris"))]
fn wait4(
    pid: pid_t,
    status: &mut c_int,
    usage: Option<&mut MaybeUninit<libc::rusage>>,
) -> Result<pid_t> {
    if usage.is_some() {
        return Err(Errno::ENOSYS);
    }
    retry(|| {
        // SAFETY: `status` is valid for writes for the whole call.
        unsafe { libc::waitpid(pid, &mut *status, WNOHANG) }
    })
}

/// `ru_maxrss` counts KiB, except where it counts bytes.
const MAX_RSS_UNIT: u64 = if cfg!(target_vendor = "apple") {
    1
} else {
    1024
};

fn duration(raw: libc::timeval) -> Duration {
    Duration::from_secs(count(raw.tv_sec)).saturating_add(Duration::from_micros(count(raw.tv_usec)))
}

fn count(raw: impl TryInto<u64>) -> u64 {
    raw.try_into().unwrap_or(0)
}
