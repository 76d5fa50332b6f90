//! terminate and pidfd_terminate.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle};

use crate::common::{
    backends, errno, ignoring_sigterm, ready, reap_externally, sleeper, stop, zombie, NonChild,
};

const MILLI: Duration = Duration::from_millis(1);

/// Ends a child in each way there is; what it takes to come by one is `start`.
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
    // Not that of one whose pipe it would close.
    let mut child = start();
    let _stdin = child.stdin.take();
    let handle = PidHandle::from(child);
    check(&mut |grace| handle.terminate(grace));
}

/// Without end of its grace: SIGTERM alone must do it.
#[test]
fn sigterm_is_enough() {
    each(sleeper, |terminate| {
        let status = terminate(Duration::MAX).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
        assert_eq!(errno(terminate(Duration::MAX)), ECHILD);
    });
}

#[test]
fn a_child_that_takes_leave_is_not_killed() {
    let start = || ready("trap 'exit 5' TERM; echo ready; while :; do read x; done");
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn one_that_ignores_it_is_killed_and_never_early() {
    for grace in [Duration::ZERO, MILLI, Duration::from_micros(12_345)] {
        each(ignoring_sigterm, |terminate| {
            let start = Instant::now();
            assert_eq!(terminate(grace).unwrap().signal(), Some(SIGKILL));
            assert!(start.elapsed() >= grace);
        });
    }
}

/// It cannot take SIGTERM before it goes on: without SIGCONT this would never end.
#[test]
fn a_stopped_one_can_take_it() {
    let start = || {
        let child = ready("trap 'exit 5' TERM; echo ready; while :; do read x; done");
        stop(child.id());
        child
    };
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn one_that_has_exited_has_its_own_status() {
    let start = || zombie("exit 3");
    each(start, |terminate| {
        assert_eq!(terminate(Duration::ZERO).unwrap().code(), Some(3));
        assert_eq!(errno(terminate(Duration::MAX)), ECHILD);
    });
}

#[test]
fn one_that_somebody_else_reaped() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.kill().unwrap();
        reap_externally(child.id());
        assert_eq!(errno(handle.terminate(Duration::MAX)), ECHILD);
    }
    let mut child = zombie("exit 3");
    reap_externally(child.id());
    assert_eq!(errno(child.pidfd_terminate(Duration::MAX)), ECHILD);
}

/// Its parent sees it exit of itself: nothing was sent.
#[test]
fn a_non_child_is_left_alone() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), ECHILD);
        assert_eq!(errno(handle.terminate(Duration::MAX)), ECHILD);
        assert_eq!(non_child.finish(), Some(7));
    }
}

#[test]
fn a_released_handle_sends_nothing() {
    for backend in backends() {
        let mut child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), EINVAL);
        assert_eq!(child.try_wait().unwrap(), None);
    }
}

#[test]
fn std_knows_the_status_too_and_the_pipe_stays() {
    let mut child = ignoring_sigterm();
    let status = child.pidfd_terminate(MILLI).unwrap();
    assert!(child.stdin.is_some());
    assert_eq!(child.wait().unwrap(), status);
    child.kill().unwrap();
}
