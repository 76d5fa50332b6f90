//! `signal` and `kill`, and the wait statuses of killed children.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;

#[cfg(target_os = "linux")]
use crate::common::drop_privileges;
use crate::common::isolated::enter;
use crate::common::{
    await_zombie, backends, errno, fatal_signals, is_root, may_signal, reset_signal_actions, shell,
    skip, sleep, sleeper, status_of_zombie,
};
use nix::libc::{ECHILD, EPERM, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle, Spawned};

/// Starts a child that every fatal signal kills. Not a shell that becomes `sleep`: a shell can ignore
/// SIGQUIT until then.
fn killable() -> Child {
    let mut command = sleep();
    reset_signal_actions(&mut command);
    command.spawn().unwrap()
}

/// Includes real-time signals, whose status nix's `waitpid` cannot represent. Tested with `wait`,
/// `try_wait`, `ChildExt` and a handle made from a zombie.
#[test]
fn every_wait_returns_every_fatal_signal() {
    for signal in fatal_signals() {
        let killed = || {
            let child = killable();
            child.pidfd_signal(signal).unwrap();
            await_zombie(child.id());
            let expected = status_of_zombie(child.id());
            assert_eq!(expected.signal(), Some(signal));
            (child, Some(expected))
        };
        for backend in backends() {
            let child = killable();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.signal(signal).unwrap();
            await_zombie(child.id());
            let expected = status_of_zombie(child.id());
            assert_eq!(expected.signal(), Some(signal));
            assert_eq!(handle.wait().unwrap(), expected, "signal {signal}");
            assert_eq!(handle.exit_status(), Some(expected));

            let (child, expected) = killed();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            assert_eq!(handle.try_wait().unwrap(), expected);
        }
        let (mut child, expected) = killed();
        assert_eq!(child.pidfd_wait().ok(), expected);
        assert_eq!(child.wait().ok(), expected, "std has it, too");
        let (child, expected) = killed();
        assert_eq!(Spawned::from(child).handle.wait().ok(), expected);
    }
}

/// Tested only if the system writes a core file.
#[test]
fn wait_returns_the_core_dump_bit() {
    let folder = std::env::temp_dir().join(format!("pidwait-core-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for backend in backends() {
        let child = shell("ulimit -c unlimited; kill -ABRT $$")
            .current_dir(&folder)
            .spawn()
            .unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        await_zombie(child.id());
        let expected = status_of_zombie(child.id());
        if !expected.core_dumped() {
            skip("no core dump on this system");
        }
        assert_eq!(handle.wait().unwrap(), expected);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Isolated, because a thread that drops its privileges makes the whole process non-dumpable, and
/// then /proc can hide its files from the other tests.
#[cfg(target_os = "linux")]
#[test]
fn signal_without_permission_fails_with_eperm() {
    if !enter("signal::signal_without_permission_fails_with_eperm") {
        return;
    }
    if !is_root() {
        return assert_eperm_for_init();
    }
    thread::spawn(|| {
        drop_privileges();
        assert_eperm_for_init();
    })
    .join()
    .unwrap();
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                let opened_here = PidHandle::open_with(child.id(), backend).unwrap();
                for handle in [&handle, &opened_here] {
                    assert_eq!(errno(handle.signal(0)), EPERM);
                    assert_eq!(errno(handle.kill()), EPERM);
                }
                assert_eq!(errno(child.pidfd_signal(SIGKILL)), EPERM);
            });
        });
        handle.signal(SIGTERM).unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));
    }
}

/// Asserts that signals to PID 1, which belongs to root, fail with EPERM, even signal 0. The handle
/// must not treat that as the exit of the process.
#[cfg(target_os = "linux")]
fn assert_eperm_for_init() {
    if may_signal(1) {
        return skip("this user may signal PID 1");
    }
    for backend in backends() {
        let init = PidHandle::open_with(1, backend).unwrap();
        for _ in 0..2 {
            assert_eq!(errno(init.signal(0)), EPERM);
            assert_eq!(errno(init.wait()), ECHILD);
        }
    }
}
