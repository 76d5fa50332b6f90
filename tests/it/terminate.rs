//! `terminate` and `pidfd_terminate`.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle, Spawned};

use crate::common::{
    backends, errno, has_exit_records, ignoring_sigterm, ready, reap_externally, sleeper, stop,
    zombie, NonChild,
};

const MILLI: Duration = Duration::from_millis(1);

/// Runs a check for each way to terminate a child. `start` starts the child.
fn each(
    start: impl Fn() -> Child,
    check: impl Fn(&mut dyn FnMut(Duration) -> io::Result<ExitStatus>),
) {
    for backend in backends() {
        let child = start();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        check(&mut |grace| handle.terminate(grace));
    }
    let mut child = start();
    check(&mut |grace| child.pidfd_terminate(grace));
    // Keep the pipe, which `Spawned::from` would close: the child might exit because of that.
    let mut child = start();
    let _stdin = child.stdin.take();
    let handle = Spawned::from(child).handle;
    check(&mut |grace| handle.terminate(grace));
}

/// The grace never ends, so only SIGTERM can end the child.
#[test]
fn sigterm_ends_child() {
    each(sleeper, |terminate| {
        let status = terminate(Duration::MAX).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
    });
}

/// Not by `read`, which can miss a signal that arrives just before it blocks.
const HANDLES_SIGTERM: &str = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";

#[test]
fn child_that_handles_sigterm_is_not_killed() {
    let start = || ready(HANDLES_SIGTERM);
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn child_that_ignores_sigterm_is_killed_after_the_grace() {
    for grace in [Duration::ZERO, MILLI, Duration::from_micros(12_345)] {
        each(ignoring_sigterm, |terminate| {
            let start = Instant::now();
            assert_eq!(terminate(grace).unwrap().signal(), Some(SIGKILL));
            assert!(start.elapsed() >= grace);
        });
    }
}

/// A stopped child handles SIGTERM only after a SIGCONT.
#[test]
fn stopped_child_is_continued_and_handles_sigterm() {
    let start = || {
        let child = ready(HANDLES_SIGTERM);
        stop(child.id());
        child
    };
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn terminate_zombie_returns_its_status() {
    let start = || zombie("exit 3");
    each(start, |terminate| {
        assert_eq!(terminate(Duration::ZERO).unwrap().code(), Some(3));
    });
}

/// So a wait in one thread and an end in another are no race. A `Child` has no second thread.
#[test]
fn terminate_after_a_wait_returns_the_status() {
    for backend in backends() {
        let handle = PidHandle::open_with(zombie("exit 3").id(), backend).unwrap();
        handle.wait().unwrap();
        for clone in [handle.clone(), handle] {
            assert_eq!(clone.terminate(Duration::MAX).unwrap().code(), Some(3));
            clone.terminate_unreaped(Duration::MAX).unwrap();
            clone.terminate_in_background(Duration::MAX).unwrap();
            assert_eq!(errno(clone.wait()), ECHILD);
        }
        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(missing.terminate(Duration::MAX)), ECHILD);
        missing.terminate_unreaped(Duration::MAX).unwrap();
        missing.terminate_in_background(Duration::MAX).unwrap();
    }
    let mut child = zombie("exit 3");
    assert_eq!(
        child.pidfd_terminate(Duration::MAX).unwrap().code(),
        Some(3)
    );
    assert_eq!(errno(child.pidfd_terminate(Duration::MAX)), ECHILD);
}

/// The kernel may have a record of the status.
#[test]
fn terminate_after_external_reap_returns_the_recorded_status_or_echild() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.kill().unwrap();
        reap_externally(child.id());
        let terminated = handle.terminate(Duration::MAX);
        if has_exit_records(backend) {
            assert_eq!(terminated.unwrap().signal(), Some(SIGKILL));
            assert_eq!(errno(handle.wait()), ECHILD);
        } else {
            assert_eq!(errno(terminated), ECHILD);
        }
    }
    let mut child = zombie("exit 3");
    reap_externally(child.id());
    assert_eq!(errno(child.pidfd_terminate(Duration::MAX)), ECHILD);
}

/// Its exit code proves that it got no signal.
#[test]
fn terminate_non_child_fails_with_echild_and_sends_nothing() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), ECHILD);
        assert_eq!(errno(handle.terminate(Duration::MAX)), ECHILD);
        assert_eq!(non_child.finish(), Some(7));
    }
}

#[test]
fn terminate_after_release_fails_with_einval_and_sends_nothing() {
    for backend in backends() {
        let mut child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), EINVAL);
        assert_eq!(child.try_wait().unwrap(), None);
    }
}

#[test]
fn pidfd_terminate_leaves_stdin_open_and_the_status_to_std() {
    let mut child = ignoring_sigterm();
    let status = child.pidfd_terminate(MILLI).unwrap();
    assert!(child.stdin.is_some());
    assert_eq!(child.wait().unwrap(), status);
    child.kill().unwrap();
}
