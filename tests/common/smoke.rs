//! A short check of the main calls, for tests that restrict the process: by seccomp filters, or by
//! a lack of file descriptors.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::thread;
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{Backend, ChildExt, PidHandle, Spawned};

use super::{assert_leads_no_group, errno, reap_externally, sh, sleep, sleeper, zombie};
#[cfg(target_os = "linux")]
use super::{drop_privileges, is_root, UNPRIVILEGED_UID};

/// Checks the results of handles, which must use this backend, and of `ChildExt`.
pub(crate) fn check_core_calls(backend: Backend) {
    let child = sleeper();
    check_running_child(backend, &PidHandle::open(child.id()).expect("open"));
    check_running_child(backend, &Spawned::from(sleeper()).handle);

    let reaped_early = Spawned::from(zombie("exit 3")).handle;
    let sent = reaped_early.signal(SIGTERM);
    sent.expect("it behaves like a zombie");
    let status = reaped_early.wait().expect("the stored status");
    assert_eq!(status.code(), Some(3));
    assert_eq!(errno(reaped_early.wait()), ECHILD);

    check_groups();

    let mut child = sleeper();
    assert_eq!(child.pidfd_try_wait().expect("the child runs"), None);
    child.pidfd_signal(0).expect("the child runs");
    child.pidfd_signal(SIGTERM).expect("the child runs");
    let status = child.pidfd_wait().expect("the status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(child.wait().expect("std has the status"), status);
    assert_eq!(errno(child.pidfd_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
    assert_eq!(
        sh("exit 4").pidfd_wait().expect("the status").code(),
        Some(4)
    );
}

/// Checks one handle for a running child, from open to release.
fn check_running_child(backend: Backend, handle: &PidHandle) {
    assert_eq!(handle.backend(), backend);
    assert_eq!(handle.try_wait().expect("the child runs"), None);
    handle.signal(0).expect("the child runs");
    assert!(!handle.has_exited().expect("the child runs"));
    let timeout = Duration::from_millis(1);
    assert_eq!(handle.wait_timeout(timeout).expect("the child runs"), None);
    handle.signal(SIGTERM).expect("the child runs");
    let status = handle.wait().expect("the status");
    assert_eq!(status.signal(), Some(SIGTERM));
    assert_eq!(handle.exit_status(), Some(status));
    assert_eq!(errno(handle.wait()), ECHILD);
    assert_eq!(errno(handle.signal(0)), ECHILD);
    handle.release().expect("release");

    let other = PidHandle::open(std::process::id()).expect("open");
    other.release().expect("release");
    assert_eq!(errno(other.signal(0)), EINVAL);
}

fn check_groups() {
    let lead = || sleep().process_group(0).spawn().expect("sleep starts");
    let leader = PidHandle::open(lead().id()).expect("open");
    let group = leader.process_group().expect("it leads a group");
    group.signal(SIGTERM).expect("the child runs");
    let status = leader.wait().expect("the status");
    assert_eq!(status.signal(), Some(SIGTERM));
    group.signal(0).expect("the group keeps the zombie");
    drop(group);
    assert_eq!(errno(leader.process_group()), ECHILD);

    let non_leader = Spawned::from(sleeper());
    assert!(non_leader.group.is_none());
    assert_leads_no_group(non_leader.handle.process_group(), non_leader.handle.id());
    assert_eq!(non_leader.handle.try_wait().expect("the child runs"), None);

    let reaped_externally = PidHandle::open(lead().id()).expect("open");
    reaped_externally.kill().expect("the child runs");
    assert_eq!(reap_externally(reaped_externally.id()), SIGKILL);
    assert_eq!(errno(reaped_externally.process_group()), ECHILD);

    #[cfg(target_os = "linux")]
    if is_root() {
        check_group_of_two_users(&Spawned::from(lead()).handle);
    }
}

/// Checks a group whose leader the caller may not signal: the other member is still signalled.
#[cfg(target_os = "linux")]
fn check_group_of_two_users(leader: &PidHandle) {
    let group = i32::try_from(leader.id()).expect("a PID");
    let mut member = sleep();
    let member = member.process_group(group).uid(UNPRIVILEGED_UID).spawn();
    let member = Spawned::from(member.expect("sleep starts")).handle;
    thread::scope(|scope| {
        scope.spawn(|| {
            drop_privileges();
            let group = leader.process_group().expect("it leads a group");
            group.signal(SIGTERM).expect("one member may be signalled");
        });
    });
    assert_eq!(member.wait().expect("the status").signal(), Some(SIGTERM));
    assert_eq!(leader.try_wait().expect("the child runs"), None);
}
