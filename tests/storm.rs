//! Waits while signals come in without end, to a handler that interrupts every system call.
//!
//! A binary of its own, because a signal handler is the whole process's.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::{
    backends, blocked_on_stdin, ignoring_sigterm, interrupt_calls, interruptions, kill_thread,
};
use nix::libc::SIGUSR1;
use nix::unistd::gettid;
use pidwait::{ChildExt, PidHandle};

const LIMIT: Duration = Duration::from_millis(60);

/// So many signals make a storm.
const MANY: usize = 20;

/// Runs `wait` in a storm of signals to this thread, and says how many came. The wait must end
/// before the storm does, which gives up only after a time that no limit here comes near: a wait
/// that began its limit anew at each signal would last as long. `meanwhile` is called once many
/// signals have come.
fn in_a_storm<T>(wait: impl FnOnce() -> T, meanwhile: impl FnOnce() + Send) -> (T, usize) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    interrupt_calls(SIGUSR1);
    let waiter = gettid().as_raw();
    let before = interruptions(SIGUSR1);
    let caught = || interruptions(SIGUSR1) - before;
    let back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let start = Instant::now();
            let mut meanwhile = Some(meanwhile);
            while !back.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
                kill_thread(waiter, SIGUSR1);
                if caught() > MANY {
                    if let Some(meanwhile) = meanwhile.take() {
                        meanwhile();
                    }
                }
                std::thread::yield_now();
            }
            back.load(Ordering::Relaxed)
        });
        let said = wait();
        back.store(true, Ordering::Relaxed);
        let caught = caught();
        let ended = storm.join().unwrap();
        assert!(ended, "the wait lasted as long as the storm");
        (said, caught)
    })
}

/// Never early, and never longer for it. On a busy machine some limits pass with hardly a signal,
/// and prove nothing.
fn expires<T>(mut wait: impl FnMut() -> T) -> T {
    for _ in 0..1000 {
        let start = Instant::now();
        let (said, caught) = in_a_storm(&mut wait, || {});
        assert!(start.elapsed() >= LIMIT);
        if caught > MANY {
            return said;
        }
    }
    panic!("there is no storm");
}

#[test]
fn a_limit_is_kept() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(expires(|| handle.wait_timeout(LIMIT)).unwrap(), None);
        let deadline = || handle.wait_deadline(Instant::now() + LIMIT);
        assert_eq!(expires(deadline).unwrap(), None);
        assert!(!expires(|| handle.wait_exited_timeout(LIMIT)).unwrap());
        drop(stdin);
        assert_eq!(handle.wait().unwrap().code(), Some(3));

        let me = PidHandle::open_with(std::process::id(), backend).unwrap();
        assert!(!expires(|| me.wait_exited_timeout(LIMIT)).unwrap());
    }
}

#[test]
fn a_childs_limit_is_kept() {
    let (mut child, stdin) = blocked_on_stdin();
    assert_eq!(expires(|| child.pidfd_wait_timeout(LIMIT)).unwrap(), None);
    let deadline = || child.pidfd_wait_deadline(Instant::now() + LIMIT);
    assert_eq!(expires(deadline).unwrap(), None);
    drop(stdin);
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(3));
}

#[test]
fn a_grace_is_kept() {
    for backend in backends() {
        let status = expires(|| {
            let handle = PidHandle::open_with(ignoring_sigterm().id(), backend).unwrap();
            let start = Instant::now();
            let status = handle.terminate(LIMIT).unwrap();
            assert!(start.elapsed() >= LIMIT);
            status
        });
        assert_eq!(status.signal(), Some(9));
    }
}

/// The exit ends a wait with or without limit, and no signal before it does: nobody sees EINTR.
#[test]
fn only_the_exit_ends_it() {
    for backend in backends() {
        for limit in [None, Some(Duration::MAX)] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let wait = || match limit {
                None => handle.wait().map(Some),
                Some(limit) => handle.wait_timeout(limit),
            };
            let (status, _) = in_a_storm(wait, || drop(stdin));
            assert_eq!(status.unwrap().unwrap().code(), Some(3));
        }
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (seen, _) = in_a_storm(|| handle.wait_exited(), || drop(stdin));
        seen.unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
    let (mut child, stdin) = blocked_on_stdin();
    let (status, _) = in_a_storm(|| child.pidfd_wait(), || drop(stdin));
    assert_eq!(status.unwrap().code(), Some(3));
}
