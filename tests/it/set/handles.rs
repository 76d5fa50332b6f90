//! What becomes of handles that others use while the set has them, and when the set goes.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use pidwait::{PidHandle, WaitSet};

use super::{handle, next};
use crate::common::{
    backends, errno, has_exit_records, reap_externally, sh, shell, sleeper, zombie,
};
use nix::libc::{EINVAL, SIGKILL};

/// What the set says of a child that came to its end in this way, once and no more.
#[track_caller]
fn reported_once(handle: PidHandle, meanwhile: impl FnOnce(&PidHandle)) -> Option<ExitStatus> {
    let mut set = WaitSet::new().unwrap();
    let key = set.insert(handle, "value").unwrap();
    meanwhile(set.get(key).unwrap().0);
    let exited = next(&mut set);
    assert_eq!((exited.key, exited.value), (key, "value"));
    assert_eq!(exited.status, exited.handle.exit_status());
    assert!(set.get(key).is_none());
    assert!(set.wait().unwrap().is_none());
    exited.status
}

#[test]
fn waited_for() {
    for backend in backends() {
        let child = handle(sh("exit 3"), backend);
        let status = reported_once(child, |child| {
            assert_eq!(child.wait().unwrap().code(), Some(3));
        });
        assert_eq!(status.unwrap().code(), Some(3));
    }
}

#[test]
fn killed() {
    for backend in backends() {
        let status = reported_once(handle(sleeper(), backend), |child| child.kill().unwrap());
        assert_eq!(status.unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn killed_one_and_all() {
    let mut set = WaitSet::new().unwrap();
    for backend in backends() {
        for _ in 0..3 {
            set.insert(handle(sleeper(), backend), ()).unwrap();
        }
    }
    for (_, child, ()) in set.iter() {
        child.kill().unwrap();
    }
    for _ in 0..set.len() {
        assert_eq!(next(&mut set).status.unwrap().signal(), Some(SIGKILL));
    }
    assert!(set.wait().unwrap().is_none());
}

/// The set has a descriptor of its own, and so learns of the exit; but nobody may reap any more.
#[test]
fn released() {
    for backend in backends() {
        let mut child = shell("read go; exit 3")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, gate) = (child.id(), child.stdin.take());
        let status = reported_once(handle(child, backend), |child| {
            child.release().unwrap();
            assert_eq!(errno(child.try_wait()), EINVAL);
            drop(gate);
        });
        assert_eq!(status, None);
        assert_eq!(reap_externally(pid), 3 << 8, "it was left to be reaped");
    }
}

#[test]
fn released_as_a_zombie() {
    for backend in backends() {
        let child = zombie("exit 3");
        let pid = child.id();
        let status = reported_once(handle(child, backend), |child| child.release().unwrap());
        assert_eq!(status, None);
        assert_eq!(reap_externally(pid), 3 << 8, "it was left to be reaped");
    }
}

#[test]
fn reaped_externally() {
    for backend in backends() {
        let child = sh("exit 3");
        let pid = child.id();
        let status = reported_once(handle(child, backend), |_| {
            reap_externally(pid);
        });
        let code = status.and_then(|status| status.code());
        assert_eq!(code, has_exit_records(backend).then_some(3));
    }
}

#[test]
fn a_set_that_is_dropped_reaps_and_kills_nothing() {
    for backend in backends() {
        let zombies = [zombie("exit 3"), zombie("exit 3")];
        let pids = [zombies[0].id(), zombies[1].id()];
        let mut alive = shell("read go; exit 5")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, gate) = (alive.id(), alive.stdin.take());
        let mut set = WaitSet::new().unwrap();
        for child in zombies {
            set.insert(handle(child, backend), ()).unwrap();
        }
        set.insert(handle(alive, backend), ()).unwrap();
        let reported = next(&mut set).handle.id();
        drop(set);
        let left = pids.into_iter().find(|&pid| pid != reported).unwrap();
        assert_eq!(reap_externally(left), 3 << 8);
        drop(gate);
        assert_eq!(reap_externally(pid), 5 << 8, "it came to its own end");
    }
}
