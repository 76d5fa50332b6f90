//! `KillOnDrop`.

use std::panic::{catch_unwind, AssertUnwindSafe};

use nix::libc::{ECHILD, SIGTERM};
use pidwait::{KillOnDrop, PidHandle, Spawned};

use crate::common::{
    backends, blocked_on_stdin, errno, reap_externally, sleeper, stop, zombie, NonChild,
};

/// std's `try_wait` then finds no child with this PID.
#[test]
fn drop_kills_and_reaps_child() {
    for backend in backends() {
        for stopped in [false, true] {
            let mut child = sleeper();
            if stopped {
                stop(child.id());
            }
            let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
            assert!(!guard.has_exited().unwrap());
            drop(guard);
            assert_eq!(errno(child.try_wait()), ECHILD);
        }
    }
}

#[test]
fn drop_reaps_zombie() {
    for backend in backends() {
        let mut child = zombie("exit 3");
        drop(KillOnDrop::new(
            PidHandle::open_with(child.id(), backend).unwrap(),
        ));
        assert_eq!(errno(child.try_wait()), ECHILD);
    }
}

#[test]
fn panic_kills_and_reaps_child() {
    for backend in backends() {
        let mut child = sleeper();
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            std::panic::resume_unwind(Box::new("without a message"));
        }));
        assert!(unwound.is_err());
        assert_eq!(errno(child.try_wait()), ECHILD);
    }
}

#[test]
fn into_inner_does_not_kill() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        let handle = guard.into_inner();
        assert_eq!((handle.id(), handle.backend()), (child.id(), backend));
        assert_eq!(handle.try_wait().unwrap(), None);
        drop(stdin);
        assert_eq!(handle.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn drop_after_release_does_not_kill() {
    for backend in backends() {
        let (mut child, stdin) = blocked_on_stdin();
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        guard.release().unwrap();
        drop(guard);
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

/// It must not block, either.
#[test]
fn drop_of_done_handle_does_nothing() {
    for backend in backends() {
        let guard = KillOnDrop::new(PidHandle::open_with(sleeper().id(), backend).unwrap());
        guard.signal(SIGTERM).unwrap();
        guard.wait().unwrap();
        drop(guard);

        let child = zombie("exit 3");
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        reap_externally(child.id());
        drop(guard);

        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        drop(KillOnDrop::new(missing));
    }
}

/// Its parent is stopped during the drop and reaps it later.
#[test]
fn drop_kills_non_child_without_waiting() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        stop(non_child.parent.id());
        drop(KillOnDrop::new(
            PidHandle::open_with(non_child.pid, backend).unwrap(),
        ));
        assert_eq!(non_child.finish(), Some(128 + 9));
    }
}

#[test]
fn drop_kills_child_converted_to_handle() {
    let child = sleeper();
    let pid = child.id();
    drop(KillOnDrop::new(Spawned::from(child).handle));
    let reaped = PidHandle::open(pid).unwrap();
    assert_eq!(errno(reaped.wait()), ECHILD);
    assert!(reaped.has_exited().unwrap());

    drop(KillOnDrop::new(Spawned::from(zombie("exit 3")).handle));
}
