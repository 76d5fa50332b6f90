//! Groups of zombies on a system like macOS, by a preloaded library.

use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, EPERM, SIGKILL};
use nix::sys::signal;
use nix::unistd::Pid;
use pidwait::{ChildExt, KillOnDrop, PidHandle};

use super::leader;
use crate::common::preload::enter_preloaded;
use crate::common::{await_zombie, backends, errno};

/// `getpgid` of a zombie fails with ESRCH there, and signalling a group of zombies with EPERM.
#[test]
fn group_of_a_zombie_leader_can_be_signalled_as_on_macos() {
    let test =
        "process_group::other_systems::group_of_a_zombie_leader_can_be_signalled_as_on_macos";
    if !enter_preloaded(test, "xnu.c") {
        return;
    }
    for backend in backends() {
        let (child, members) = leader();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        group.signal(0).unwrap();
        group.signal(SIGKILL).unwrap();
        members.await_end();
        group.wait_exited().unwrap();

        // Not `killpg`, which the library does not replace.
        let group_id = Pid::from_raw(-i32::try_from(child.id()).unwrap());
        let sent = signal::kill(group_id, None).map_err(Into::into);
        assert_eq!(errno(sent), EPERM, "the library is not in use");
        group.signal(SIGKILL).unwrap();
        assert_eq!(errno(group.signal(1000)), EINVAL);
        assert!(group.has_exited().unwrap());
        let status = group.terminate(Duration::ZERO).unwrap();
        assert_eq!(status.code(), Some(3));
        group.signal(0).unwrap();
        drop(group);
        assert_eq!(errno(handle.process_group()), ECHILD);

        let (child, members) = leader();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        drop(KillOnDrop::new(handle.process_group().unwrap()));
        members.await_end();
    }
    let (mut child, members) = leader();
    await_zombie(child.id());
    child.pidfd_signal_process_group(SIGKILL).unwrap();
    members.await_end();
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(3));
}
