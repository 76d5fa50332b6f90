//! `wait` and `try_wait`.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::{
    await_state, await_zombie, backends, errno, interrupt_calls, interruptions, kill, kill_thread,
    reap_externally, sh, sleeper, zombie, NonChild, Waiter,
};
#[cfg(target_os = "linux")]
use crate::common::{detach, trace_stopped, while_asleep};
use nix::libc::{ECHILD, SIGCONT, SIGKILL, SIGSTOP, SIGUSR1};
use pidwait::{Backend, ChildExt, PidHandle};

#[test]
fn second_wait_fails_with_echild() {
    for backend in backends() {
        let child = sh("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        for _ in 0..2 {
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
        }
        assert_eq!(handle.exit_status().unwrap().code(), Some(3));
        assert_eq!((handle.id(), handle.backend()), (child.id(), backend));
    }
}

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

#[test]
fn try_wait_returns_none_then_the_status_once() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
        assert_eq!(handle.exit_status(), None);
        handle.kill().unwrap();
        await_zombie(child.id());
        let peeked = handle.exit_status();
        assert_eq!(peeked.expect("a zombie").signal(), Some(SIGKILL));
        let status = handle.try_wait().unwrap().expect("the child has exited");
        assert_eq!(status.signal(), Some(SIGKILL));
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(handle.exit_status(), Some(status));
    }
}

#[test]
fn wait_returns_the_exact_exit_code() {
    for backend in backends() {
        for code in [0, 1, 2, 127, 128, 255] {
            let child = sh(&format!("exit {code}"));
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let status = handle.wait().unwrap();
            assert_eq!(status.into_raw(), code << 8);
        }
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

/// It can still be signalled.
#[test]
fn wait_for_non_child_fails_with_echild() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        for _ in 0..2 {
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.try_wait()), ECHILD);
        }
        handle.signal(0).unwrap();
        handle.kill().unwrap();
        assert_eq!(non_child.finish(), Some(128 + SIGKILL));
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.signal(0)), ECHILD, "its parent reaped it");
    }
}

/// On the waitpid backend the handle is done after that.
#[test]
fn wait_after_external_reap_fails_with_echild() {
    for backend in backends() {
        let child = zombie("exit 5");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        reap_externally(child.id());
        for _ in 0..2 {
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
        }
        if backend == Backend::Waitpid {
            assert_eq!(handle.exit_status(), None);
        }
        handle.release().unwrap();
        let after = errno(handle.wait());
        match backend {
            Backend::Pidfd => assert_eq!(after, nix::libc::EINVAL, "it was live until release"),
            _ => assert_eq!(after, ECHILD, "it was done before release"),
        }
    }
}
