//! The calls that a program lives on, in short, for circumstances in which they might not work.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::thread;

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{Backend, ChildExt, PidHandle};

use super::{
    drop_privileges, errno, is_root, reap_externally, sh, sleep, sleeper, zombie, UNPRIVILEGED_UID,
};

/// Handles and `ChildExt` give their answers, and handles by the backend that there is.
pub(crate) fn check_core_calls(backend: Backend) {
    let child = sleeper();
    check_running_child(backend, &PidHandle::open(child.id()).expect("it is there"));
    check_running_child(backend, &PidHandle::from(sleeper()));

    let kept = PidHandle::from(zombie("exit 3"));
    kept.signal(SIGTERM)
        .expect("a zombie, as far as one can tell");
    assert_eq!(kept.wait().expect("kept").code(), Some(3));
    assert_eq!(errno(kept.wait()), ECHILD);

    check_groups();

    let mut child = sleeper();
    assert_eq!(child.pidfd_try_wait().expect("it runs"), None);
    child.pidfd_signal(0).expect("it runs");
    child.pidfd_signal(SIGTERM).expect("it runs");
    let status = child.pidfd_wait().expect("its status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(child.wait().expect("std's"), status);
    assert_eq!(errno(child.pidfd_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
    assert_eq!(
        sh("exit 4").pidfd_wait().expect("its status").code(),
        Some(4)
    );
}

/// The life of one handle, of a child that runs.
fn check_running_child(backend: Backend, handle: &PidHandle) {
    assert_eq!(handle.backend(), backend);
    assert_eq!(handle.try_wait().expect("it runs"), None);
    handle.signal(0).expect("it runs");
    handle.signal(SIGTERM).expect("it runs");
    let status = handle.wait().expect("its status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(handle.exit_status(), Some(status));
    assert_eq!(errno(handle.wait()), ECHILD);
    assert_eq!(errno(handle.signal(0)), ECHILD);
    handle.release().expect("always");

    let other = PidHandle::open(std::process::id()).expect("it is there");
    other.release().expect("always");
    assert_eq!(errno(other.signal(0)), EINVAL);
}

fn check_groups() {
    let lead = || sleep().process_group(0).spawn().expect("sleep starts");
    let leader = PidHandle::from(lead());
    leader.signal_group(SIGTERM).expect("it runs");
    assert_eq!(leader.wait().expect("its status").signal(), Some(SIGTERM));
    assert_eq!(errno(leader.signal_group(0)), ECHILD);

    let lonely = PidHandle::from(sleeper());
    assert_eq!(errno(lonely.signal_group(SIGTERM)), EINVAL);
    assert_eq!(lonely.try_wait().expect("it runs"), None);

    let reaped_externally = PidHandle::open(lead().id()).expect("it is there");
    reaped_externally.kill().expect("it runs");
    assert_eq!(reap_externally(reaped_externally.id()), SIGKILL);
    assert_eq!(errno(reaped_externally.signal_group(SIGTERM)), ECHILD);

    if is_root() {
        check_group_of_two_users(&PidHandle::from(lead()));
    }
}

/// Of a group whose leader one may not signal, those are signalled that one may.
fn check_group_of_two_users(leader: &PidHandle) {
    let group = i32::try_from(leader.id()).expect("a pid");
    let mut member = sleep();
    let member = member.process_group(group).uid(UNPRIVILEGED_UID).spawn();
    let member = PidHandle::from(member.expect("sleep starts"));
    thread::scope(|scope| {
        scope.spawn(|| {
            drop_privileges();
            leader.signal_group(SIGTERM).expect("one of the two");
        });
    });
    assert_eq!(member.wait().expect("its status").signal(), Some(SIGTERM));
    assert_eq!(leader.try_wait().expect("it runs"), None);
}
