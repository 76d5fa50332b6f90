//! `wait_usage` and its units.

use std::process::{Child, Command};
use std::time::Duration;

use nix::libc::{self, ECHILD};
use nix::sys::time::{TimeVal, TimeValLike};
use pidwait::{PidHandle, ResourceUsage, Spawned};

#[cfg(target_os = "linux")]
use crate::common::usage_of_zombie;
use crate::common::{await_zombie, backends, blocked_on_stdin, errno, sh, while_asleep, zombie};

/// A script that uses a measurable amount of CPU time.
const BUSY: &str = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exit 3";

/// Asserts that every field agrees with the kernel's. A new zombie still runs for a moment before it
/// leaves its CPU, so times and switches may grow a little before the reap.
#[cfg(target_os = "linux")]
fn assert_same(usage: &ResourceUsage, raw: &libc::rusage) {
    let count = |value: libc::c_long| u64::try_from(value).unwrap();
    let time = |value: libc::timeval| {
        let micros = TimeVal::from(value).num_microseconds();
        Duration::from_micros(micros.unsigned_abs())
    };
    let slack = Duration::from_millis(50);
    for (actual, expected) in [
        (usage.user_time, time(raw.ru_utime)),
        (usage.system_time, time(raw.ru_stime)),
    ] {
        let difference = actual.max(expected) - actual.min(expected);
        assert!(difference <= slack, "{usage:?}, {expected:?}");
    }
    for (actual, expected) in [
        (usage.voluntary_switches, count(raw.ru_nvcsw)),
        (usage.involuntary_switches, count(raw.ru_nivcsw)),
    ] {
        assert!(actual.abs_diff(expected) <= 2, "{usage:?}, {expected}");
    }
    assert_eq!(usage.max_rss, count(raw.ru_maxrss) * 1024);
    assert_eq!(usage.minor_faults, count(raw.ru_minflt));
    assert_eq!(usage.major_faults, count(raw.ru_majflt));
    assert_eq!(usage.block_reads, count(raw.ru_inblock));
    assert_eq!(usage.block_writes, count(raw.ru_oublock));
}

/// Waits for a child that exits with code 3 and checks its usage.
#[cfg(target_os = "linux")]
fn check_usage(child: &Child, handle: &PidHandle) -> ResourceUsage {
    await_zombie(child.id());
    let raw = usage_of_zombie(child.id());
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &raw);
    usage
}

#[cfg(target_os = "linux")]
#[test]
fn wait_usage_returns_the_usage_of_busy_child() {
    for backend in backends() {
        let child = sh(BUSY);
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let usage = check_usage(&child, &handle);
        assert!(usage.user_time > Duration::ZERO, "{usage:?}");
        assert!(usage.minor_faults > 0, "{usage:?}");
        assert_eq!(errno(handle.wait_usage()), ECHILD);
        assert_eq!(handle.exit_status().unwrap().code(), Some(3));
    }
}

/// The child uses 32 MiB; a wrong unit would be off by a factor of 1024.
#[test]
fn max_rss_is_in_bytes() {
    const ALLOCATED: u64 = 32 << 20;
    for backend in backends() {
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=33554432", "count=1"]);
        let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (status, usage) = handle.wait_usage().unwrap();
        assert!(status.success());
        assert!(
            (ALLOCATED..100 * ALLOCATED).contains(&usage.max_rss),
            "{usage:?}"
        );
    }
}

#[test]
fn wait_usage_blocks_until_the_exit() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (status, usage) = while_asleep(|| handle.wait_usage(), || drop(stdin)).unwrap();
        assert_eq!(status.code(), Some(3));
        // The child slept in `read`.
        assert!(usage.voluntary_switches > 0, "{usage:?}");
        assert!(usage.max_rss > 4096, "{usage:?}");
    }
}

/// `Spawned::from` reaps the zombie, so it must also store the usage.
#[cfg(target_os = "linux")]
#[test]
fn wait_usage_of_zombie_reaped_at_conversion_returns_its_usage() {
    let child = zombie(BUSY);
    let raw = usage_of_zombie(child.id());
    let handle = Spawned::from(child).handle;
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &raw);
    assert!(usage.user_time > Duration::ZERO, "{usage:?}");
    assert_eq!(errno(handle.wait_usage()), ECHILD);
}

#[cfg(target_os = "linux")]
#[test]
fn wait_usage_of_child_converted_while_running_returns_its_usage() {
    let (child, stdin) = blocked_on_stdin();
    let pid = child.id();
    let handle = Spawned::from(child).handle;
    drop(stdin);
    await_zombie(pid);
    let raw = usage_of_zombie(pid);
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &raw);
}
