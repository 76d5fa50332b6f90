//! What the test binaries share: children to test with, and the bare system calls, so that no test
//! leans on what it tests.

#![allow(dead_code)] // No binary needs all of it.
#![allow(unsafe_code)] // The bare system calls that the crate is measured by.
#![allow(unused_imports)]

mod blocked;
mod children;
mod cpu;
mod descriptors;
pub(crate) mod isolated;
mod non_child;
pub(crate) mod pid_namespace;
mod process;
pub(crate) mod seccomp;
mod signals;
pub(crate) mod smoke;
mod trace;
mod wait;

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use nix::libc;
use pidwait::{Backend, PidHandle};

pub(crate) use {
    blocked::*, children::*, cpu::*, descriptors::*, non_child::*, process::*, signals::*,
    trace::*, wait::*,
};

/// The backends to test handles with: the one that this run is for, or all that there are here.
pub(crate) fn backends() -> Vec<Backend> {
    let mut backends = all_backends();
    if let Ok(wish) = std::env::var("PIDWAIT_BACKEND") {
        backends.retain(|backend| wish.is_empty() || backend.to_string() == wish);
        assert!(!backends.is_empty(), "PIDWAIT_BACKEND={wish} cannot be had");
    }
    backends
}

/// The backends that there are here, whichever this run is for.
pub(crate) fn all_backends() -> Vec<Backend> {
    if pidfds_supported() {
        vec![Backend::Pidfd, Backend::Waitpid]
    } else {
        vec![Backend::Waitpid]
    }
}

/// Whether this system has pidfds, and not a word where it has; else half of the test is skipped.
pub(crate) fn pidfds_supported() -> bool {
    let tried = PidHandle::open_with(std::process::id(), Backend::Pidfd);
    if let Err(error) = &tried {
        skip(&format!("the pidfd backend's part: {error}"));
    }
    tried.is_ok()
}

/// Whether a handle of that backend can tell how a process ended that it did not reap itself.
pub(crate) fn has_exit_records(backend: Backend) -> bool {
    static KEPT: OnceLock<bool> = OnceLock::new();
    backend == Backend::Pidfd && *KEPT.get_or_init(probe_exit_records)
}

/// Whether this kernel keeps a record of how a process ended (Linux 6.15), by what it says itself:
/// the bare `PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, of a child that was reaped.
fn probe_exit_records() -> bool {
    const GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;
    const INFO_EXIT: u64 = 1 << 3;
    let child = zombie("exit 3");
    let fd = pidfd_open(child.id(), 0).expect("the pidfd backend is there");
    reap_externally(child.id());
    let mut info = [0_u64; 8];
    info[0] = INFO_EXIT;
    // SAFETY: the request's number says that it is of 64 bytes, and so long is `info`.
    let got = unsafe { libc::ioctl(fd.as_raw_fd(), GET_INFO, info.as_mut_ptr()) };
    let kept = got == 0 && info[0] & INFO_EXIT != 0;
    assert!(
        kept || kernel() < (6, 15),
        "GET_INFO: {}",
        io::Error::last_os_error()
    );
    kept
}

/// The kernel's version, of which no test asks more than what it must be able to do.
pub(crate) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release
        .split(['.', '-', '+', '\n'])
        .map(|it| it.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Says that a test, or a part of it, is left out; where nothing may be, fails.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("PIDWAIT_REQUIRE_ALL").map_or(true, |all| all != "1"),
        "skipped, and PIDWAIT_REQUIRE_ALL=1 forbids it: {why}"
    );
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    // Not eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
}

/// How often a race is played, which PIDWAIT_TEST_ROUNDS multiplies: 1 at a desk, 0.2 on a slow
/// machine. Never less than twice.
pub(crate) fn rounds(once: u32) -> usize {
    let times = std::env::var("PIDWAIT_TEST_ROUNDS").map(|times| times.parse());
    let times: f64 = times
        .unwrap_or(Ok(1.0))
        .expect("PIDWAIT_TEST_ROUNDS: a number");
    // A number of rounds that does not fit is as many as there can be.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rounds = (f64::from(once) * times) as usize;
    rounds.max(2)
}

/// The errno of a result that must be an error.
#[track_caller]
pub(crate) fn errno<T: Debug>(result: io::Result<T>) -> i32 {
    let error = result.expect_err("an error");
    error
        .raw_os_error()
        .unwrap_or_else(|| panic!("an errno, not {error:?}"))
}
