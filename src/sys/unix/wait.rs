//! Waiting: `waitid`, and `wait4` where `waitid` returns no resource usage.

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc::{self, c_int, pid_t, WEXITED, WNOHANG, WNOWAIT};
use nix::Result;

use super::retry;
use crate::exit::{Event, ResourceUsage};

pub(crate) use with_usage::reap_by_pid;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use with_usage::waitid;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use without_usage as with_usage;

/// `waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)`: peeks at a child without reaping it.
pub(crate) fn peek_by_pid(pid: pid_t) -> Result<Event> {
    with_usage::peek(pid, WEXITED | WNOHANG | WNOWAIT, None)
}

/// The same, with the usage of a zombie where [`PEEK_HAS_USAGE`].
pub(crate) fn peek_usage_by_pid(pid: pid_t, usage: &mut ResourceUsage) -> Result<Event> {
    with_usage::peek(pid, WEXITED | WNOHANG | WNOWAIT, Some(usage))
}

/// Whether a peek returns the resource usage of a zombie.
pub(crate) const PEEK_HAS_USAGE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The same as [`peek_by_pid`], and blocks until there is an exit or a trace stop.
pub(crate) fn block_by_pid(pid: pid_t) -> Result<Event> {
    with_usage::peek(pid, WEXITED | WNOWAIT, None)
}

fn id_of(pid: pid_t) -> Result<libc::id_t> {
    libc::id_t::try_from(pid).map_err(|_| Errno::EINVAL)
}

fn decode(info: &MaybeUninit<libc::siginfo_t>) -> Event {
    // SAFETY: it was zeroed, and zeroes are valid for every field; a call may have filled it in.
    let info = unsafe { info.assume_init_ref() };
    // SAFETY: `si_status` is the field that `waitid` fills in, or still the zeroes.
    let status = unsafe { info.si_status() };
    Event::from_siginfo(info.si_signo, info.si_code, status)
}

/// Linux: the system call itself, whose fifth argument libc's function lacks.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod with_usage {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Duration;

    use nix::libc::{c_long, __WALL};

    use super::*;

    pub(super) fn peek(
        pid: pid_t,
        options: c_int,
        usage: Option<&mut ResourceUsage>,
    ) -> Result<Event> {
        waitid_by_pid(pid, options, usage)
    }

    /// Reaps a child by PID: `waitpid(pid, WNOHANG | __WALL)`, which is faster than `waitid`, or
    /// `waitid` for the usage.
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

    fn waitid_by_pid(
        pid: pid_t,
        options: c_int,
        mut usage: Option<&mut ResourceUsage>,
    ) -> Result<Event> {
        /// `waitid` refuses `__WALL` before Linux 4.7.
        static NO_WALL: AtomicBool = AtomicBool::new(false);
        let id = super::id_of(pid)?;
        if !NO_WALL.load(Relaxed) {
            // A child whose exit signal is not SIGCHLD is only found with __WALL.
            match waitid(libc::P_PID, id, options | __WALL, usage.as_deref_mut()) {
                Err(Errno::EINVAL) => NO_WALL.store(true, Relaxed),
                found => return found,
            }
        }
        waitid(libc::P_PID, id, options, usage)
    }

    pub(in super::super) fn waitid(
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
        Duration::from_secs(count(seconds))
            .saturating_add(Duration::from_micros(count(microseconds)))
    }

    fn count(raw: c_long) -> u64 {
        u64::try_from(raw).unwrap_or(0)
    }
}

/// Other systems: `waitid` to peek and `wait4` to reap.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod without_usage {
    #[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
    use std::ptr::null_mut;
    use std::time::Duration;

    use super::*;

    pub(super) fn peek(
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
        let usage = usage.map_or(null_mut(), MaybeUninit::as_mut_ptr);
        retry(|| {
            // SAFETY: `status` and `usage`, unless that is null, are valid for writes for the whole
            // call.
            unsafe { libc::wait4(pid, &mut *status, WNOHANG, usage) }
        })
    }

    /// There is no `wait4`. If the usage is asked for: ENOSYS, and nothing is reaped.
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
        Duration::from_secs(count(raw.tv_sec))
            .saturating_add(Duration::from_micros(count(raw.tv_usec)))
    }

    fn count(raw: impl TryInto<u64>) -> u64 {
        raw.try_into().unwrap_or(0)
    }
}
