//! SIGCHLD ignored: the kernel reaps every child at its exit, and throws its status away. A binary
//! of its own, because that holds for all children of a process.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::Duration;

use common::{
    await_gone, backends, blocked_on_stdin, errno, exists, ignore_sigchld, kernel, kill, readable,
    sleeper, while_asleep, Waiter, LONG,
};
use nix::libc::{ECHILD, SIGKILL};
use pidwait::{Backend, ChildExt, KillOnDrop, PidHandle};

/// A child that is dead, and that nobody can reap.
fn gone() -> Child {
    let child = sleeper();
    kill(child.id(), SIGKILL);
    await_gone(child.id());
    child
}

/// The kernel's record, where it is kept: here no child's status can be had to ask whether it is.
fn recorded(handle: &PidHandle, status: ExitStatus) {
    match handle.exit_status() {
        Some(record) => assert_eq!(record, status),
        None => assert!(handle.backend() == Backend::Waitpid || kernel() < (6, 15)),
    }
}

fn exit_code(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

/// Row: SIGCHLD ignored: ECHILD, and not before the exit for one that blocks.
#[test]
fn handles() {
    ignore_sigchld();
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None, "it runs, and is ours");
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            assert!(!waiter.is_finished());
            handle.kill().unwrap();
            assert_eq!(errno(waiter.join()), ECHILD);
        });
        assert!(!exists(child.id()));
        for _ in 0..2 {
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
            assert_eq!(errno(handle.kill()), ECHILD);
        }
        if backend == Backend::Waitpid {
            assert_eq!(handle.exit_status(), None);
        }
    }
}

/// The same at once for one that has exited, and for handles that were opened too late.
#[test]
fn handles_of_what_has_exited() {
    ignore_sigchld();
    for backend in backends() {
        let child = sleeper();
        let early = PidHandle::open_with(child.id(), backend).unwrap();
        kill(child.id(), SIGKILL);
        await_gone(child.id());
        let late = PidHandle::open_with(child.id(), backend).unwrap();
        for handle in [early, late, PidHandle::from(gone())] {
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
        }
    }
}

/// The same for the trait, which as std's own wait has nothing to tell.
#[test]
fn children() {
    ignore_sigchld();
    let mut child = sleeper();
    let pid = child.id();
    assert_eq!(child.pidfd_try_wait().unwrap(), None);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        assert!(!waiter.is_finished());
        kill(pid, SIGKILL);
        assert_eq!(errno(waiter.join()), ECHILD);
    });
    for mut child in [child, gone()] {
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
        assert_eq!(errno(child.wait()), ECHILD);
    }
}

#[test]
fn seen_to_exit_and_its_status_in_the_record() {
    ignore_sigchld();
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        assert!(!handle.has_exited().unwrap());
        assert_eq!(handle.exit_status(), None);
        assert!(!readable(&exit, 20));

        while_asleep(|| handle.wait_exited(), || drop(stdin)).unwrap();
        assert!(readable(&exit, LONG));
        assert!(handle.has_exited().unwrap());
        await_gone(child.id());
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.wait_timeout(Duration::MAX)), ECHILD);
        assert_eq!(errno(handle.wait_usage()), ECHILD);
        assert_eq!(errno(handle.signal(0)), ECHILD);
        assert!(handle.has_exited().unwrap());
        recorded(&handle, exit_code(3));
    }
}

/// With a limit and without, the end of the child ends it, though there is nothing to be had.
#[test]
fn a_wait_under_way_ends() {
    ignore_sigchld();
    for backend in backends() {
        for limit in [None, Some(Duration::MAX)] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            assert_eq!(handle.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            let wait = || match limit {
                None => handle.wait().map(Some),
                Some(limit) => handle.wait_timeout(limit),
            };
            assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);
            recorded(&handle, exit_code(3));
        }
    }
    let (mut child, stdin) = blocked_on_stdin();
    let wait = || child.pidfd_wait_timeout(Duration::MAX);
    assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);

    let (child, stdin) = blocked_on_stdin();
    let handle = PidHandle::from(child);
    let wait = || handle.wait_timeout(Duration::MAX);
    assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);
    recorded(&handle, exit_code(3));
}

/// It has ended as asked, and nobody can say how but the record.
#[test]
fn ended_by_a_handle() {
    ignore_sigchld();
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        assert_eq!(errno(handle.terminate(Duration::MAX)), ECHILD);
        assert!(handle.has_exited().unwrap());

        let child = sleeper();
        let twin = PidHandle::open_with(child.id(), backend).unwrap();
        drop(KillOnDrop::new(
            PidHandle::open_with(child.id(), backend).unwrap(),
        ));
        assert!(twin.has_exited().unwrap());
        recorded(&twin, ExitStatus::from_raw(SIGKILL));
    }
}
