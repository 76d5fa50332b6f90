//! exit_fd, under poll.

use std::os::fd::{AsFd, AsRawFd};

use nix::libc::{ECHILD, EINVAL, SIGCONT};
use pidwait::PidHandle;

use crate::common::{
    await_zombie, backends, blocked_on_stdin, errno, kill, readable, reap_externally, stop, zombie,
    NonChild, LONG,
};

#[test]
fn readable_from_the_exit_on_and_for_good() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        assert!(!readable(&exit, 20));
        stop(child.id());
        assert!(!readable(&exit, 20));
        kill(child.id(), SIGCONT);
        assert!(!readable(&exit, 20));

        drop(stdin);
        assert!(readable(&exit, LONG));
        assert!(readable(&handle.exit_fd().unwrap(), LONG));
        await_zombie(child.id()); // Nothing has reaped it.
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(readable(&exit, 0));
    }
}

/// Dropped or released, with the child still running.
#[test]
fn outlives_its_handle() {
    let ends: [fn(PidHandle); 2] = [drop, |handle| handle.release().unwrap()];
    for backend in backends() {
        for end in ends {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            end(handle);
            assert!(!readable(&exit, 20));
            drop(stdin);
            assert!(readable(&exit, LONG));
            assert_eq!(reap_externally(child.id()), 3 << 8);
            assert!(readable(&exit, 0));
        }
    }
}

/// Dropped before the exit, it leaves nothing to a later one.
#[test]
fn asked_for_again_and_again() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for _ in 0..3 {
            let exit = handle.exit_fd().unwrap();
            let twin = exit.clone();
            assert_eq!(exit.as_raw_fd(), exit.as_fd().as_raw_fd());
            assert_eq!(exit.as_raw_fd(), twin.as_raw_fd());
            drop(exit);
            assert!(!readable(&twin, 1));
        }
        let exit = handle.exit_fd().unwrap();
        drop(stdin);
        assert!(readable(&exit, LONG));
    }
}

#[test]
fn of_a_non_child() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        assert!(!readable(&exit, 20));
        assert_eq!(non_child.finish(), Some(7));
        assert!(readable(&exit, LONG));
        assert!(readable(&handle.exit_fd().unwrap(), LONG));
    }
}

/// By somebody else than the handle, which does not know of it yet.
#[test]
fn of_a_child_that_was_reaped() {
    for backend in backends() {
        let child = zombie("exit 3");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let before = handle.exit_fd().unwrap();
        reap_externally(child.id());
        assert!(readable(&before, LONG));
        match handle.exit_fd() {
            Ok(after) => assert!(readable(&after, LONG)),
            Err(error) => assert_eq!(error.raw_os_error(), Some(ECHILD)),
        }
    }
}

#[test]
fn of_a_handle_made_of_a_zombie() {
    let handle = PidHandle::from(zombie("exit 3"));
    let exit = handle.exit_fd().unwrap();
    assert!(readable(&exit, 0));
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    assert!(readable(&exit, 0));
    assert_eq!(errno(handle.exit_fd()), ECHILD);
}

#[test]
fn none_once_done_or_released() {
    for backend in backends() {
        let handle = PidHandle::open_with(zombie("exit 3").id(), backend).unwrap();
        handle.wait().unwrap();
        assert_eq!(errno(handle.exit_fd()), ECHILD);

        let nobody = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(nobody.exit_fd()), ECHILD);

        let me = PidHandle::open_with(std::process::id(), backend).unwrap();
        me.release().unwrap();
        assert_eq!(errno(me.exit_fd()), EINVAL);
    }
}
