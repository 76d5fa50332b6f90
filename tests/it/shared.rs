//! `wait_shared`: every caller gets the status.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    backends, blocked_on_stdin, errno, rounds, sleeper, while_asleep, zombie, Waiter,
};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::PidHandle;

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(60);

fn code(result: io::Result<ExitStatus>) -> Option<i32> {
    result.unwrap().code()
}

/// All of them block in the kernel when the child exits.
#[test]
fn every_blocked_wait_shared_gets_the_status() {
    for backend in backends() {
        for _ in 0..rounds(20) {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let codes = thread::scope(|scope| {
                let wait = || code(handle.wait_shared());
                let waiters = [(); 4].map(|()| Waiter::start(scope, wait));
                drop(stdin);
                waiters.map(Waiter::join)
            });
            assert_eq!(codes, [Some(3); 4]);
        }
    }
}

#[test]
fn wait_shared_returns_the_status_of_every_other_wait() {
    let waits: [fn(&PidHandle) -> Option<i32>; 5] = [
        |handle| code(handle.wait()),
        |handle| handle.try_wait().unwrap()?.code(),
        |handle| {
            handle
                .wait_timeout(std::time::Duration::MAX)
                .unwrap()?
                .code()
        },
        |handle| handle.wait_usage().unwrap().0.code(),
        |handle| code(handle.terminate(std::time::Duration::MAX)),
    ];
    for backend in backends() {
        for wait in waits {
            let child = zombie("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let clone = handle.clone();
            assert_eq!(wait(&handle), Some(3));
            assert_eq!(code(handle.wait_shared()), Some(3));
            assert_eq!(code(clone.wait_shared()), Some(3));
            assert_eq!(code(clone.wait_shared()), Some(3), "again");
            assert_eq!(errno(clone.wait()), ECHILD, "the others fail");
            handle.release().unwrap();
            assert_eq!(
                code(handle.wait_shared()),
                Some(3),
                "first final state wins"
            );
        }
    }
}

/// One that blocks continues; one that begins after the release fails until there is a status.
#[test]
fn wait_shared_during_a_release() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let blocked = Waiter::start(scope, || handle.wait_shared());
            handle.release().unwrap();
            assert_eq!(errno(handle.wait_shared()), EINVAL);
            drop(stdin);
            assert_eq!(code(blocked.join()), Some(3));
        });
        assert_eq!(code(handle.wait_shared()), Some(3));
        assert_eq!(errno(handle.wait()), EINVAL);
    }
}

type Wait = fn(&PidHandle) -> io::Result<Option<ExitStatus>>;

#[test]
fn shared_waits_with_limits_never_end_early() {
    let waits: [Wait; 2] = [
        |handle| handle.wait_shared_timeout(SHORT),
        |handle| handle.wait_shared_deadline(Instant::now() + SHORT),
    ];
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for wait in waits {
            let start = Instant::now();
            assert_eq!(wait(&handle).unwrap(), None);
            assert!(start.elapsed() >= SHORT);
        }
    }
}

#[test]
fn shared_wait_with_a_limit_wakes_up_at_the_exit() {
    let waits: [Wait; 2] = [
        |handle| handle.wait_shared_timeout(LONG),
        |handle| handle.wait_shared_deadline(Instant::now() + LONG),
    ];
    for backend in backends() {
        for wait in waits {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let other = handle.clone();
            let waited = while_asleep(
                || wait(&handle).unwrap(),
                || {
                    drop(stdin);
                    assert_eq!(code(other.wait_shared()), Some(3));
                },
            );
            assert_eq!(waited.unwrap().code(), Some(3));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn shared_wait_with_a_limit_is_not_held_up_by_a_tracer() {
    use crate::common::{await_state, traceable_sleeper, Tracer};

    for backend in backends() {
        let child = traceable_sleeper();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.kill().unwrap();
        await_state(child.id(), 'Z');
        assert_eq!(handle.wait_shared_timeout(SHORT).unwrap(), None);
        assert_eq!(handle.try_wait_shared().unwrap(), None);
        assert_eq!(handle.exit_status(), None);
        tracer.end();
        let status = handle.wait_shared_timeout(LONG).unwrap();
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    }
}
