//! `signal` and `kill`, and the wait statuses of killed children.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;

#[cfg(target_os = "linux")]
use crate::common::drop_privileges;
use crate::common::isolated::enter;
use crate::common::{
    await_zombie, backends, errno, exists, fatal_signals, is_root, last_signal, may_signal,
    reap_externally, reset_signal_actions, shell, skip, sleep, sleeper, state_of, status_of_zombie,
    zombie,
};
use nix::libc::{c_int, ECHILD, EINVAL, EPERM, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle, Spawned};

/// Numbers that are not signals on any system.
const INVALID_SIGNALS: [c_int; 5] = [-1, 65_000, 1 << 20, c_int::MAX, c_int::MIN];

/// Starts a child that every fatal signal kills. Not a shell that becomes `sleep`: a shell can ignore
/// SIGQUIT until then.
fn killable() -> Child {
    let mut command = sleep();
    reset_signal_actions(&mut command);
    command.spawn().unwrap()
}

/// Includes real-time signals, whose status nix's `waitpid` cannot represent.
#[test]
fn wait_returns_every_fatal_signal() {
    for backend in backends() {
        for signal in fatal_signals() {
            let child = killable();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.signal(signal).unwrap();
            await_zombie(child.id());
            let expected = status_of_zombie(child.id());
            let status = handle.wait().unwrap();
            assert_eq!(status, expected, "signal {signal}");
            assert_eq!(status.signal(), Some(signal));
            assert_eq!(handle.exit_status(), Some(expected));
        }
    }
}

/// The other ways to get a status: `try_wait`, `ChildExt` and a handle made from a zombie.
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

/// The status of the zombie does not change.
#[test]
fn signal_to_running_child_or_zombie_succeeds() {
    for backend in backends() {
        let running = sleeper();
        let handle = PidHandle::open_with(running.id(), backend).unwrap();
        handle.signal(0).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.signal(SIGTERM).unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));

        let zombie = zombie("exit 6");
        let handle = PidHandle::open_with(zombie.id(), backend).unwrap();
        handle.signal(0).unwrap();
        handle.signal(SIGTERM).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(6));
    }
}

/// The handle or other code has reaped the child.
#[test]
fn signal_after_reap_fails_with_echild() {
    for backend in backends() {
        let child = zombie("exit 0");
        let waited = PidHandle::open_with(child.id(), backend).unwrap();
        waited.wait().unwrap();
        let child = zombie("exit 0");
        let reaped_externally = PidHandle::open_with(child.id(), backend).unwrap();
        reap_externally(child.id());
        for handle in [waited, reaped_externally] {
            assert_eq!(errno(handle.signal(0)), ECHILD);
            assert_eq!(errno(handle.signal(SIGTERM)), ECHILD);
            assert_eq!(errno(handle.kill()), ECHILD);
        }
    }
}

/// Nothing is sent, and the handle stays live.
#[test]
fn invalid_signal_fails_with_einval() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for signal in INVALID_SIGNALS.into_iter().chain([last_signal() + 1]) {
            assert_eq!(errno(handle.signal(signal)), EINVAL, "signal {signal}");
            assert_eq!(errno(child.pidfd_signal(signal)), EINVAL, "signal {signal}");
        }
        assert!(exists(child.id()));
        assert_ne!(state_of(child.id()), Some('Z'));
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
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
