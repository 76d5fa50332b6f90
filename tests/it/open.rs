//! `PidHandle::open` and `open_with`: existing processes, missing ones and invalid PIDs.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::sync::mpsc;
use std::thread;

use crate::common::{backends, errno, reap_externally, sleeper, zombie, Waiter};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{Backend, PidHandle};

/// No process has this PID, because Linux PIDs are at most 2^22.
const UNUSED_PID: u32 = i32::MAX as u32;

/// Opening needs no permission, even for PID 1.
#[test]
fn open_existing_process_succeeds() {
    for backend in backends() {
        for pid in [1, process::id()] {
            let handle = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(handle.id(), pid);
            assert_eq!(handle.backend(), backend);
            assert_eq!(handle.exit_status(), None);
        }
    }
}

#[test]
fn open_uses_the_supported_backend() {
    let supported = pidwait::support().unwrap().backend();
    assert_eq!(PidHandle::open(1).unwrap().backend(), supported);
    assert_eq!(PidHandle::open(UNUSED_PID).unwrap().backend(), supported);
}

/// Opening succeeds, and the handle is done from the start.
#[test]
fn open_missing_process_returns_a_done_handle() {
    for backend in backends() {
        let reaped = zombie("exit 0").id();
        reap_externally(reaped);
        for pid in [UNUSED_PID, reaped] {
            let missing = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(missing.id(), pid);
            assert_eq!(missing.backend(), backend);
            assert_eq!(errno(missing.wait()), ECHILD);
            assert_eq!(errno(missing.try_wait()), ECHILD);
            assert_eq!(errno(missing.signal(0)), ECHILD);
            assert_eq!(errno(missing.kill()), ECHILD);
            assert_eq!(missing.exit_status(), None);
            missing.release().unwrap();
            assert_eq!(errno(missing.wait()), ECHILD, "it was done before release");
        }
    }
}

/// The PID must not reach `kill` or `waitid`, where 0 and negative numbers mean a process group or
/// all processes. The error names it.
#[test]
fn open_invalid_pid_fails_with_invalid_input() {
    for backend in backends() {
        for pid in [0, 1 << 31, u32::MAX - 1, u32::MAX] {
            for opened in [PidHandle::open(pid), PidHandle::open_with(pid, backend)] {
                let error = opened.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(error.raw_os_error(), None);
                assert!(error.to_string().contains(&pid.to_string()), "{error}");
            }
        }
    }
}

/// The waitpid backend cannot tell a thread ID from a PID, so it fails at the wait.
#[test]
fn open_or_wait_with_thread_id_fails() {
    for backend in backends() {
        thread::scope(|scope| {
            let (stop, stopped) = mpsc::channel::<()>();
            let other = Waiter::spawn(scope, move || stopped.recv());
            let tid = u32::try_from(other.tid).unwrap();
            let opened = PidHandle::open_with(tid, backend);
            drop(stop);
            match backend {
                Backend::Pidfd => assert_eq!(errno(opened), EINVAL),
                _ => assert_eq!(errno(opened.unwrap().wait()), ECHILD),
            }
        });
    }
}

#[test]
fn kill_through_opened_handle_kills_the_child() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.signal(0).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}
