//! What the calls of a process group return, and what becomes of a child that no call waits for.

use std::time::Duration;

use nix::libc;
use pidwait::{Escalation, KillOnDrop, PidHandle, Spawned};

use crate::cases::*;
use crate::common;
use crate::outcome::Describe;
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("group leader, running", "`signal`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = leader();
            format!("{}, {}", handle.process_group().and_then(|group| group.signal(libc::SIGTERM)).describe(), handle.wait().describe())
        }),
        row("group leader, zombie", "`signal`", both("Ok"), || leader_zombie().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("no such signal", "`signal`", both("EINVAL"), || leader().process_group().and_then(|group| group.signal(65)).describe()),
        row("not a group leader", "`signal`", both("InvalidInput"), || running().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("done", "`signal`", both("ECHILD"), || done().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("released", "`signal`", both("EINVAL"), || released().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("zombie given to `Spawned::from`", "`signal`", both("ECHILD"), || {
            let mut command = common::shell("exit 3");
            let child = lead(&mut command);
            common::await_zombie(child.id());
            Spawned::from(child).handle.process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()
        }),

        row("group leader, running", "`has_exited`, `wait_exited_timeout` of 2 ms", both("Ok(false), Ok(false)"), || {
            let group = leader().process_group().unwrap();
            format!("{}, {}", group.has_exited().describe(), group.wait_exited_timeout(SHORT).describe())
        }),
        row("group leader, zombie", "`has_exited`, `wait_exited`", both("Ok(true), Ok"), || {
            let group = leader_zombie().process_group().unwrap();
            format!("{}, {}", group.has_exited().describe(), group.wait_exited().describe())
        }),
        row("leader is a zombie, a member runs", "`has_exited`, `kill`, `wait_exited`, `wait` of the leader", both("Ok(false), Ok, Ok, Ok(exit 3)"), || {
            let handle = leader_zombie_with_member("");
            let group = handle.process_group().unwrap();
            let alive = group.has_exited().describe();
            format!("{alive}, {}, {}, {}", group.kill().describe(), group.wait_exited().describe(), handle.wait().describe())
        }),
        row("not a group leader", "`process_group`", both("InvalidInput"), || running().process_group().map(drop).describe()),
        row("done", "`process_group`", both("ECHILD"), || done().process_group().map(drop).describe()),
        row("released", "`process_group`", both("EINVAL"), || released().process_group().map(drop).describe()),

        row("group leader, running", "`terminate`", both("Ok(signal 15)"), || leader().process_group().and_then(|group| group.terminate(Duration::MAX)).describe()),
        row("group leader, running", "`terminate` with SIGUSR1", both("Ok(signal 10)"), || {
            leader().process_group().and_then(|group| group.terminate(Escalation::new(libc::SIGUSR1, Duration::MAX))).describe()
        }),
        row("leader is a zombie, a member runs", "`terminate`", both("Ok(exit 3)"), || {
            leader_zombie_with_member("").process_group().and_then(|group| group.terminate(Duration::MAX)).describe()
        }),
        row("leader is a zombie, a member ignores SIGTERM", "`terminate`", both("Ok(exit 3)"), || {
            leader_zombie_with_member("trap '' TERM; ").process_group().and_then(|group| group.terminate(SHORT)).describe()
        }),
        row("group leader, zombie", "`terminate`", both("Ok(exit 3)"), || leader_zombie().process_group().and_then(|group| group.terminate(SHORT)).describe()),
        row("not a group leader", "`terminate`, `try_wait`", both("InvalidInput, Ok(None)"), || {
            let handle = running();
            format!("{}, {}", handle.process_group().and_then(|group| group.terminate(SHORT)).describe(), handle.try_wait().describe())
        }),
        row("non-child that leads no group", "`terminate`", both("InvalidInput"), || {
            // A zombie, so that a signal sent by mistake does no harm.
            non_child_zombie().process_group().and_then(|group| group.terminate(SHORT)).describe()
        }),
        row("done", "`terminate`", both("ECHILD"), || done().process_group().and_then(|group| group.terminate(SHORT)).describe()),
        row("released", "`terminate`", both("EINVAL"), || released().process_group().and_then(|group| group.terminate(SHORT)).describe()),

        row("running", "`KillOnDrop` is dropped; `wait` and `exit_status` of a clone", both("ECHILD, Some(signal 9)"), || {
            let handle = running();
            drop(KillOnDrop::new(handle.clone()));
            common::await_gone(handle.id());
            format!("{}, {}", handle.wait().describe(), handle.exit_status().describe())
        }),
        row("zombie", "`KillOnDrop` is dropped; `exit_status` of a clone", both("Some(exit 3)"), || {
            let handle = exited();
            drop(KillOnDrop::new(handle.clone()));
            handle.exit_status().describe()
        }),
        row("leader is a zombie, a member runs", "`KillOnDrop` of the group is dropped; is the member alive? `exit_status` of a clone", both("false, Some(exit 3)"), || {
            let handle = leader_zombie_with_member("");
            let pid = handle.id();
            drop(KillOnDrop::new(handle.process_group().expect("it leads a group")));
            common::eventually("the member is gone", || !group_is_alive(pid));
            format!("false, {}", handle.exit_status().describe())
        }),
        row("not a group leader", "`KillOnDrop` of a `Spawned` is dropped; `exit_status` of a clone", both("Some(signal 9)"), || {
            let spawned = PidHandle::spawn(&mut common::sleep()).expect("it starts");
            let handle = spawned.handle.clone();
            drop(KillOnDrop::new(spawned));
            common::await_gone(handle.id());
            handle.exit_status().describe()
        }),
        row("released", "`KillOnDrop` is dropped, then process state", both("still running"), || {
            let handle = released();
            drop(KillOnDrop::new(handle.clone()));
            match common::state_of(handle.id()) {
                Some('S' | 'R' | 'D') => "still running".to_owned(),
                state => format!("{state:?}"),
            }
        }),
        row("running", "`into_inner`, `try_wait`", both("Ok(None)"), || {
            KillOnDrop::into_inner(KillOnDrop::new(running())).try_wait().describe()
        }),

        row("running", "`reap_in_background`; once it was killed and is gone: `wait`, `exit_status`, `wait_shared`", both("ECHILD, Some(signal 9), Ok(signal 9)"), || {
            let handle = running();
            handle.reap_in_background();
            handle.kill().expect("it runs");
            common::await_gone(handle.id());
            format!("{}, {}, {}", handle.wait().describe(), handle.exit_status().describe(), handle.wait_shared().describe())
        }),
        row("zombie", "`reap_in_background`, `wait`, `exit_status`", both("ECHILD, Some(exit 3)"), || {
            let handle = exited();
            handle.reap_in_background();
            format!("{}, {}", handle.wait().describe(), handle.exit_status().describe())
        }),
        row("released", "`reap_in_background`, `wait`", both("EINVAL"), || {
            let handle = released();
            handle.reap_in_background();
            handle.wait().describe()
        }),
        row("non-child", "`reap_in_background`, `has_exited`, `wait`", both("Ok(false), ECHILD"), || {
            let handle = non_child();
            handle.reap_in_background();
            format!("{}, {}", handle.has_exited().describe(), handle.wait().describe())
        }),
    ]
}

fn group_is_alive(group: u32) -> bool {
    let group = nix::unistd::Pid::from_raw(i32::try_from(group).expect("a PID"));
    nix::sys::signal::killpg(group, None).is_ok()
}
