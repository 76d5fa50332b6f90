//! Waits while signals arrive without pause, with a handler that interrupts every system call.
//!
//! A process for each test, because a signal handler is process-wide.

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::isolated::enter;
use crate::common::{
    backends, blocked_on_stdin, ignoring_sigterm, interrupt_calls, interruptions, kill_thread,
    this_thread,
};
use nix::libc::SIGUSR1;
use pidwait::{ChildExt, PidHandle};

const TIMEOUT: Duration = Duration::from_millis(60);

/// A wait must be interrupted more often than this to prove anything.
const MIN_SIGNALS: usize = 20;

/// Runs `wait` while another thread sends signals to this one, and returns how many arrived. The signals
/// stop after 30 seconds, much longer than any timeout here, and the wait must end before that: a wait
/// that restarted its timeout at each signal would not. `meanwhile` is called after many signals.
fn under_signals<T>(wait: impl FnOnce() -> T, meanwhile: impl FnOnce() + Send) -> (T, usize) {
    interrupt_calls(SIGUSR1);
    let tid = this_thread();
    let before = interruptions(SIGUSR1);
    let caught = || interruptions(SIGUSR1) - before;
    let returned = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let start = Instant::now();
            let mut meanwhile = Some(meanwhile);
            while !returned.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
                kill_thread(tid, SIGUSR1);
                if caught() > MIN_SIGNALS {
                    if let Some(meanwhile) = meanwhile.take() {
                        meanwhile();
                    }
                }
                std::thread::yield_now();
            }
            returned.load(Ordering::Relaxed)
        });
        let result = wait();
        returned.store(true, Ordering::Relaxed);
        let caught = caught();
        let ended = sender.join().unwrap();
        assert!(ended, "the wait lasted as long as the signals");
        (result, caught)
    })
}

/// Runs `wait` under signals and asserts that it does not end before `TIMEOUT`. Repeats it if too few
/// signals arrived, as can happen on a busy machine.
fn assert_not_early<T>(mut wait: impl FnMut() -> T) -> T {
    for _ in 0..1000 {
        let start = Instant::now();
        let (result, caught) = under_signals(&mut wait, || {});
        assert!(start.elapsed() >= TIMEOUT);
        if caught > MIN_SIGNALS {
            return result;
        }
    }
    panic!("too few signals in every run");
}

#[test]
fn signals_do_not_change_the_timeout_of_a_handle() {
    if !enter("storm::signals_do_not_change_the_timeout_of_a_handle") {
        return;
    }
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(
            assert_not_early(|| handle.wait_timeout(TIMEOUT)).unwrap(),
            None
        );
        let deadline = || handle.wait_deadline(Instant::now() + TIMEOUT);
        assert_eq!(assert_not_early(deadline).unwrap(), None);
        assert!(!assert_not_early(|| handle.wait_exited_timeout(TIMEOUT)).unwrap());
        drop(stdin);
        assert_eq!(handle.wait().unwrap().code(), Some(3));

        let me = PidHandle::open_with(std::process::id(), backend).unwrap();
        assert!(!assert_not_early(|| me.wait_exited_timeout(TIMEOUT)).unwrap());
    }
}

#[test]
fn signals_do_not_change_the_timeout_of_a_child() {
    if !enter("storm::signals_do_not_change_the_timeout_of_a_child") {
        return;
    }
    let (mut child, stdin) = blocked_on_stdin();
    assert_eq!(
        assert_not_early(|| child.pidfd_wait_timeout(TIMEOUT)).unwrap(),
        None
    );
    let deadline = || child.pidfd_wait_deadline(Instant::now() + TIMEOUT);
    assert_eq!(assert_not_early(deadline).unwrap(), None);
    drop(stdin);
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(3));
}

#[test]
fn signals_do_not_change_the_grace_of_terminate() {
    if !enter("storm::signals_do_not_change_the_grace_of_terminate") {
        return;
    }
    for backend in backends() {
        let status = assert_not_early(|| {
            let handle = PidHandle::open_with(ignoring_sigterm().id(), backend).unwrap();
            let start = Instant::now();
            let status = handle.terminate(TIMEOUT).unwrap();
            assert!(start.elapsed() >= TIMEOUT);
            status
        });
        assert_eq!(status.signal(), Some(9));
    }
}

/// With and without timeout. EINTR never reaches the caller.
#[test]
fn only_the_exit_ends_an_interrupted_wait() {
    if !enter("storm::only_the_exit_ends_an_interrupted_wait") {
        return;
    }
    for backend in backends() {
        for timeout in [None, Some(Duration::MAX)] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let wait = || match timeout {
                None => handle.wait().map(Some),
                Some(timeout) => handle.wait_timeout(timeout),
            };
            let (status, _) = under_signals(wait, || drop(stdin));
            assert_eq!(status.unwrap().unwrap().code(), Some(3));
        }
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (exited, _) = under_signals(|| handle.wait_exited(), || drop(stdin));
        exited.unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
    let (mut child, stdin) = blocked_on_stdin();
    let (status, _) = under_signals(|| child.pidfd_wait(), || drop(stdin));
    assert_eq!(status.unwrap().code(), Some(3));
}
