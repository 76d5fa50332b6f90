//! KillOnDrop.

use std::panic::{catch_unwind, AssertUnwindSafe};

use nix::libc::{ECHILD, SIGTERM};
use pidwait::{KillOnDrop, PidHandle};

use crate::common::{
    backends, blocked_on_stdin, errno, reap_externally, sleeper, stop, zombie, NonChild,
};

/// Killed, and reaped: there is no child of that pid any longer, not even a zombie.
#[test]
fn leaves_no_zombie() {
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
fn reaps_one_that_has_exited() {
    for backend in backends() {
        let mut child = zombie("exit 3");
        drop(KillOnDrop::new(
            PidHandle::open_with(child.id(), backend).unwrap(),
        ));
        assert_eq!(errno(child.try_wait()), ECHILD);
    }
}

#[test]
fn a_panic_drops_it() {
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
fn into_inner_lets_it_live() {
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
fn a_released_one_lives_on() {
    for backend in backends() {
        let (mut child, stdin) = blocked_on_stdin();
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        guard.release().unwrap();
        drop(guard);
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

/// Nothing to do, and nothing to wait for.
#[test]
fn a_done_one() {
    for backend in backends() {
        let guard = KillOnDrop::new(PidHandle::open_with(sleeper().id(), backend).unwrap());
        guard.signal(SIGTERM).unwrap();
        guard.wait().unwrap();
        drop(guard);

        let child = zombie("exit 3");
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        reap_externally(child.id());
        drop(guard);

        let nobody = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        drop(KillOnDrop::new(nobody));
    }
}

/// Killed, as its parent sees by the shell's code for it, and left to that parent to reap.
#[test]
fn a_non_child_is_killed_and_not_waited_for() {
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
fn of_a_child_by_value() {
    let child = sleeper();
    let pid = child.id();
    drop(KillOnDrop::new(PidHandle::from(child)));
    let gone = PidHandle::open(pid).unwrap();
    assert_eq!(errno(gone.wait()), ECHILD);
    assert!(gone.has_exited().unwrap());

    drop(KillOnDrop::new(PidHandle::from(zombie("exit 3"))));
}
