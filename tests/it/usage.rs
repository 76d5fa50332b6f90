//! wait_usage and its units.

use std::process::{Child, Command};
use std::time::Duration;

use nix::libc::{self, ECHILD, EINVAL};
use pidwait::{PidHandle, ResourceUsage};

use crate::common::{
    await_zombie, backends, blocked_on_stdin, errno, reap_externally, sh, usage_of_zombie,
    while_asleep, zombie,
};

/// Busy enough for the clock to see, and to a good end.
const BUSY: &str = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; exit 3";

/// Field by field. A zombie takes a last moment on its CPU to be off it for good, so times and
/// switches may be a little more by the time it is reaped.
fn assert_same(usage: &ResourceUsage, bare: &libc::rusage) {
    let count = |raw: libc::c_long| u64::try_from(raw).unwrap();
    let time = |raw: libc::timeval| {
        Duration::from_secs(raw.tv_sec.unsigned_abs())
            + Duration::from_micros(raw.tv_usec.unsigned_abs())
    };
    let slack = Duration::from_millis(50);
    for (ours, theirs) in [
        (usage.user_time, time(bare.ru_utime)),
        (usage.system_time, time(bare.ru_stime)),
    ] {
        let between = ours.max(theirs) - ours.min(theirs);
        assert!(between <= slack, "{usage:?}, {theirs:?}");
    }
    for (ours, theirs) in [
        (usage.voluntary_switches, count(bare.ru_nvcsw)),
        (usage.involuntary_switches, count(bare.ru_nivcsw)),
    ] {
        assert!(ours.abs_diff(theirs) <= 2, "{usage:?}, {theirs}");
    }
    assert_eq!(usage.max_rss, count(bare.ru_maxrss) * 1024);
    assert_eq!(usage.minor_faults, count(bare.ru_minflt));
    assert_eq!(usage.major_faults, count(bare.ru_majflt));
    assert_eq!(usage.block_reads, count(bare.ru_inblock));
    assert_eq!(usage.block_writes, count(bare.ru_oublock));
}

fn waited(child: &Child, handle: &PidHandle) -> ResourceUsage {
    await_zombie(child.id());
    let bare = usage_of_zombie(child.id());
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &bare);
    usage
}

#[test]
fn of_a_busy_child() {
    for backend in backends() {
        let child = sh(BUSY);
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let usage = waited(&child, &handle);
        assert!(usage.user_time > Duration::ZERO, "{usage:?}");
        assert!(usage.minor_faults > 0, "{usage:?}");
        assert_eq!(errno(handle.wait_usage()), ECHILD);
        assert_eq!(handle.exit_status().unwrap().code(), Some(3));
    }
}

/// In bytes: 32 MiB at once, and not the thousandfold.
#[test]
fn of_one_that_takes_much_memory() {
    const TAKEN: u64 = 32 << 20;
    for backend in backends() {
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=33554432", "count=1"]);
        let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (status, usage) = handle.wait_usage().unwrap();
        assert!(status.success());
        assert!((TAKEN..100 * TAKEN).contains(&usage.max_rss), "{usage:?}");
    }
}

/// Waits with a handle for a child still running: both ways to wait bring the usage.
#[test]
fn of_one_that_is_waited_for() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (status, usage) = while_asleep(|| handle.wait_usage(), || drop(stdin)).unwrap();
        assert_eq!(status.code(), Some(3));
        // It slept in between, and was all there.
        assert!(usage.voluntary_switches > 0, "{usage:?}");
        assert!(usage.max_rss > 4096, "{usage:?}");
    }
}

/// To make the handle it had to be reaped, and its usage looked up before.
#[test]
fn of_a_handle_made_of_a_zombie() {
    let child = zombie(BUSY);
    let bare = usage_of_zombie(child.id());
    let handle = PidHandle::from(child);
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &bare);
    assert!(usage.user_time > Duration::ZERO, "{usage:?}");
    assert_eq!(errno(handle.wait_usage()), ECHILD);
}

#[test]
fn of_a_child_made_a_handle_while_it_ran() {
    let (child, stdin) = blocked_on_stdin();
    let pid = child.id();
    let handle = PidHandle::from(child);
    drop(stdin);
    await_zombie(pid);
    let bare = usage_of_zombie(pid);
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(3));
    assert_same(&usage, &bare);
}

#[test]
fn none_of_what_cannot_be_waited_for() {
    for backend in backends() {
        let me = PidHandle::open_with(std::process::id(), backend).unwrap();
        assert_eq!(errno(me.wait_usage()), ECHILD);
        me.release().unwrap();
        assert_eq!(errno(me.wait_usage()), EINVAL);

        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        reap_externally(child.id());
        assert_eq!(errno(handle.wait_usage()), ECHILD);
    }
}
