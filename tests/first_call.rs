//! A fork while another thread makes the first call of the crate. A binary of its own: it replaces
//! functions of libc, to hold that thread in the middle of the call.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(unsafe_code)]

mod common;

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use common::interpose::real_syscall;
use common::isolated::{current_part, run_isolated};
use common::{fork, kill, reap_externally, skip, state_of};
use nix::libc::{self, c_int, c_long, c_void, SIGKILL};
use pidwait::{PidHandle, WaitSet};

/// Where the first call is held: in one of these functions, at that call.
const POINTS: [&str; 4] = [
    "pthread_atfork",
    "pidfd_open",
    "waitid",
    "pidfd_send_signal",
];
const NONE: usize = usize::MAX;

static POINT: AtomicUsize = AtomicUsize::new(NONE);
static IS_HELD: AtomicBool = AtomicBool::new(false);
static IS_FORKED: AtomicBool = AtomicBool::new(false);

/// Holds the first thread that comes to the point until this process has forked.
fn pass(point: usize) {
    if POINT.compare_exchange(point, NONE, SeqCst, SeqCst).is_ok() {
        IS_HELD.store(true, SeqCst);
        while !IS_FORKED.load(SeqCst) {
            // SAFETY: takes an integer.
            unsafe { libc::usleep(1_000) };
        }
    }
}

type Handler = Option<unsafe extern "C" fn()>;

extern "C" {
    /// What libc's own `pthread_atfork` calls.
    fn __register_atfork(
        prepare: Handler,
        parent: Handler,
        child: Handler,
        dso: *mut c_void,
    ) -> c_int;
}

/// Replaces libc's.
///
/// # Safety
///
/// As of libc's.
#[no_mangle]
unsafe extern "C" fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int {
    pass(0);
    // SAFETY: as the caller promises. Null stands for the program itself.
    unsafe { __register_atfork(prepare, parent, child, null_mut()) }
}

/// Replaces libc's.
///
/// # Safety
///
/// As of libc's.
#[no_mangle]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    match number {
        libc::SYS_pidfd_open => pass(1),
        libc::SYS_waitid => pass(2),
        libc::SYS_pidfd_send_signal => pass(3),
        _ => {}
    }
    // SAFETY: as the caller promises.
    unsafe { real_syscall(number, [a, b, c, d, e, f]) }
}

fn use_the_crate() {
    let own = PidHandle::open(std::process::id()).unwrap();
    own.signal(0).unwrap();
    let mut set = WaitSet::new().unwrap();
    set.insert(own, ()).unwrap();
    assert!(set.wait_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn fork_beside_the_first_call_can_use_the_crate() {
    let test = "fork_beside_the_first_call_can_use_the_crate";
    let Some(part) = current_part() else {
        for point in POINTS {
            run_isolated(test, point, |command| {
                command.env_remove("PIDWAIT_BACKEND");
            });
        }
        run_isolated(test, POINTS[0], |command| {
            command.env("PIDWAIT_BACKEND", "waitpid");
        });
        return;
    };
    let point = POINTS.iter().position(|point| *point == part).unwrap();
    POINT.store(point, SeqCst);
    let first = thread::spawn(use_the_crate);
    while !IS_HELD.load(SeqCst) {
        if first.is_finished() {
            return skip("this system needs no such call");
        }
        thread::sleep(Duration::from_millis(1));
    }
    let pid = fork(use_the_crate);
    let deadline = Instant::now() + Duration::from_secs(20);
    while state_of(pid) != Some('Z') && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    kill(pid, SIGKILL); // Without effect on a zombie.
    let status = reap_externally(pid);
    IS_FORKED.store(true, SeqCst);
    first.join().unwrap();
    assert_eq!(status, 0, "the forked process hangs or fails: {part}");
}
