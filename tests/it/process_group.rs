//! `ProcessGroup`: signals. The modules have the waits and `terminate`.

mod keeps;
mod other_systems;
mod terminate;
mod wait;

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use nix::libc::{self, ECHILD, SIGKILL, SIGTERM};
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use pidwait::{ChildExt, PidHandle};

use crate::common::{
    assert_leads_no_group, backends, blocked_on_stdin, drop_privileges, errno, exists, exit, fork,
    is_root, join_group, lead_group, leads_group, line, pause, reap_any, shell, skip, sleep,
    sleeper, state_of,
};

/// Starts a process group of five, whose leader exits with code 3 at once. The four others run until
/// they are killed, or until a failed test drops `Members`.
pub(crate) fn leader() -> (Child, Members) {
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
pub(crate) struct Members {
    _stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Members {
    /// Lets them exit, and waits until they have.
    pub(crate) fn await_end_of_input(self) {
        let Self { _stdin, mut stdout } = self;
        drop(_stdin);
        stdout.read_to_end(&mut Vec::new()).unwrap();
    }

    /// Waits until a signal has ended them.
    pub(crate) fn await_end(mut self) {
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}

/// Forks a leader of a group, with one member, that leaves the group and then calls `then`. Returns
/// when it has left.
pub(crate) fn leader_that_left(then: impl FnOnce()) -> u32 {
    let own_group = nix::unistd::getpgrp().as_raw();
    let former = fork(move || {
        lead_group();
        fork(pause);
        join_group(own_group);
        then();
    });
    let group = Pid::from_raw(i32::try_from(former).unwrap());
    crate::common::eventually("the member is alone in the group", || {
        killpg(group, None).is_ok() && !leads_group(former)
    });
    former
}

#[test]
fn signal_of_running_leader_signals_all_members() {
    for backend in backends() {
        let script = "exec 3<&0; sh -c 'read x' <&3 & echo ready; wait";
        let mut command = shell(script);
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.process_group().unwrap().signal(SIGTERM).unwrap();
        let members = Members {
            _stdin: child.stdin.take().expect("a pipe"),
            stdout: child.stdout.take().expect("a pipe"),
        };
        members.await_end();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));
    }
}

/// One child is in the group of this process, another one in the group of a sibling.
#[test]
fn group_of_non_leader_is_an_invalid_input() {
    for backend in backends() {
        let (mut child, _stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let pid = child.id();
        assert_leads_no_group(handle.process_group(), pid);
        assert_leads_no_group(child.pidfd_signal_process_group(SIGKILL), pid);
        let end = child.pidfd_terminate_process_group(Duration::ZERO);
        assert_leads_no_group(end, pid);
        assert_eq!(handle.try_wait().unwrap(), None);

        let mut leader = shell("read x");
        leader.process_group(0).stdin(Stdio::piped());
        let leader = leader.spawn().unwrap();
        let group = i32::try_from(leader.id()).unwrap();
        let mut member = shell("read x");
        member.process_group(group).stdin(Stdio::piped());
        let member = member.spawn().unwrap();
        let handle = PidHandle::open_with(member.id(), backend).unwrap();
        assert_leads_no_group(handle.process_group(), member.id());
        assert_eq!(handle.try_wait().unwrap(), None);
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        assert_eq!(handle.try_wait().unwrap(), None);
    }
}

/// Whether signalling the process is permitted does not matter: there is no such group.
#[test]
fn group_of_non_leader_of_another_user_is_an_invalid_input() {
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                assert_eq!(errno(handle.signal(0)), libc::EPERM);
                assert_leads_no_group(handle.process_group(), child.id());
            });
        });
        assert_eq!(handle.try_wait().unwrap(), None);
    }
}

/// The former leader's handle still signals the group. The former leader itself gets no signal.
#[test]
fn signal_of_leader_that_left_reaches_the_rest_of_its_group() {
    for backend in backends() {
        let former = leader_that_left(|| {
            reap_any();
            exit(7);
        });
        let handle = PidHandle::open_with(former, backend).unwrap();
        handle.process_group().unwrap().signal(SIGKILL).unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(7));
    }
}

/// The zombie is kept until the last one is dropped.
#[test]
fn clones_of_a_group_keep_the_leader() {
    for backend in backends() {
        let leader = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let clone = group.clone();
        let other = handle.process_group().unwrap();
        group.kill().unwrap();
        let status = handle.wait().unwrap();
        for last in [group, clone, other] {
            assert_eq!(state_of(leader.id()), Some('Z'));
            last.signal(0).unwrap();
            assert!(last.has_exited().unwrap());
            assert_eq!(last.terminate(Duration::ZERO).unwrap(), status);
        }
        assert!(!exists(leader.id()));
        assert_eq!(errno(handle.process_group()), ECHILD);
    }
}
