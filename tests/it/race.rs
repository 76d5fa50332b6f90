//! Calls that meet each other. Each is played many times: PIDWAIT_TEST_ROUNDS says how often.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Barrier;
use std::thread;

use crate::common::{
    await_zombie, backends, errno, exists, kill, rounds, sh, sleeper, try_reap_externally, Waiter,
};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::PidHandle;

/// Row: several `wait`s at once. Eight block in the kernel when the child is killed: one gets the
/// status, and then all know it.
#[test]
fn eight_waits() {
    for backend in backends() {
        for _ in 0..rounds(20) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let results: Vec<_> = thread::scope(|scope| {
                let wait = || handle.wait();
                let waiters: Vec<_> = (0..8).map(|_| Waiter::start(scope, wait)).collect();
                handle.kill().unwrap();
                waiters.into_iter().map(Waiter::join).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1);
            assert!(lost.into_iter().all(|result| errno(result) == ECHILD));
            let status = handle.exit_status().expect("all waits have returned");
            assert_eq!(status.signal(), Some(SIGKILL));
            assert!(!exists(child.id()));
        }
    }
}

/// The same with waits that block, tries that do not and signals, all let go at once beside a
/// child that is about to exit: the status is had once, and no call sees anything but the child
/// or ECHILD.
#[test]
fn waits_tries_and_signals() {
    let calls = [wait, try_wait_until_it_exits, signal_until_it_is_gone];
    for backend in backends() {
        for _ in 0..rounds(100) {
            let child = sh("exit 5");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let (handle, start) = (&handle, &Barrier::new(2 * calls.len()));
            let results: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (calls.into_iter().chain(calls))
                    .map(|call| scope.spawn(move || (start.wait(), call(handle)).1))
                    .collect();
                threads.into_iter().map(|it| it.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1);
            assert!(lost.into_iter().all(|result| errno(result) == ECHILD));
            assert_eq!(handle.exit_status().unwrap().code(), Some(5));
        }
    }
}

fn wait(handle: &PidHandle) -> io::Result<ExitStatus> {
    handle.wait()
}

fn try_wait_until_it_exits(handle: &PidHandle) -> io::Result<ExitStatus> {
    loop {
        match handle.try_wait()? {
            None => thread::yield_now(),
            Some(status) => return Ok(status),
        }
    }
}

/// It never has the status, and so loses each time.
fn signal_until_it_is_gone(handle: &PidHandle) -> io::Result<ExitStatus> {
    loop {
        handle.signal(0)?;
    }
}

/// A wait meets somebody else's wait for the same child: one of the two gets the status, and it
/// is lost to neither.
#[test]
fn a_wait_and_a_thief() {
    for backend in backends() {
        for _ in 0..rounds(50) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            thread::scope(|scope| {
                let waiter = Waiter::start(scope, || handle.wait());
                let external = Waiter::start(scope, || try_reap_externally(child.id()));
                handle.kill().unwrap();
                assert_one_has_it(waiter.join(), external.join());
            });
        }
    }
}

/// Of a wait and a theft of a child that was killed, one has the status and the other ECHILD.
#[track_caller]
pub(crate) fn assert_one_has_it(
    waited: io::Result<ExitStatus>,
    reaped_externally: io::Result<i32>,
) {
    match reaped_externally {
        Ok(status) => {
            assert_eq!(status, SIGKILL);
            assert_eq!(errno(waited), ECHILD);
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(ECHILD));
            assert!(pidwait::is_already_reaped(&error), "{error}");
            assert_eq!(waited.unwrap().signal(), Some(SIGKILL));
        }
    }
}

/// `release` meets a wait that is about to end: the wait is the first or the release is, and the
/// status is lost in neither case.
#[test]
fn a_wait_and_a_release() {
    for backend in backends() {
        for _ in 0..rounds(100) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            thread::scope(|scope| {
                let waiter = Waiter::start(scope, || handle.wait());
                kill(child.id(), SIGKILL);
                handle.release().unwrap();
                let status = waiter.join().unwrap();
                assert_eq!(status.signal(), Some(SIGKILL));
                assert_eq!(handle.exit_status(), Some(status));
            });
            assert!([ECHILD, EINVAL].contains(&errno(handle.wait())));
        }
    }
}

/// The handle of a zombie that was taken over is shared like any other: one wait has the status.
#[test]
fn waits_for_a_zombie_taken_over() {
    for _ in 0..rounds(50) {
        let child = sh("exit 5");
        await_zombie(child.id());
        let handle = PidHandle::from(child);
        let won = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| handle.wait())).collect();
            let results = threads.into_iter().map(|it| it.join().unwrap());
            results.filter(Result::is_ok).count()
        });
        assert_eq!(won, 1);
    }
}
