//! With SIGCHLD ignored the kernel reaps every child at its exit and discards the status. A separate
//! binary, because this affects all children of a process.

// Some imports are only for tests of Linux.
#![cfg_attr(not(target_os = "linux"), allow(unused_imports))]

mod common;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use common::{
    await_gone, backends, blocked_on_stdin, errno, exists, ignore_sigchld, kernel, kill, line,
    readable, shell, sleeper, while_asleep, Waiter, LONG,
};
use nix::libc::{ECHILD, SIGKILL, SIGTERM};
use pidwait::{
    is_echild, Backend, Capture, CaptureError, Captured, ChildExt, KillOnDrop, PidHandle, Spawned,
};

/// A child that has exited and was reaped by the kernel.
fn gone() -> Child {
    let child = sleeper();
    kill(child.id(), SIGKILL);
    await_gone(child.id());
    child
}

/// Asserts that `exit_status` returns the kernel's record where the kernel keeps one. Checks the kernel
/// version, because with SIGCHLD ignored `common::has_exit_records` cannot try it.
fn assert_recorded(handle: &PidHandle, status: ExitStatus) {
    match handle.exit_status() {
        Some(record) => assert_eq!(record, status),
        None => assert!(handle.backend() == Backend::Waitpid || kernel() < (6, 15)),
    }
}

fn exit_code(code: i32) -> ExitStatus {
    ExitStatus::from_raw(code << 8)
}

/// docs/contract.md, SIGCHLD ignored: a blocking wait fails with ECHILD, but not before the exit.
#[test]
fn wait_of_a_handle_fails_with_echild_at_the_exit() {
    ignore_sigchld();
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None, "a running child");
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

/// Also for handles that were opened after the exit.
#[test]
fn calls_after_the_exit_fail_with_echild() {
    ignore_sigchld();
    for backend in backends() {
        let child = sleeper();
        let early = PidHandle::open_with(child.id(), backend).unwrap();
        kill(child.id(), SIGKILL);
        await_gone(child.id());
        let late = PidHandle::open_with(child.id(), backend).unwrap();
        for handle in [early, late, Spawned::from(gone()).handle] {
            assert_eq!(errno(handle.try_wait()), ECHILD);
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
        }
    }
}

/// As std's own wait does.
#[test]
fn child_ext_fails_with_echild_at_the_exit() {
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
fn the_exit_is_seen_and_its_status_is_in_the_record() {
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
        assert_recorded(&handle, exit_code(3));
    }
}

/// With and without timeout, although the wait has no status to return.
#[test]
fn the_exit_ends_a_blocked_wait() {
    ignore_sigchld();
    for backend in backends() {
        for timeout in [None, Some(Duration::MAX)] {
            let (child, stdin) = blocked_on_stdin();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            assert_eq!(handle.wait_timeout(Duration::from_millis(1)).unwrap(), None);
            let wait = || match timeout {
                None => handle.wait().map(Some),
                Some(timeout) => handle.wait_timeout(timeout),
            };
            assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);
            assert_recorded(&handle, exit_code(3));
        }
    }
    let (mut child, stdin) = blocked_on_stdin();
    let wait = || child.pidfd_wait_timeout(Duration::MAX);
    assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);

    let (child, stdin) = blocked_on_stdin();
    let handle = Spawned::from(child).handle;
    let wait = || handle.wait_timeout(Duration::MAX);
    assert_eq!(errno(while_asleep(wait, || drop(stdin))), ECHILD);
    assert_recorded(&handle, exit_code(3));
}

/// Only the kernel's record has the status.
#[test]
fn terminate_and_kill_on_drop_end_the_process() {
    ignore_sigchld();
    for backend in backends() {
        let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
        match handle.terminate(Duration::MAX) {
            Ok(status) => assert_eq!(status.signal(), Some(SIGTERM)),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(ECHILD));
                assert!(backend == Backend::Waitpid || kernel() < (6, 15));
            }
        }
        assert!(handle.has_exited().unwrap());

        let child = sleeper();
        let second = PidHandle::open_with(child.id(), backend).unwrap();
        drop(KillOnDrop::new(
            PidHandle::open_with(child.id(), backend).unwrap(),
        ));
        second.wait_exited().unwrap();
        assert_recorded(&second, ExitStatus::from_raw(SIGKILL));
    }
}

/// The output is not lost. Nor is the status, if the kernel has a record of it.
#[test]
fn capture_keeps_the_output() {
    ignore_sigchld();
    let check = |result: Result<Captured, CaptureError>, backend| match result {
        Ok(captured) => {
            assert_eq!(captured.status, Some(exit_code(3)));
            assert_eq!(captured.stdout, b"hi\n");
            assert!(captured.stopped_by.is_none() && !captured.leaked);
        }
        Err(failed) => {
            assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
            assert_eq!(failed.stdout, b"hi\n");
            assert!(backend == Backend::Waitpid || kernel() < (6, 15));
        }
    };
    let command = |stdin| {
        let mut command = shell("echo hi; read go; exit 3");
        command.stdin(stdin).stdout(Stdio::piped());
        command
    };
    let gate = || {
        let (gate, opener) = UnixStream::pair().unwrap();
        (Stdio::from(OwnedFd::from(gate)), opener)
    };
    for backend in backends() {
        let (stdin, opener) = gate();
        let mut spawned = PidHandle::spawn(&mut command(stdin)).unwrap();
        spawned.handle = PidHandle::open_with(spawned.handle.id(), backend).unwrap();
        let capture = Capture::new().timeout(Duration::MAX);
        check(
            while_asleep(|| capture.run(&mut spawned), || drop(opener)),
            backend,
        );
    }
    let (stdin, opener) = gate();
    let mut child = command(stdin).spawn().unwrap();
    let timeout = Duration::MAX;
    let captured = while_asleep(|| child.pidfd_output_timeout(timeout), || drop(opener));
    check(captured, pidwait::support().unwrap().backend());

    // The child is gone before the call.
    let (stdin, opener) = gate();
    let mut child = command(stdin).spawn().unwrap();
    drop(opener);
    await_gone(child.id());
    let failed = child.pidfd_output_timeout(timeout).unwrap_err();
    assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
    assert_eq!(failed.stdout, b"hi\n");
}

/// Ending a child that the kernel reaps.
#[test]
fn capture_ends_the_child_at_the_timeout() {
    ignore_sigchld();
    let capture = Capture::new().timeout(Duration::from_millis(20));
    for capture in [capture.clone(), capture.terminate_on_timeout(Duration::MAX)] {
        let mut command = shell("exec sleep 600");
        match capture.output(&mut command) {
            Ok(captured) => assert!(captured.stopped_by.is_some() && captured.status.is_some()),
            Err(failed) => assert_eq!(failed.error.raw_os_error(), Some(ECHILD)),
        }
    }
}

/// The kernel reaps the leader at its exit. By PID the group cannot be signalled after that, but each member
/// that was seen before.
#[cfg(target_os = "linux")]
#[test]
fn end_of_a_group_ends_the_members_that_it_saw() {
    ignore_sigchld();
    let script = "sh -c 'trap \"\" TERM; echo ready; exec sleep 600' & wait";
    for backend in backends() {
        let mut command = shell(script);
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        match group.terminate(Duration::from_millis(200)) {
            Ok(status) => assert_eq!(status.signal(), Some(SIGTERM)), // From the kernel's record.
            Err(error) => assert!(is_echild(&error), "{error}"),
        }
        assert!(!common::has_living_member(child.id()), "the member runs on");
    }
}
