//! `signal_group`.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use pidwait::{Backend, PidHandle, Spawned};

use crate::common::{
    await_zombie, backends, blocked_on_stdin, errno, kernel, line, reap_externally, shell, sleeper,
    zombie, NonChild,
};

/// Starts a process group of five, whose leader exits with code 3 at once. The four others run until
/// they are killed, or until a failed test drops `Members`.
fn leader() -> (Child, Members) {
    let script = "exec 3<&0; for i in 1 2 3 4; do sh -c 'read x' <&3 & done; echo ready; exit 3";
    let mut command = shell(script);
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    let _stdin = child.stdin.take().expect("a pipe");
    let stdout = child.stdout.take().expect("a pipe");
    (child, Members { _stdin, stdout })
}

/// The members of a group. All have the standard output open, so it ends when the last one exits.
struct Members {
    _stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Members {
    fn await_end(mut self) {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}

/// The documented way to end a whole group: the unreaped leader keeps the group ID from being
/// reused.
#[test]
fn signal_group_of_zombie_leader_signals_all_members() {
    for backend in backends() {
        let (leader, members) = leader();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        handle.wait_exited().unwrap();
        handle.signal_group(0).unwrap();
        assert_eq!(errno(handle.signal_group(1000)), EINVAL);
        assert_eq!(errno(handle.signal_group(-1)), EINVAL);
        handle.signal_group(SIGKILL).unwrap();
        members.await_end();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert_eq!(errno(handle.signal_group(SIGKILL)), ECHILD);
    }
}

#[test]
fn signal_group_of_running_leader_signals_all_members() {
    for backend in backends() {
        let script = "exec 3<&0; sh -c 'read x' <&3 & echo ready; wait";
        let mut command = shell(script);
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.signal_group(SIGTERM).unwrap();
        let members = Members {
            _stdin: child.stdin.take().expect("a pipe"),
            stdout: child.stdout.take().expect("a pipe"),
        };
        members.await_end();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));
    }
}

/// One child is in the group of this process, another one in the group of a sibling. Nothing is
/// signalled.
#[test]
fn signal_group_of_non_leader_fails_with_einval() {
    for backend in backends() {
        let (child, _stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
        assert_eq!(errno(handle.signal_group(0)), EINVAL);
        assert_eq!(handle.try_wait().unwrap(), None);

        let mut leader = shell("read x");
        leader.process_group(0).stdin(Stdio::piped());
        let leader = leader.spawn().unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let mut member = shell("read x");
        member.process_group(group).stdin(Stdio::piped());
        let member = member.spawn().unwrap();
        let handle = PidHandle::open_with(member.id(), backend).unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
        assert_eq!(handle.try_wait().unwrap(), None);
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
    }
}

/// The zombie keeps its status.
#[test]
fn signal_group_of_non_leader_zombie_or_non_child_fails_with_einval() {
    for backend in backends() {
        let handle = PidHandle::open_with(zombie("exit 3").id(), backend).unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
        assert_eq!(handle.wait().unwrap().code(), Some(3));

        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
        assert_eq!(non_child.finish(), Some(7));
        assert_eq!(errno(handle.signal_group(SIGKILL)), ECHILD);
    }
}

/// Since Linux 6.9 the kernel finds the group through the pidfd, even after the leader was reaped.
/// Without that the group ID could belong to an unrelated group, so nothing is signalled.
#[test]
fn signal_group_of_reaped_leader_needs_pidfd_support() {
    let by_pidfd = kernel() >= (6, 9);
    for backend in backends() {
        let (leader, members) = leader();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        assert_eq!(reap_externally(leader.id()), 3 << 8);
        end(&handle, members, by_pidfd);
    }
    // `Spawned::from` reaps the zombie itself.
    let (leader, members) = leader();
    await_zombie(leader.id());
    let handle = Spawned::from(leader).handle;
    end(&handle, members, by_pidfd);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
}

fn end(handle: &PidHandle, members: Members, by_pidfd: bool) {
    let result = handle.signal_group(SIGKILL);
    if by_pidfd && handle.backend() == Backend::Pidfd {
        result.unwrap();
    } else {
        assert_eq!(errno(result), ECHILD);
        let group = i32::try_from(handle.id()).unwrap();
        // Nothing was sent, so the members still run and can be killed.
        killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap();
    }
    members.await_end();
}

#[test]
fn signal_group_of_done_or_released_handle_fails() {
    for backend in backends() {
        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(missing.signal_group(0)), ECHILD);

        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
    }
}
