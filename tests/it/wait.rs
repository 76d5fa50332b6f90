//! wait and try_wait.

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use crate::common::{
    await_state, await_zombie, backends, detach, errno, interrupt_calls, interruptions, kill,
    kill_thread, reap_externally, sh, sleeper, thread_time, trace_stopped, zombie, NonChild,
    Waiter,
};
use nix::libc::{ECHILD, SIGCONT, SIGKILL, SIGSTOP, SIGUSR1};
use pidwait::{Backend, ChildExt, PidHandle};

/// Rows: `wait`; waits once done.
#[test]
fn once_and_twice() {
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

/// Row: `wait` blocks, and not only until the child is looked at.
#[test]
fn blocks_until_the_exit() {
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

/// Row: `try_wait`: nothing while it runs, then the status, once.
#[test]
fn try_wait_running_and_exited() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
        assert_eq!(handle.exit_status(), None);
        handle.kill().unwrap();
        await_zombie(child.id());
        assert_eq!(handle.exit_status(), None, "a zombie is nobody's yet");
        let status = handle.try_wait().unwrap().expect("it has exited");
        assert_eq!(status.signal(), Some(SIGKILL));
        assert_eq!(errno(handle.try_wait()), ECHILD);
        assert_eq!(handle.exit_status(), Some(status));
    }
}

/// Row: a status by any way to die: every exit code is told exactly.
#[test]
fn exit_codes() {
    for backend in backends() {
        for code in [0, 1, 2, 127, 128, 255] {
            let child = sh(&format!("exit {code}"));
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let status = handle.wait().unwrap();
            assert_eq!(status.into_raw(), code << 8);
        }
    }
}

/// Rows: stopped, continued. Neither is an exit, to `try_wait` or to a `wait` under way.
#[test]
fn stop_and_continue_end_nothing() {
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

/// Checks that a waiting thread does not spin: of as much time as this one uses up meanwhile, a
/// spinning one would have its share.
fn assert_sleeps<T: Send>(pid: u32, wait: impl FnOnce() -> T + Send) -> T {
    let (result, used) = thread::scope(|scope| {
        let waiter = Waiter::spawn(scope, || (wait(), thread_time()));
        let start = thread_time();
        while thread_time() - start < Duration::from_millis(200) {
            assert!(!waiter.is_finished(), "the trace stop has ended it");
        }
        detach(pid);
        waiter.join()
    });
    assert!(used < Duration::from_millis(50), "it spins: {used:?}");
    result
}

/// Row: trace-stopped; and only an exit ends a wait. The kernel reports a trace stop to whoever
/// waits for an exit, and a wait that asked again at once would spin until the tracer lets go.
#[test]
fn a_trace_stop_ends_nothing_and_costs_nothing() {
    for backend in backends() {
        let child = trace_stopped("exit 4");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let status = assert_sleeps(child.id(), || handle.wait());
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

/// The same for a child of std's, which would take the trace stop for the exit.
#[test]
fn a_trace_stop_ends_nothing_of_a_child() {
    let mut child = trace_stopped("exit 4");
    for _ in 0..3 {
        assert_eq!(child.pidfd_try_wait().unwrap(), None);
    }
    let status = assert_sleeps(child.id(), || child.pidfd_wait());
    assert_eq!(status.unwrap().code(), Some(4));
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

/// Row: EINTR is never seen by the caller. Handlers run on the waiting thread again and again,
/// and without SA_RESTART each of them ends the system call.
#[test]
fn a_storm_of_signals() {
    interrupt_calls(SIGUSR1);
    let storm = |tid| {
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
            storm(waiter.tid);
            assert!(!waiter.is_finished());
            handle.kill().unwrap();
            assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
        });
    }
    let mut child = sleeper();
    let pid = child.id();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        storm(waiter.tid);
        assert!(!waiter.is_finished());
        kill(pid, SIGKILL);
        assert_eq!(waiter.join().unwrap().signal(), Some(SIGKILL));
    });
}

/// Row: not our child. ECHILD at once, while it runs, and it still can be signalled.
#[test]
fn not_our_child() {
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
        assert_eq!(errno(handle.signal(0)), ECHILD, "its parent has reaped it");
    }
}

/// Row: reaped by somebody else. The kernel says so, and by pid the handle then is done.
#[test]
fn a_stolen_status() {
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
            Backend::Pidfd => assert_eq!(after, nix::libc::EINVAL, "it was live until then"),
            Backend::Waitpid => assert_eq!(after, ECHILD, "it was done before"),
        }
    }
}
