//! `has_exited`, `wait_exited` and `exit_status`, for children and for other processes.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, SIGCONT, SIGKILL};
use pidwait::{Backend, PidHandle, WaitSet};

use crate::common::{
    await_state, backends, blocked_on_stdin, errno, has_exit_records, kill, rounds, stop,
    while_asleep, NonChild, Waiter,
};
#[cfg(target_os = "linux")]
use crate::common::{clone_and_exit, exec_in_a_thread, has_execed};

const MILLI: Duration = Duration::from_millis(1);

/// Returns whether the process has exited. Asserts that all calls agree, and that even the shortest
/// timeout notices an exit.
fn exited(handle: &PidHandle) -> bool {
    let exited = handle.wait_exited_timeout(Duration::from_nanos(1)).unwrap();
    assert_eq!(handle.has_exited().unwrap(), exited);
    assert_eq!(handle.wait_exited_timeout(Duration::ZERO).unwrap(), exited);
    assert_eq!(handle.wait_exited_timeout(MILLI).unwrap(), exited);
    exited
}

/// Returns the status that `exit_status` is expected to read from the kernel: `None` if this backend
/// or this kernel has no exit records.
fn recorded(backend: Backend, status: ExitStatus) -> Option<ExitStatus> {
    has_exit_records(backend).then_some(status)
}

fn exit_code(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

#[test]
fn has_exited_is_true_only_after_the_exit() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert!(!exited(&handle));
        stop(child.id());
        assert!(!exited(&handle));
        kill(child.id(), SIGCONT);
        assert!(!exited(&handle));
        assert_eq!(handle.exit_status(), None);

        while_asleep(|| handle.wait_exited().unwrap(), || drop(stdin));
        assert!(exited(&handle));
        // It is read from the zombie, which is not reaped.
        assert_eq!(handle.exit_status(), Some(exit_code(3)));

        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(exited(&handle));
        handle.wait_exited().unwrap();
        assert_eq!(handle.exit_status(), Some(exit_code(3)));
    }
}

#[test]
fn wait_exited_timeout_never_ends_early() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for timeout in [Duration::from_nanos(1), MILLI, Duration::from_micros(3_700)] {
            let start = Instant::now();
            assert!(!handle.wait_exited_timeout(timeout).unwrap());
            assert!(start.elapsed() >= timeout, "{timeout:?}");
        }
        let wait = || handle.wait_exited_timeout(Duration::MAX);
        assert!(while_asleep(wait, || drop(stdin)).unwrap());
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn wait_exited_returns_when_non_child_exits() {
    for backend in backends() {
        for timeout in [None, Some(Duration::MAX), Some(Duration::from_secs(600))] {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let wait = || match timeout {
                None => handle.wait_exited().map(|()| true),
                Some(timeout) => handle.wait_exited_timeout(timeout),
            };
            let exited = while_asleep(wait, || assert_eq!(non_child.finish(), Some(7)));
            assert!(exited.unwrap());
            assert_eq!(handle.exit_status(), recorded(backend, exit_code(7)));
        }
    }
}

/// Threads share a `Child`: they wait through a handle, and the first one reaps through std. If
/// `wait_exited` reaped, std would get no status.
#[test]
fn wait_exited_leaves_the_status_to_std() {
    for backend in backends() {
        for timed in [false, true] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let child = Mutex::new(child);
            let wait = || -> io::Result<ExitStatus> {
                match timed {
                    true => assert!(handle.wait_exited_timeout(Duration::MAX)?),
                    false => handle.wait_exited()?,
                }
                child.lock().unwrap().wait()
            };
            std::thread::scope(|scope| {
                let waiters = [(); 8].map(|()| Waiter::asleep(scope, wait));
                drop(stdin);
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap().code(), Some(3));
                }
            });
        }
    }
}

/// A wait that peeks must not hide the exit from one that reaps, and the other way round.
#[test]
fn wait_exited_and_wait_both_return() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let both = || {
            std::thread::scope(|scope| {
                let untimed = scope.spawn(|| handle.wait_exited());
                let timed = scope.spawn(|| handle.wait_exited_timeout(Duration::MAX));
                let status = handle.wait().unwrap();
                untimed.join().unwrap().unwrap();
                assert!(timed.join().unwrap().unwrap());
                status
            })
        };
        let pid = child.id();
        let status = while_asleep(both, || drop(stdin));
        assert_eq!(status.code(), Some(3), "PID {pid}");
    }
}

/// Waits see a child whose exit signal is not SIGCHLD only with `__WALL`. Of the other signals, this
/// test uses one that is ignored by default.
#[cfg(target_os = "linux")]
#[test]
fn child_with_other_exit_signal_is_seen_to_exit_and_reaped() {
    for backend in backends() {
        for signal in [0, nix::libc::SIGWINCH] {
            let pid = clone_and_exit(signal, 3);
            await_state(pid, 'Z');
            let handle = PidHandle::open_with(pid, backend).unwrap();
            assert!(handle.has_exited().unwrap());
            handle.wait_exited().unwrap();
            handle.signal(0).unwrap();
            assert_eq!(handle.wait().unwrap(), exit_code(3));
            assert_eq!(errno(handle.wait()), ECHILD);
        }
    }
}

/// While a thread that is not the main thread execs, the kernel can report an exit for a moment. That
/// is rare, so this only shows that no call takes the end of the old main thread for an exit.
#[cfg(target_os = "linux")]
#[test]
fn process_whose_thread_execs_has_not_exited() {
    for backend in backends() {
        for _ in 0..rounds(50) {
            let (pid, mut start) = exec_in_a_thread();
            let handle = PidHandle::open_with(pid, backend).unwrap();
            let mut set = WaitSet::new().unwrap();
            let key = set.insert(handle.clone(), ()).unwrap();
            start.write_all(b"!").unwrap();
            while !has_execed(pid) {
                assert!(!handle.has_exited().unwrap());
                assert!(!handle.wait_exited_timeout(Duration::from_nanos(1)).unwrap());
                assert_eq!(handle.try_wait().unwrap(), None);
                assert!(set.wait_exited_timeout(Duration::ZERO).unwrap().is_none());
            }
            assert!(!exited(&handle));
            handle.kill().unwrap();
            assert_eq!(set.wait().unwrap().unwrap().key, key);
            assert_eq!(handle.wait_shared().unwrap().signal(), Some(SIGKILL));
        }
    }
}
