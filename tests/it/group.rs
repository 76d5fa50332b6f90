//! signal_group.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use pidwait::{Backend, PidHandle};

use crate::common::{
    await_zombie, backends, blocked_on_stdin, errno, kernel, line, reap_externally, shell, sleeper,
    zombie, NonChild,
};

/// The leader of a group of five, which exits with 3 at once. The four others stay until they are
/// killed, or until a test that fails drops what holds them.
fn leader() -> (Child, Members) {
    let script = "exec 3<&0; for i in 1 2 3 4; do sh -c 'read x' <&3 & done; echo there; exit 3";
    let mut command = shell(script);
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "there");
    let _stdin = child.stdin.take().expect("a pipe");
    let stdout = child.stdout.take().expect("a pipe");
    (child, Members { _stdin, stdout })
}

/// All of them hold the standard output, so its end is the end of the last of them.
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

/// The way to end a whole group, as the documentation shows it: the unreaped leader keeps its name.
#[test]
fn five_of_a_zombie_leader_with_one_call() {
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
fn a_running_leader_and_all_the_others() {
    for backend in backends() {
        let script = "exec 3<&0; sh -c 'read x' <&3 & echo there; wait";
        let mut command = shell(script);
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "there");
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

/// A child of this test's own group, and one of another child's: nobody is signalled.
#[test]
fn einval_of_one_that_leads_none() {
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

/// A zombie that leads none, too, and it stays to be reaped.
#[test]
fn einval_of_a_zombie_and_of_a_non_child() {
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

/// What outlives its leader can be signalled where the kernel takes the group from the pidfd;
/// elsewhere its name may be another one's by then, and nobody is signalled.
#[test]
fn of_a_leader_that_was_reaped() {
    let by_pidfd = kernel() >= (6, 9);
    for backend in backends() {
        let (leader, members) = leader();
        let handle = PidHandle::open_with(leader.id(), backend).unwrap();
        assert_eq!(reap_externally(leader.id()), 3 << 8);
        end(&handle, members, by_pidfd);
    }
    // Made of a zombie, and so reaped by the handle itself.
    let (leader, members) = leader();
    await_zombie(leader.id());
    let handle = PidHandle::from(leader);
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
        // Nothing was sent: they are still there to be killed.
        killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap();
    }
    members.await_end();
}

#[test]
fn none_once_done_or_released() {
    for backend in backends() {
        let nobody = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(nobody.signal_group(0)), ECHILD);

        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.signal_group(SIGKILL)), EINVAL);
    }
}
