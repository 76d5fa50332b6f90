//! Shared by the test binaries: child processes to test with, and raw system calls, so that no test
//! relies on the code that it tests.

#![allow(dead_code)] // No binary uses all of it.
#![allow(unsafe_code)] // Raw system calls give the expected results.
#![allow(unused_imports)]

mod blocked;
mod children;
mod cpu;
mod descriptors;
#[cfg(target_os = "linux")]
mod fork;
#[cfg(target_os = "linux")]
pub(crate) mod interpose;
pub(crate) mod isolated;
mod non_child;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
pub(crate) mod pid_namespace;
#[cfg(target_os = "linux")]
pub(crate) mod preload;
mod process;
#[cfg(target_os = "linux")]
pub(crate) mod seccomp;
mod signals;
pub(crate) mod smoke;
#[cfg(target_os = "linux")]
mod trace;
mod wait;

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::thread;

use nix::libc;
use pidwait::{Backend, PidHandle};

pub(crate) use {
    blocked::*, children::*, cpu::*, descriptors::*, non_child::*, process::*, signals::*, wait::*,
};

#[cfg(not(target_os = "linux"))]
pub(crate) use other::*;
#[cfg(target_os = "linux")]
pub(crate) use {fork::*, trace::*};

/// Returns the backends to test: the one in PIDWAIT_BACKEND, or all that this system supports.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = all_backends();
    if let Ok(requested) = std::env::var("PIDWAIT_BACKEND") {
        backends.retain(|backend| requested.is_empty() || backend.to_string() == requested);
        assert!(
            !backends.is_empty(),
            "PIDWAIT_BACKEND={requested} is not supported here"
        );
    }
    backends
}

/// Returns all backends that this system supports, even if PIDWAIT_BACKEND names one.
pub(crate) fn all_backends() -> Vec<Backend> {
    if pidfds_supported() {
        vec![Backend::Pidfd, Backend::Waitpid]
    } else {
        vec![Backend::Waitpid]
    }
}

/// Returns whether this system supports pidfds. If not, prints that the pidfd part of the test is
/// skipped.
pub(crate) fn pidfds_supported() -> bool {
    let tried = PidHandle::open_with(std::process::id(), Backend::Pidfd);
    if let Err(error) = &tried {
        skip(&format!("the pidfd part: {error}"));
    }
    tried.is_ok()
}

/// Returns whether a handle of this backend can read the exit status of a process that it did not
/// reap itself.
pub(crate) fn has_exit_records(backend: Backend) -> bool {
    static SUPPORTED: OnceLock<bool> = OnceLock::new();
    backend == Backend::Pidfd && *SUPPORTED.get_or_init(probe_exit_records)
}

#[cfg(not(target_os = "linux"))]
fn probe_exit_records() -> bool {
    false
}

/// Returns whether this kernel keeps the exit status of a reaped process for its pidfds (Linux
/// 6.15). Probes with a raw `PIDFD_GET_INFO` and `PIDFD_INFO_EXIT` for a reaped child.
#[cfg(target_os = "linux")]
fn probe_exit_records() -> bool {
    const GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;
    const INFO_EXIT: u64 = 1 << 3;
    let child = zombie("exit 3");
    let fd = pidfd_open(child.id(), 0).expect("pidfds are supported");
    reap_externally(child.id());
    let mut info = [0_u64; 8];
    info[0] = INFO_EXIT;
    // SAFETY: the request number encodes a size of 64 bytes, which is the size of `info`.
    let got = unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO, info.as_mut_ptr()) };
    let supported = got == 0 && info[0] & INFO_EXIT != 0;
    assert!(
        supported || kernel() < (6, 15),
        "GET_INFO: {}",
        io::Error::last_os_error()
    );
    supported
}

/// Returns the kernel version. Tests use it only to require a feature, never to assume that one is
/// missing.
pub(crate) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release
        .split(['.', '-', '+', '\n'])
        .map(|it| it.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Prints that a test, or a part of it, is skipped. Panics under PIDWAIT_REQUIRE_ALL=1.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("PIDWAIT_REQUIRE_ALL").map_or(true, |all| all != "1"),
        "PIDWAIT_REQUIRE_ALL=1 does not allow to skip: {why}"
    );
    let thread = thread::current();
    let test = thread.name().unwrap_or("main");
    // Not eprintln, because the test harness captures its output.
    let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
}

/// Returns how often to repeat a race: `once` times the factor in PIDWAIT_TEST_ROUNDS, but at least
/// twice. The default of 0.05 is for quick answers; CI uses 1.
pub(crate) fn rounds(once: u32) -> usize {
    let times = std::env::var("PIDWAIT_TEST_ROUNDS").map(|times| times.parse());
    let times: f64 = times
        .unwrap_or(Ok(0.05))
        .expect("PIDWAIT_TEST_ROUNDS: a number");
    // The cast saturates, and the factor is positive.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rounds = (f64::from(once) * times) as usize;
    rounds.max(2)
}

/// Checks each in a thread of its own, so that a test that mostly sleeps takes no longer for many
/// than for one.
pub(crate) fn at_once<T: Send>(all: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let test = thread::current();
    let check = &check;
    thread::scope(|scope| {
        for one in all {
            // `skip` names the test by its thread.
            let named = thread::Builder::new().name(test.name().unwrap_or("main").to_owned());
            let started = named.spawn_scoped(scope, move || check(one));
            started.expect("a thread starts");
        }
    });
}

/// Returns the errno of a result. Panics if it is not an error with an errno.
#[track_caller]
pub(crate) fn errno<T: Debug>(result: io::Result<T>) -> i32 {
    let error = result.expect_err("an error");
    error
        .raw_os_error()
        .unwrap_or_else(|| panic!("an errno, not {error:?}"))
}

/// Checks the error of a call that names the group of a process that leads none.
#[track_caller]
pub(crate) fn assert_leads_no_group<T: Debug>(result: io::Result<T>, pid: u32) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&pid.to_string()), "{text}");
    assert!(text.contains("process_group(0)"), "{text}");
}

/// A folder for files of a test: that of cargo, unless the tests run on another machine than that which
/// compiled them.
pub(crate) fn temp_dir() -> std::path::PathBuf {
    let of_cargo = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if of_cargo.is_dir() {
        of_cargo
    } else {
        std::env::temp_dir()
    }
}
