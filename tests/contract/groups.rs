//! What a process group, a guard and the background reaper do.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use nix::libc;
use pidwait::{KillOnDrop, PidHandle};

use crate::cases::*;
use crate::common;
use crate::outcome::Describe;
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("leader runs", "`has_exited`", both("Ok(false)"), || leader().process_group().has_exited().describe()),
        row("leader is a zombie, a member runs", "`has_exited`", both("Ok(false)"), || survived_leader().0.process_group().has_exited().describe()),
        row("leader is a zombie, a member runs", "`wait_exited_timeout` of 2 ms", both("Ok(false)"), || {
            survived_leader().0.process_group().wait_exited_timeout(SHORT).describe()
        }),
        row("leader is a zombie, a member runs", "`kill`, `wait_exited`, the leader's `wait`", both("Ok, Ok, Ok(exit 3)"), || {
            let (leader, _stdin) = survived_leader();
            let group = leader.process_group();
            format!("{}, {}, {}", group.kill().describe(), group.wait_exited().describe(), leader.wait().describe())
        }),
        row("leader is a zombie, no member runs", "`has_exited`, the leader's `wait`", both("Ok(true), Ok(exit 3)"), || {
            let mut command = common::shell("exit 3");
            let leader = open(command.process_group(0).spawn().expect("sh starts").id());
            leader.wait_exited().expect("it exits");
            format!("{}, {}", leader.process_group().has_exited().describe(), leader.wait().describe())
        }),
        row("leader runs", "`terminate`, `terminate`", both("Ok(signal 15), ECHILD"), || {
            let group = leader().process_group();
            format!("{}, {}", group.terminate(Duration::MAX).describe(), group.terminate(SHORT).describe())
        }),
        row("leader is a zombie, a member runs", "`terminate`", both("Ok(exit 3)"), || {
            survived_leader().0.process_group().terminate(Duration::MAX).describe()
        }),
        row("a member ignores SIGTERM", "`terminate`", both("Ok(exit 3)"), || {
            let (leader, _stdin) = survived_by("trap '' TERM; read x <&3");
            leader.process_group().terminate(SHORT).describe()
        }),
        row("leader runs", "`terminate_with(SIGUSR1)`", both("Ok(signal 10)"), || {
            leader().process_group().terminate_with(libc::SIGUSR1, Duration::MAX).describe()
        }),
        row("leader runs", "`terminate_with` and no such signal, the leader's `try_wait`", both("EINVAL, Ok(None)"), || {
            let leader = leader();
            format!("{}, {}", leader.process_group().terminate_with(65, SHORT).describe(), leader.try_wait().describe())
        }),
        row("not a group leader", "`has_exited`", both("ESRCH"), || running().process_group().has_exited().describe()),
        row("not a group leader", "`terminate`, `try_wait`", both("ESRCH, Ok(None)"), || {
            let handle = running();
            format!("{}, {}", handle.process_group().terminate(SHORT).describe(), handle.try_wait().describe())
        }),
        row("non-child", "`terminate`", both("ECHILD"), || {
            // A zombie, so that a signal sent by mistake does no harm.
            non_child_zombie().process_group().terminate(SHORT).describe()
        }),
        row("done", "`has_exited`", both("ECHILD"), || done().process_group().has_exited().describe()),
        row("done", "`terminate`", both("ECHILD"), || done().process_group().terminate(SHORT).describe()),
        row("released", "`has_exited`", both("EINVAL"), || released().process_group().has_exited().describe()),
        row("released", "`terminate`", both("EINVAL"), || released().process_group().terminate(SHORT).describe()),

        row("running", "drop of `KillOnDrop`, `exit_status` of a clone", both("Some(signal 9)"), || dropped(&running(), KillOnDrop::new)),
        row("zombie", "drop of `KillOnDrop`, `exit_status` of a clone", both("Some(exit 3)"), || dropped(&exited(), KillOnDrop::new)),
        row("running", "`KillOnDrop::into_inner`, `try_wait`", both("Ok(None)"), || KillOnDrop::into_inner(KillOnDrop::new(running())).try_wait().describe()),
        row("leader runs", "drop of `KillOnDrop::process_group`, `exit_status` of a clone", both("Some(signal 9)"), || {
            dropped(&leader(), KillOnDrop::process_group)
        }),
        row("leader is a zombie, a member runs", "drop of `KillOnDrop::process_group`, `exit_status` of a clone, the member", both("Some(exit 3), gone"), || {
            let (leader, mut stdin) = survived_leader();
            let status = dropped(&leader, KillOnDrop::process_group);
            // Only the member could still read it.
            common::eventually("the member is gone", || stdin.write_all(b"x").is_err());
            format!("{status}, gone")
        }),
        row("not a group leader", "drop of `KillOnDrop::process_group`, `exit_status` of a clone", both("Some(signal 9)"), || {
            dropped(&running(), KillOnDrop::process_group)
        }),

        row("zombie", "`reap_in_background`, `exit_status`", both("Some(exit 3)"), || {
            let handle = exited();
            handle.reap_in_background();
            handle.exit_status().describe()
        }),
        row("about to exit", "`reap_in_background`; later `exit_status`, `wait`", both("Some(exit 3), ECHILD"), || {
            let (handle, stdin) = until_stdin_closes();
            handle.reap_in_background();
            drop(stdin);
            common::eventually("it is reaped", || handle.exit_status().is_some());
            format!("{}, {}", handle.exit_status().describe(), handle.wait().describe())
        }),
        row("non-child", "`reap_in_background`, `has_exited`", both("Ok(false)"), || {
            let handle = non_child();
            handle.reap_in_background();
            handle.has_exited().describe()
        }),
        row("zombie, released", "`reap_in_background`, then process state", both("still a zombie"), || {
            let handle = exited();
            handle.release().expect("release cannot fail");
            handle.reap_in_background();
            let state = common::state_of(handle.id());
            if state == Some('Z') { "still a zombie".to_owned() } else { format!("{state:?}") }
        }),
    ]
}

/// A zombie that exited with 3 and leads a group with one more member, which runs until the returned
/// pipe is closed.
fn survived_leader() -> (PidHandle, ChildStdin) {
    survived_by("read x <&3")
}

/// The same, with a script for the other member.
fn survived_by(member: &str) -> (PidHandle, ChildStdin) {
    let mut command = common::shell(&format!("exec 3<&0; ({member}) >&- 2>&- & exit 3"));
    command.process_group(0).stdin(Stdio::piped());
    let mut child = command.spawn().expect("sh starts");
    let leader = open(child.id());
    leader.wait_exited().expect("it exits");
    (leader, child.stdin.take().expect("a pipe"))
}

/// The status that a guard has left when it was dropped.
fn dropped(handle: &PidHandle, guard: fn(PidHandle) -> KillOnDrop) -> String {
    drop(guard(handle.clone()));
    handle.exit_status().describe()
}
