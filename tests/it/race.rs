//! Races between calls on one handle, and with other code that reaps. Each test repeats its race;
//! PIDWAIT_TEST_ROUNDS scales the number of rounds.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Barrier;
use std::thread;

use crate::common::{
    await_zombie, backends, errno, exists, kill, rounds, sh, sleeper, try_reap_externally, Waiter,
};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{PidHandle, Spawned};

/// Eight waits block in the kernel when the child is killed.
#[test]
fn one_of_eight_waits_gets_the_status() {
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

/// The status is noted together with the fact that the process is gone: a wait that fails with ECHILD
/// returns only after the other wait has noted the status.
#[test]
fn wait_that_fails_finds_the_status_at_once() {
    for backend in backends() {
        for _ in 0..rounds(200) {
            let child = sh("exit 5");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let start = Barrier::new(4);
            let wait = || {
                start.wait();
                let result = handle.wait();
                (result.is_ok(), handle.exit_status())
            };
            let results = thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(wait));
                threads.map(|it| it.join().unwrap())
            });
            assert_eq!(results.iter().filter(|(won, _)| *won).count(), 1);
            for (_, status) in results {
                assert_eq!(status.and_then(|it| it.code()), Some(5), "{backend}");
            }
        }
    }
}

/// All calls start together while the child is about to exit. Only one returns the status, and the
/// others fail with nothing but ECHILD.
#[test]
fn one_of_wait_try_wait_and_signal_gets_the_status() {
    let calls = [wait, try_wait_until_it_exits, signal_until_it_fails];
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

/// Never gets the status, so it always ends with an error.
fn signal_until_it_fails(handle: &PidHandle) -> io::Result<ExitStatus> {
    loop {
        handle.signal(0)?;
    }
}

/// A wait of the handle and a `waitpid` by other code block at the same time.
#[test]
fn one_of_wait_and_external_reap_gets_the_status() {
    for backend in backends() {
        for _ in 0..rounds(50) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            thread::scope(|scope| {
                let waiter = Waiter::start(scope, || handle.wait());
                let external = Waiter::start(scope, || try_reap_externally(child.id()));
                handle.kill().unwrap();
                assert_one_got_the_status(waiter.join(), external.join());
            });
        }
    }
}

/// Asserts that of a wait and an external reap of a killed child, one returned the status and the
/// other failed with ECHILD.
#[track_caller]
pub(crate) fn assert_one_got_the_status(
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
            assert!(pidwait::is_echild(&error), "{error}");
            assert_eq!(waited.unwrap().signal(), Some(SIGKILL));
        }
    }
}

/// `release` runs while a wait is about to return. Either can be first.
#[test]
fn wait_returns_the_status_despite_release() {
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

/// The handle already stores the status, and only one wait may take it.
#[test]
fn one_of_four_waits_gets_the_status_of_zombie_reaped_at_conversion() {
    for _ in 0..rounds(50) {
        let child = sh("exit 5");
        await_zombie(child.id());
        let handle = Spawned::from(child).handle;
        let won = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| handle.wait())).collect();
            let results = threads.into_iter().map(|it| it.join().unwrap());
            results.filter(Result::is_ok).count()
        });
        assert_eq!(won, 1);
    }
}
