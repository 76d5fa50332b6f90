//! Handles made of a `Child`: running, exited, finished, stolen.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;

use crate::common::{
    await_state, detach, errno, exists, reap_externally, sh, shell, sleeper, stop, trace_stopped,
    zombie, Waiter,
};
use nix::libc::{c_int, ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::PidHandle;

#[track_caller]
fn assert_done(handle: &PidHandle) {
    assert_eq!(errno(handle.wait()), ECHILD);
    assert_eq!(errno(handle.try_wait()), ECHILD);
    assert_eq!(errno(handle.signal(0)), ECHILD);
    assert_eq!(errno(handle.kill()), ECHILD);
}

fn backend() -> pidwait::Backend {
    pidwait::support().unwrap().backend()
}

/// Running: live, and nothing was reaped, killed or waited for on the way.
#[test]
fn a_running_child() {
    let child = sleeper();
    let pid = child.id();
    let handle = PidHandle::from(child);
    assert_eq!((handle.id(), handle.backend()), (pid, backend()));
    assert_eq!(handle.try_wait().unwrap(), None);
    assert_eq!(handle.exit_status(), None);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || handle.wait());
        handle.signal(SIGTERM).unwrap();
        assert_eq!(waiter.join().unwrap().signal(), Some(SIGTERM));
    });
    assert_done(&handle);
}

/// Stopped is running, and stays stopped.
#[test]
fn a_stopped_child() {
    let child = sleeper();
    let pid = child.id();
    stop(pid);
    let handle = PidHandle::from(child);
    assert_eq!(handle.try_wait().unwrap(), None);
    await_state(pid, 'T');
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}

/// A trace stop is running, too: std would take it for the exit.
#[test]
fn a_traced_child() {
    let child = trace_stopped("exit 4");
    let pid = child.id();
    let handle = PidHandle::from(child);
    assert_eq!(handle.try_wait().unwrap(), None);
    detach(pid);
    assert_eq!(handle.wait().unwrap().code(), Some(4));
}

/// Row: a zombie. It is reaped when the handle is made, and to the handle's users still is one:
/// the first wait gets the status, signals go nowhere.
#[test]
fn a_zombie() {
    let waits: [fn(&PidHandle) -> Option<c_int>; 2] = [
        |handle| handle.wait().unwrap().code(),
        |handle| handle.try_wait().unwrap().expect("a zombie").code(),
    ];
    for wait in waits {
        let child = zombie("exit 6");
        let pid = child.id();
        let handle = PidHandle::from(child);
        assert!(!exists(pid), "reaped already");
        assert_eq!((handle.id(), handle.backend()), (pid, backend()));
        handle.signal(0).unwrap();
        handle.signal(SIGTERM).unwrap();
        handle.kill().unwrap();
        for impossible in [-1, 65_000, nix::libc::SIGRTMAX() + 1] {
            assert_eq!(errno(handle.signal(impossible)), EINVAL);
        }
        assert_eq!(wait(&handle), Some(6));
        assert_done(&handle);
        assert_eq!(handle.exit_status().unwrap().code(), Some(6));
        handle.release().unwrap();
        assert_done(&handle);
    }
}

/// A zombie whose handle is released unasked: released, as any other, and nothing is unreaped.
#[test]
fn a_zombie_released() {
    let child = zombie("exit 6");
    let pid = child.id();
    let handle = PidHandle::from(child);
    handle.release().unwrap();
    assert_eq!(errno(handle.wait()), EINVAL);
    assert_eq!(errno(handle.try_wait()), EINVAL);
    assert_eq!(errno(handle.signal(0)), EINVAL);
    assert!(!exists(pid));
}

/// Row: a child whose status std already has: done.
#[test]
fn a_finished_child() {
    let mut waited = sh("exit 6");
    let mut tried = zombie("exit 6");
    waited.wait().unwrap();
    tried.try_wait().unwrap().expect("a zombie");
    for child in [waited, tried] {
        let pid = child.id();
        let handle = PidHandle::from(child);
        assert_eq!(handle.id(), pid);
        assert_done(&handle);
        handle.release().unwrap();
        assert_done(&handle);
    }
}

/// Reaped by somebody else: done as well.
#[test]
fn a_stolen_child() {
    let child = zombie("exit 6");
    reap_externally(child.id());
    let handle = PidHandle::from(child);
    assert_done(&handle);
    assert_eq!(handle.exit_status(), None);
}

/// It drops the child's pipes, and what was taken before stays.
#[test]
fn the_pipes() {
    let mut child = shell("cat; echo end")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let handle = PidHandle::from(child);
    let said = std::io::read_to_string(stdout).unwrap();
    assert_eq!(said, "end\n", "its input has ended, its output has not");
    assert!(handle.wait().unwrap().success());
}
