//! `Spawned::from(Child)`: running, zombie, finished and externally reaped children.

use std::io::{read_to_string, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::{
    await_state, errno, exists, last_signal, reap_externally, sh, shell, sleeper, stop, zombie,
    Waiter,
};
#[cfg(target_os = "linux")]
use crate::common::{detach, trace_stopped};
use nix::libc::{c_int, ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{PidHandle, Spawned};

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

/// The conversion neither reaps nor kills nor waits.
#[test]
fn running_child_becomes_a_live_handle() {
    let child = sleeper();
    let pid = child.id();
    let handle = Spawned::from(child).handle;
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

/// The child stays stopped.
#[test]
fn stopped_child_becomes_a_live_handle() {
    let child = sleeper();
    let pid = child.id();
    stop(pid);
    let handle = Spawned::from(child).handle;
    assert_eq!(handle.try_wait().unwrap(), None);
    await_state(pid, 'T');
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}

/// std's `try_wait` would mistake the trace stop for the exit.
#[cfg(target_os = "linux")]
#[test]
fn trace_stopped_child_becomes_a_live_handle() {
    let child = trace_stopped("exit 4");
    let pid = child.id();
    let handle = Spawned::from(child).handle;
    assert_eq!(handle.try_wait().unwrap(), None);
    detach(pid);
    assert_eq!(handle.wait().unwrap().code(), Some(4));
}

/// The conversion reaps the zombie, but the handle behaves as if it still were one: signals succeed
/// and the first wait returns the status.
#[test]
fn zombie_is_reaped_and_its_handle_returns_the_status_once() {
    let waits: [fn(&PidHandle) -> Option<c_int>; 2] = [
        |handle| handle.wait().unwrap().code(),
        |handle| handle.try_wait().unwrap().expect("a zombie").code(),
    ];
    for wait in waits {
        let child = zombie("exit 6");
        let pid = child.id();
        let handle = Spawned::from(child).handle;
        assert!(!exists(pid), "it is reaped");
        assert_eq!((handle.id(), handle.backend()), (pid, backend()));
        handle.signal(0).unwrap();
        handle.signal(SIGTERM).unwrap();
        handle.kill().unwrap();
        for invalid in [-1, 65_000, last_signal() + 1] {
            assert_eq!(errno(handle.signal(invalid)), EINVAL);
        }
        assert_eq!(wait(&handle), Some(6));
        assert_done(&handle);
        assert_eq!(handle.exit_status().unwrap().code(), Some(6));
        handle.release().unwrap();
        assert_done(&handle);
    }
}

/// The handle is released before any wait took the status.
#[test]
fn released_handle_from_zombie_fails_with_einval() {
    let child = zombie("exit 6");
    let pid = child.id();
    let handle = Spawned::from(child).handle;
    handle.release().unwrap();
    assert_eq!(errno(handle.wait()), EINVAL);
    assert_eq!(errno(handle.try_wait()), EINVAL);
    assert_eq!(errno(handle.signal(0)), EINVAL);
    assert_eq!(errno(handle.wait_shared()), EINVAL);
    assert_eq!(handle.exit_status(), None);
    assert!(!exists(pid));
}

/// std already has the status.
#[test]
fn finished_child_becomes_a_done_handle() {
    let mut waited = sh("exit 6");
    let mut tried = zombie("exit 6");
    waited.wait().unwrap();
    tried.try_wait().unwrap().expect("a zombie");
    for child in [waited, tried] {
        let pid = child.id();
        let handle = Spawned::from(child).handle;
        assert_eq!(handle.id(), pid);
        assert_done(&handle);
        handle.release().unwrap();
        assert_done(&handle);
    }
}

#[test]
fn externally_reaped_child_becomes_a_done_handle() {
    let child = zombie("exit 6");
    reap_externally(child.id());
    let handle = Spawned::from(child).handle;
    assert_done(&handle);
    assert_eq!(handle.exit_status(), None);
}

/// A wait does not close them.
#[test]
fn conversion_keeps_the_pipes() {
    let child = shell("cat; echo end; echo error >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut spawned = Spawned::from(child);
    let waited = spawned.handle.wait_timeout(Duration::from_millis(2));
    assert_eq!(waited.unwrap(), None, "stdin is open");
    spawned.stdin.take().unwrap().write_all(b"line\n").unwrap();
    let output = read_to_string(spawned.stdout.unwrap()).unwrap();
    assert_eq!(output, "line\nend\n");
    let errors = read_to_string(spawned.stderr.unwrap()).unwrap();
    assert_eq!(errors, "error\n");
    assert!(spawned.handle.wait().unwrap().success());
}
