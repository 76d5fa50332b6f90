//! `release` and drop, and the descriptors they close.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::isolated::enter;
use crate::common::{
    await_zombie, backends, errno, exists, kill, open_descriptors, reap_externally, shell, sleeper,
    state_of, zombie, Waiter,
};
use nix::libc::{c_int, ECHILD, EINVAL, SIGTERM};
use pidwait::{ChildExt, PidHandle, Spawned};

#[track_caller]
fn assert_all_fail(handle: &PidHandle, expected: c_int) {
    assert_eq!(errno(handle.wait()), expected);
    assert_eq!(errno(handle.try_wait()), expected);
    assert_eq!(errno(handle.signal(0)), expected);
    assert_eq!(errno(handle.signal(SIGTERM)), expected);
    assert_eq!(errno(handle.kill()), expected);
}

/// A zombie of another child is there. If the wait lost its PID at the release, it would wait for
/// any child and reap that zombie.
#[test]
fn blocked_wait_returns_its_status_after_release() {
    for backend in backends() {
        let other = zombie("exit 9");
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let clone = handle.clone();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            clone.release().unwrap();
            assert_all_fail(&handle, EINVAL);
            assert!(!waiter.is_finished());
            kill(child.id(), SIGTERM);
            let status = waiter.join().unwrap();
            assert_eq!(status.signal(), Some(SIGTERM));
            assert_all_fail(&handle, EINVAL);
            assert_eq!(handle.exit_status(), Some(status), "the wait stored it");
        });
        assert!(!exists(child.id()));
        assert_eq!(state_of(other.id()), Some('Z'));
        assert_eq!(reap_externally(other.id()), 9 << 8);
    }
}

/// `wait`, `try_wait`, `release` and drop close the descriptor at once, and no error leaks one.
/// Isolated, because it counts descriptors.
#[test]
fn no_call_leaks_a_descriptor() {
    if !enter("release::no_call_leaks_a_descriptor") {
        return;
    }
    for backend in backends() {
        let (first, second, third) = (zombie("exit 0"), zombie("exit 0"), sleeper());
        let before = open_descriptors();
        let open = |pid| PidHandle::open_with(pid, backend).unwrap();

        let waited = open(first.id());
        waited.wait().unwrap();
        assert_eq!(open_descriptors(), before, "after wait");

        let tried = open(second.id());
        tried.try_wait().unwrap().expect("a zombie");
        assert_eq!(open_descriptors(), before, "after try_wait");

        let released = open(third.id());
        released.release().unwrap();
        assert_eq!(open_descriptors(), before, "after release");

        drop(open(third.id()));
        assert_eq!(open_descriptors(), before, "after drop");

        for pid in [0, 1 << 31, u32::MAX] {
            PidHandle::open_with(pid, backend).unwrap_err();
        }
        for handle in [open(first.id()), open(i32::MAX.unsigned_abs())] {
            assert_all_fail(&handle, ECHILD);
            assert_eq!(open_descriptors(), before, "missing process");
        }
        let reaped_externally = zombie("exit 0");
        let handle = open(reaped_externally.id());
        reap_externally(reaped_externally.id());
        assert_all_fail(&handle, ECHILD);
        drop(handle);
        assert_eq!(open_descriptors(), before, "after an external reap");
    }
}

/// The same for `ChildExt`, which opens a pidfd in each call, and for handles made from a `Child`.
#[test]
fn no_call_on_child_leaks_a_descriptor() {
    if !enter("release::no_call_on_child_leaks_a_descriptor") {
        return;
    }
    pidwait::support().unwrap();
    let before = open_descriptors();
    let mut child = sleeper();
    child.pidfd_try_wait().unwrap();
    child.pidfd_signal(0).unwrap();
    errno(child.pidfd_signal(-1));
    assert_eq!(open_descriptors(), before, "while it runs");
    child.kill().unwrap();
    child.pidfd_wait().unwrap();
    assert_eq!(errno(child.pidfd_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
    assert_eq!(open_descriptors(), before, "after pidfd_wait");

    let finished = Spawned::from(child).handle;
    assert_all_fail(&finished, ECHILD);
    assert_eq!(open_descriptors(), before, "from a finished child");

    let reaped_early = Spawned::from(zombie("exit 0")).handle;
    reaped_early.wait().unwrap();
    assert_eq!(open_descriptors(), before, "from a zombie");

    let piped = shell("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = piped.id();
    piped.pidfd_release().unwrap();
    assert_eq!(open_descriptors(), before, "after pidfd_release");
    await_zombie(pid);
    reap_externally(pid);
}
