//! `wait` and `try_wait`.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::{
    await_state, backends, interrupt_calls, interruptions, kill, kill_thread, sleeper, Waiter,
};
#[cfg(target_os = "linux")]
use crate::common::{detach, trace_stopped, while_asleep};
use nix::libc::{SIGCONT, SIGKILL, SIGSTOP, SIGUSR1};
use pidwait::{ChildExt, PidHandle};

#[test]
fn wait_blocks_until_the_exit() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            assert!(!waiter.is_finished());
            handle.kill().unwrap();
            assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
        });
    }
}

/// Neither is an exit, for `try_wait` and for a `wait` that already blocks.
#[test]
fn stop_and_continue_end_no_wait() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            for (signal, state) in [(SIGSTOP, 'T'), (SIGCONT, 'S')] {
                handle.signal(signal).unwrap();
                await_state(child.id(), state);
                assert_eq!(handle.try_wait().unwrap(), None);
                assert!(!waiter.is_finished());
            }
            handle.kill().unwrap();
            assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
        });
    }
}

/// The kernel reports a trace stop even to a wait for exits only. That the wait does not spin then, is
/// tested in `tests/idle.rs`.
#[cfg(target_os = "linux")]
#[test]
fn trace_stop_does_not_end_a_wait() {
    for backend in backends() {
        let child = trace_stopped("exit 4");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let status = while_asleep(|| handle.wait(), || detach(child.id()));
        assert_eq!(status.unwrap().code(), Some(4));

        let child = trace_stopped("exit 4");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for _ in 0..3 {
            assert_eq!(handle.try_wait().unwrap(), None);
        }
        detach(child.id());
        assert_eq!(handle.wait().unwrap().code(), Some(4));
    }
}

/// std's `wait` would mistake the trace stop for the exit.
#[cfg(target_os = "linux")]
#[test]
fn trace_stop_does_not_end_pidfd_wait() {
    let mut child = trace_stopped("exit 4");
    for _ in 0..3 {
        assert_eq!(child.pidfd_try_wait().unwrap(), None);
    }
    let pid = child.id();
    let status = while_asleep(|| child.pidfd_wait(), || detach(pid));
    assert_eq!(status.unwrap().code(), Some(4));
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

/// A signal handler without SA_RESTART runs many times on the waiting thread, and each time ends its
/// system call with EINTR.
#[test]
fn signals_do_not_end_a_wait() {
    interrupt_calls(SIGUSR1);
    let interrupt_often = |tid| {
        for _ in 0..200 {
            let before = interruptions(SIGUSR1);
            kill_thread(tid, SIGUSR1);
            while interruptions(SIGUSR1) == before {
                thread::yield_now();
            }
        }
    };
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            interrupt_often(waiter.tid);
            assert!(!waiter.is_finished());
            handle.kill().unwrap();
            assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
        });
    }
    let mut child = sleeper();
    let pid = child.id();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        interrupt_often(waiter.tid);
        assert!(!waiter.is_finished());
        kill(pid, SIGKILL);
        assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
    });
}
