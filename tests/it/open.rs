//! Opening by pid: what there is, what there is not, and what can never be.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process;
use std::sync::mpsc;
use std::thread;

use crate::common::{backends, errno, reap_externally, sleeper, zombie, Waiter};
use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{Backend, PidHandle};

/// No process has it: pids end at 2^22.
const UNUSED_PID: u32 = i32::MAX as u32;

/// Row: `open`, process is there. No permission is needed for pid 1.
#[test]
fn a_process_that_is_there() {
    for backend in backends() {
        for pid in [1, process::id()] {
            let handle = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(handle.id(), pid);
            assert_eq!(handle.backend(), backend);
            assert_eq!(handle.exit_status(), None);
        }
    }
}

/// Row: `open` without a backend follows `support`.
#[test]
fn the_backend_that_support_names() {
    let named = pidwait::support().unwrap().backend();
    assert_eq!(PidHandle::open(1).unwrap().backend(), named);
    assert_eq!(PidHandle::open(UNUSED_PID).unwrap().backend(), named);
}

/// Row: `open`, no such process. Go's lookup of a missing process.
#[test]
fn no_such_process() {
    for backend in backends() {
        let reaped = zombie("exit 0").id();
        reap_externally(reaped);
        for pid in [UNUSED_PID, reaped] {
            let nobody = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(nobody.id(), pid);
            assert_eq!(nobody.backend(), backend);
            assert_eq!(errno(nobody.wait()), ECHILD);
            assert_eq!(errno(nobody.try_wait()), ECHILD);
            assert_eq!(errno(nobody.signal(0)), ECHILD);
            assert_eq!(errno(nobody.kill()), ECHILD);
            assert_eq!(nobody.exit_status(), None);
            nobody.release().unwrap();
            assert_eq!(errno(nobody.wait()), ECHILD, "done before it was released");
        }
    }
}

/// Row: `open(0)`, pid above `i32::MAX`. Named in the error, and stopped before any call that
/// would take them for a process group, or for everybody.
#[test]
fn impossible_pids() {
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

/// Row: `open` of a thread id that is no process. By pid it cannot be told from one.
#[test]
fn a_thread_id() {
    for backend in backends() {
        thread::scope(|scope| {
            let (end, ends) = mpsc::channel::<()>();
            let other = Waiter::spawn(scope, move || ends.recv());
            let tid = u32::try_from(other.tid).unwrap();
            let opened = PidHandle::open_with(tid, backend);
            drop(end);
            match backend {
                Backend::Pidfd => assert_eq!(errno(opened), EINVAL),
                Backend::Waitpid => assert_eq!(errno(opened.unwrap().wait()), ECHILD),
            }
        });
    }
}

/// A handle that was opened by pid reaches the child as its `Child` would.
#[test]
fn kill_through_it() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.signal(0).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}
