//! Signals, and the statuses that they make.

use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread;

use crate::common::isolated::enter;
use crate::common::{
    await_zombie, backends, drop_privileges, errno, exists, fatal_signals, is_root, may_signal,
    reap_externally, reset_signal_actions, shell, skip, sleeper, state_of, status_of_zombie,
    zombie,
};
use nix::libc::{self, c_int, ECHILD, EINVAL, EPERM, SIGKILL, SIGTERM};
use pidwait::{ChildExt, PidHandle};

/// What is no signal on any system.
const NO_SIGNALS: [c_int; 5] = [-1, 65_000, 1 << 20, c_int::MAX, c_int::MIN];

/// A child that any fatal signal ends, so as the system has it.
fn mortal() -> Child {
    let mut command = shell("exec sleep 600");
    reset_signal_actions(&mut command);
    command.spawn().unwrap()
}

/// Row: a status by any way to die, real-time signals included: nix's own wait would lose those.
#[test]
fn every_signal_that_kills() {
    for backend in backends() {
        for signal in fatal_signals() {
            let child = mortal();
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

/// The same by `try_wait`, by `ChildExt`, and for a zombie that becomes a handle.
#[test]
fn every_signal_by_every_other_wait() {
    for signal in fatal_signals() {
        let dead = || {
            let child = mortal();
            child.pidfd_signal(signal).unwrap();
            await_zombie(child.id());
            let expected = status_of_zombie(child.id());
            assert_eq!(expected.signal(), Some(signal));
            (child, Some(expected))
        };
        for backend in backends() {
            let (child, expected) = dead();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            assert_eq!(handle.try_wait().unwrap(), expected);
        }
        let (mut child, expected) = dead();
        assert_eq!(child.pidfd_wait().ok(), expected);
        assert_eq!(child.wait().ok(), expected, "std's, too");
        let (child, expected) = dead();
        assert_eq!(PidHandle::from(child).wait().ok(), expected);
    }
}

/// Core dumps included: the bit that says so is told, where the system lets one be written.
#[test]
fn a_core_dump() {
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
            skip("no core is dumped here");
        }
        assert_eq!(handle.wait().unwrap(), expected);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Row: `signal`, running or zombie. The zombie's status stays as it was.
#[test]
fn running_or_zombie() {
    for backend in backends() {
        let running = sleeper();
        let handle = PidHandle::open_with(running.id(), backend).unwrap();
        handle.signal(0).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.signal(SIGTERM).unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));

        let dead = zombie("exit 6");
        let handle = PidHandle::open_with(dead.id(), backend).unwrap();
        handle.signal(0).unwrap();
        handle.signal(SIGTERM).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(6));
    }
}

/// Row: `signal` once reaped by anyone: by its own wait, or by somebody else's.
#[test]
fn once_reaped() {
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

/// Row: no such signal. Nothing is sent, and the handle is as live as it was.
#[test]
fn no_such_signal() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        for signal in NO_SIGNALS.into_iter().chain([libc::SIGRTMAX() + 1]) {
            assert_eq!(errno(handle.signal(signal)), EINVAL, "signal {signal}");
            assert_eq!(errno(child.pidfd_signal(signal)), EINVAL, "signal {signal}");
        }
        assert!(exists(child.id()));
        assert_ne!(state_of(child.id()), Some('Z'));
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// Row: no permission. Alone, because a thread that gives up root's rights changes what the rest
/// of its process may look at.
#[test]
fn no_permission() {
    if !enter("signal::no_permission") {
        return;
    }
    if !is_root() {
        return not_of_somebody_elses_process();
    }
    thread::spawn(|| {
        drop_privileges();
        not_of_somebody_elses_process();
    })
    .join()
    .unwrap();
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                let again = PidHandle::open_with(child.id(), backend).unwrap();
                for handle in [&handle, &again] {
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

/// pid 1 is root's, and to others says EPERM, even if they only ask. That is no reason to think
/// that it is not there.
fn not_of_somebody_elses_process() {
    if may_signal(1) {
        return skip("pid 1 is not somebody else's");
    }
    for backend in backends() {
        let init = PidHandle::open_with(1, backend).unwrap();
        for _ in 0..2 {
            assert_eq!(errno(init.signal(0)), EPERM);
            assert_eq!(errno(init.wait()), ECHILD);
        }
    }
}
