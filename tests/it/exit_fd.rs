//! `exit_fd`, tested with `poll`.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::libc::SIGCONT;
use pidwait::{Backend, PidHandle, WaitSet};

#[cfg(target_os = "linux")]
use crate::common::preload::{enter_preloaded, hold_up_a_check};
use crate::common::{
    await_zombie, backends, blocked_on_stdin, kill, readable, reap_externally, rounds, sleeper,
    stop, NonChild, LONG,
};

#[test]
fn exit_fd_is_readable_from_the_exit_on() {
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
        await_zombie(child.id()); // It is not reaped yet.
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(readable(&exit, 0));
    }
}

/// The handle is dropped or released while the child still runs.
#[test]
fn exit_fd_outlives_its_handle() {
    let closers: [fn(PidHandle); 2] = [drop, |handle| handle.release().unwrap()];
    for backend in backends() {
        for close in closers {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            close(handle);
            assert!(!readable(&exit, 20));
            drop(stdin);
            assert!(readable(&exit, LONG));
            assert_eq!(reap_externally(child.id()), 3 << 8);
            assert!(readable(&exit, 0));
        }
    }
}

/// The watcher of a process that was stopped does not rest for twenty times as long as the stop.
#[cfg(target_os = "linux")]
#[test]
fn exit_fd_of_non_child_is_readable_soon_after_a_check_that_was_held_up() {
    let test = "exit_fd::exit_fd_of_non_child_is_readable_soon_after_a_check_that_was_held_up";
    if !enter_preloaded(test, "interposed.c") {
        return;
    }
    let mut non_child = NonChild::new();
    let handle = PidHandle::open_with(non_child.pid, Backend::Waitpid).unwrap();
    let exit = handle.exit_fd().unwrap();
    hold_up_a_check();
    non_child.finish();
    assert!(readable(&exit, 10_000), "it rested");
}

#[test]
fn exit_fd_of_non_child_outlives_its_handle() {
    let closers: [fn(PidHandle); 2] = [drop, |handle| handle.release().unwrap()];
    for backend in backends() {
        for close in closers {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            close(handle);
            assert!(!readable(&exit, 20));
            assert_eq!(non_child.finish(), Some(7));
            assert!(readable(&exit, LONG));
        }
    }
}

/// Descriptors that are dropped before the exit do not affect later ones.
#[test]
fn exit_fd_can_be_requested_repeatedly() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for _ in 0..3 {
            let exit = handle.exit_fd().unwrap();
            let clone = exit.clone();
            assert_eq!(exit.as_raw_fd(), exit.as_fd().as_raw_fd());
            assert_eq!(exit.as_raw_fd(), clone.as_raw_fd());
            drop(exit);
            assert!(!readable(&clone, 1));
        }
        let exit = handle.exit_fd().unwrap();
        drop(stdin);
        assert!(readable(&exit, LONG));
    }
}

#[test]
fn exit_fd_of_non_child_is_readable_after_its_exit() {
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

/// Once a wait has returned, the descriptor is readable and a set reports the exit at once, even if the
/// watcher has not run yet.
#[test]
fn exit_fd_is_readable_as_soon_as_a_wait_has_returned() {
    for backend in backends() {
        for _ in 0..rounds(200) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            let mut set = WaitSet::new().unwrap();
            set.insert(handle.clone(), ()).unwrap();
            handle.kill().unwrap();
            handle.wait().unwrap();
            assert!(readable(&exit, 0));
            assert!(set.wait_timeout(Duration::ZERO).unwrap().is_some());
        }
    }
}
