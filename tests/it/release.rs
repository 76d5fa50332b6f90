//! release, drop, and what becomes of descriptors.

use std::os::unix::process::ExitStatusExt;
use std::thread;

use crate::common::isolated::enter;
use crate::common::{
    await_zombie, backends, errno, exists, kill, open_descriptors, reap_externally, sh, shell,
    sleeper, state_of, zombie, Waiter,
};
use nix::libc::{c_int, ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle};

#[track_caller]
fn assert_answers(handle: &PidHandle, expected: c_int) {
    assert_eq!(errno(handle.wait()), expected);
    assert_eq!(errno(handle.try_wait()), expected);
    assert_eq!(errno(handle.signal(0)), expected);
    assert_eq!(errno(handle.signal(SIGTERM)), expected);
    assert_eq!(errno(handle.kill()), expected);
}

/// Rows: `release`, however often; any wait or `signal` after it. It never reaps or kills.
#[test]
fn a_released_handle() {
    for backend in backends() {
        let running = sleeper();
        let dead = zombie("exit 7");
        for pid in [running.id(), dead.id()] {
            let handle = PidHandle::open_with(pid, backend).unwrap();
            for _ in 0..3 {
                handle.release().unwrap();
                assert_answers(&handle, EINVAL);
            }
            assert_eq!(handle.exit_status(), None);
            assert_eq!((handle.id(), handle.backend()), (pid, backend));
        }
        assert_eq!(reap_externally(dead.id()), 7 << 8);
        assert_alive(running);
    }
}

/// Row: drop never reaps, kills or blocks.
#[test]
fn a_dropped_handle() {
    for backend in backends() {
        let running = sleeper();
        let dead = zombie("exit 7");
        drop(PidHandle::open_with(running.id(), backend).unwrap());
        drop(PidHandle::open_with(dead.id(), backend).unwrap());
        assert_eq!(reap_externally(dead.id()), 7 << 8);
        assert_alive(running);
    }
}

/// Ends it with a signal that any other, sent before, would have forestalled.
#[track_caller]
fn assert_alive(mut child: std::process::Child) {
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
}

/// Row: done, then `release`. The first final state wins.
#[test]
fn done_then_released() {
    for backend in backends() {
        let child = sh("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let status = handle.wait().unwrap();
        for _ in 0..2 {
            handle.release().unwrap();
            assert_answers(&handle, ECHILD);
            assert_eq!(handle.exit_status(), Some(status));
        }
    }
}

/// Row: `release` during a blocked `wait`: that wait goes on and gets its status. Go's, by pid,
/// would wait for any child then, and reap the zombie that is there.
#[test]
fn during_a_blocked_wait() {
    for backend in backends() {
        let other = zombie("exit 9");
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            handle.release().unwrap();
            assert_answers(&handle, EINVAL);
            assert!(!waiter.is_finished());
            kill(child.id(), SIGTERM);
            let status = waiter.join().unwrap();
            assert_eq!(status.signal(), Some(SIGTERM));
            assert_answers(&handle, EINVAL);
            assert_eq!(handle.exit_status(), Some(status), "that wait has told it");
        });
        assert!(!exists(child.id()));
        assert_eq!(state_of(other.id()), Some('Z'));
        assert_eq!(reap_externally(other.id()), 9 << 8);
    }
}

/// Rows: what frees the descriptor: `wait`, at once, though the handle lives on; `try_wait`;
/// `release`; drop. And no failure keeps one. Alone, for descriptors are counted.
#[test]
fn no_descriptor_is_left() {
    if !enter("release::no_descriptor_is_left") {
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
            assert_answers(&handle, ECHILD);
            assert_eq!(open_descriptors(), before, "of nobody");
        }
        let reaped_externally = zombie("exit 0");
        let handle = open(reaped_externally.id());
        reap_externally(reaped_externally.id());
        assert_answers(&handle, ECHILD);
        drop(handle);
        assert_eq!(open_descriptors(), before, "after a theft");
    }
}

/// The same for the trait, which opens its own, and for what becomes of a `Child`.
#[test]
fn no_descriptor_is_left_of_a_child() {
    if !enter("release::no_descriptor_is_left_of_a_child") {
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

    let finished = PidHandle::from(child);
    assert_answers(&finished, ECHILD);
    assert_eq!(open_descriptors(), before, "of a finished child");

    let kept = PidHandle::from(zombie("exit 0"));
    kept.wait().unwrap();
    assert_eq!(open_descriptors(), before, "of a zombie");

    let piped = shell("cat")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = piped.id();
    piped.pidfd_release().unwrap();
    assert_eq!(open_descriptors(), before, "of a released child");
    await_zombie(pid);
    reap_externally(pid);
}
