//! What the calls of a process group return, and what becomes of a child that no call waits for.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::{Backend, Escalation, KillOnDrop, PidHandle, Spawned};

use crate::cases::*;
use crate::common;
use crate::outcome::{Describe, SKIPPED};
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
        row("no such signal", "`signal`", both("EINVAL"), || {
            let group = leader().process_group().unwrap();
            unknown_signals(|signal| group.signal(signal))
        }),
        row("not a group leader", "`signal`", both("InvalidInput"), || running().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("done", "`signal`", both("ECHILD"), || done().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("released", "`signal`", both("EINVAL"), || released().process_group().and_then(|group| group.signal(libc::SIGTERM)).describe()),
        row("zombie given to `Spawned::from`, a member runs", "`Spawned::group`, `process_group`; is the member alive?", both("None, ECHILD, true"), || {
            let mut command = common::shell("sleep 600 & exit 3");
            let child = lead(&mut command);
            common::await_zombie(child.id());
            let spawned = Spawned::from(child);
            let named = spawned.handle.process_group().map(drop).describe();
            let is_alive = common::has_living_member(spawned.handle.id());
            kill_group(spawned.handle.id());
            format!("{}, {named}, {is_alive}", spawned.group.map(drop).describe())
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
        row("group leader, running", "`members`: only the leader?", both("Ok(true)"), || {
            let group = leader().process_group().unwrap();
            group.members().map(|members| members == [group.id()]).describe()
        }),
        row("group leader, running", "`wait_exited_deadline` in the past", both("Ok(false)"), || {
            leader().process_group().unwrap().wait_exited_deadline(Instant::now()).describe()
        }),
        row("not a group leader", "`process_group`", both("InvalidInput"), || running().process_group().map(drop).describe()),
        row("zombie that leads no group", "`process_group`, `wait`", both("InvalidInput, Ok(exit 3)"), || {
            let handle = exited();
            [handle.process_group().map(drop).describe(), handle.wait().describe()].join(", ")
        }),
        row("non-child that leads no group", "`process_group`; how its parent saw it end; `process_group`", both("InvalidInput, exit 7, ECHILD"), || {
            let mut non_child = common::NonChild::new();
            let handle = open(non_child.pid);
            let group = handle.process_group().map(drop).describe();
            let code = non_child.finish().expect("its parent exits");
            format!("{group}, exit {code}, {}", handle.process_group().map(drop).describe())
        }),
        row("no such process", "`process_group`", both("ECHILD"), || missing().process_group().map(drop).describe()),
        row("done", "`process_group`", both("ECHILD"), || done().process_group().map(drop).describe()),
        row("released", "`process_group`", both("EINVAL"), || released().process_group().map(drop).describe()),

        row("group leader, zombie; a group lives", "`wait`, `wait`, `signal` of the group, process state", both("Ok(exit 3), ECHILD, Ok, still a zombie"), || {
            let handle = leader_zombie();
            let group = handle.process_group().unwrap();
            let waits = format!("{}, {}", handle.wait().describe(), handle.wait().describe());
            format!("{waits}, {}, {}", group.signal(libc::SIGTERM).describe(), state(handle.id()))
        }),
        row("group leader, zombie; a group lives", "`wait_usage`", both("Ok(exit 3, usage)"), || {
            let handle = leader_zombie();
            let _group = handle.process_group().unwrap();
            handle.wait_usage().describe()
        }),
        row("waited for; the last group is dropped", "process state, `process_group`", both("gone, ECHILD"), || {
            let handle = leader_zombie();
            let group = handle.process_group().unwrap();
            handle.wait().unwrap();
            drop(group);
            format!("{}, {}", state(handle.id()), handle.process_group().map(drop).describe())
        }),
        row("never waited for; the last group is dropped", "process state, `wait`", both("still a zombie, Ok(exit 3)"), || {
            let handle = leader_zombie();
            drop(handle.process_group().unwrap());
            format!("{}, {}", state(handle.id()), handle.wait().describe())
        }),
        row("waited for; a group lives, a member runs", "`process_group`, `has_exited`, `terminate`", both("Ok, Ok(false), Ok(exit 3)"), || {
            let handle = leader_zombie_with_member("");
            let group = handle.process_group().unwrap();
            handle.wait().unwrap();
            let again = handle.process_group().map(drop).describe();
            format!("{again}, {}, {}", group.has_exited().describe(), group.terminate(Duration::MAX).describe())
        }),
        row("released; a group lives", "`process_group`, `signal` of the group, `terminate` of the group", both("EINVAL, Ok, Ok(signal 15)"), || {
            let handle = leader();
            let group = handle.process_group().unwrap();
            handle.release().unwrap();
            let named = handle.process_group().map(drop).describe();
            format!("{named}, {}, {}", group.signal(0).describe(), group.terminate(Duration::MAX).describe())
        }),
        row("other code reaps the leader, a member runs", "`signal`, Linux 6.9 and later", ["Ok", "ECHILD"], || {
            let handle = leader_zombie_with_member("");
            let group = handle.process_group().unwrap();
            common::reap_externally(handle.id());
            let sent = group.signal(libc::SIGKILL);
            if sent.is_err() {
                kill_group(handle.id());
                if handle.backend() == Backend::Pidfd && common::kernel() < (6, 9) {
                    return SKIPPED.to_owned();
                }
            }
            sent.describe()
        }),
        row("command that leads a group", "`spawn`; `Spawned::group`, its `leader`", both("true, true"), || {
            let spawned = PidHandle::spawn(common::sleep().process_group(0)).unwrap();
            let leads = spawned.group.as_ref().map(|group| group.leader().id() == spawned.handle.id());
            format!("{}, {}", leads.is_some(), leads == Some(true))
        }),
        row("command that leads no group", "`spawn`; `Spawned::group`", both("false"), || {
            PidHandle::spawn(&mut common::sleep()).unwrap().group.is_some().describe()
        }),

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
        row("group leader, running", "`terminate_unreaped`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = leader();
            let group = handle.process_group().unwrap();
            format!("{}, {}", group.terminate_unreaped(Duration::MAX).describe(), handle.wait().describe())
        }),
        row("group leader, running", "`terminate_in_background`, `wait_exited`, `wait_shared`", both("Ok, Ok, Ok(signal 15)"), || {
            let handle = leader();
            let group = handle.process_group().unwrap();
            let begun = group.terminate_in_background(Duration::MAX).describe();
            format!("{begun}, {}, {}", group.wait_exited().describe(), handle.wait_shared().describe())
        }),
        row("no such signal in the second step", "`terminate`, `terminate_unreaped`, `terminate_in_background`, `has_exited`", both("EINVAL, EINVAL, EINVAL, Ok(false)"), || {
            let group = leader().process_group().unwrap();
            let unknown = Escalation::from(SHORT).then(1000, SHORT);
            let ends = format!("{}, {}", group.terminate(&unknown).describe(), group.terminate_unreaped(&unknown).describe());
            format!("{ends}, {}, {}", group.terminate_in_background(&unknown).describe(), group.has_exited().describe())
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
        row("stopped", "`KillOnDrop` is dropped; once it is gone: `exit_status` of a clone", both("Some(signal 9)"), || {
            let handle = stopped();
            drop(KillOnDrop::new(handle.clone()));
            common::await_gone(handle.id());
            handle.exit_status().describe()
        }),
        row("zombie", "`KillOnDrop` is dropped; process state, `exit_status` of a clone", both("gone, Some(exit 3)"), || {
            let handle = exited();
            drop(KillOnDrop::new(handle.clone()));
            [state(handle.id()), handle.exit_status().describe()].join(", ")
        }),
        row("given to `Spawned::from`, running or as a zombie", "`KillOnDrop` is dropped; once it is gone: `exit_status` of a clone", both("Some(signal 9), Some(exit 3)"), || {
            [common::sleeper(), common::zombie("exit 3")].map(|child| {
                let handle = Spawned::from(child).handle;
                drop(KillOnDrop::new(handle.clone()));
                common::await_gone(handle.id());
                handle.exit_status().describe()
            }).join(", ")
        }),
        row("no such signal", "`KillOnDrop::with_escalation` is dropped; once it is gone: `exit_status` of a clone", both("Some(signal 9)"), || {
            let handle = running();
            drop(KillOnDrop::with_escalation(handle.clone(), Escalation::new(1000, Duration::MAX)));
            common::await_gone(handle.id());
            handle.exit_status().describe()
        }),
        row("leader is a zombie, a member runs", "`KillOnDrop` of the group is dropped; is the member alive? `exit_status` of a clone", both("false, Some(exit 3)"), || {
            let handle = leader_zombie_with_member("");
            let pid = handle.id();
            drop(KillOnDrop::new(handle.process_group().expect("it leads a group")));
            common::eventually("the member is gone", || !common::has_living_member(pid));
            format!("false, {}", handle.exit_status().describe())
        }),
        row("waited for, a member runs", "`KillOnDrop` of the group is dropped; is the member alive? Process state", both("false, gone"), || {
            let handle = leader_zombie_with_member("");
            let guard = KillOnDrop::new(handle.process_group().unwrap());
            handle.wait().unwrap();
            drop(guard);
            common::eventually("the member is gone", || !common::has_living_member(handle.id()));
            format!("false, {}", state(handle.id()))
        }),
        row("group leader, running", "`KillOnDrop` of a `Spawned` is dropped; `exit_status` of a clone, process state", both("Some(signal 9), gone"), || {
            let spawned = PidHandle::spawn(common::sleep().process_group(0)).unwrap();
            let handle = spawned.handle.clone();
            drop(KillOnDrop::new(spawned));
            common::await_gone(handle.id());
            format!("{}, {}", handle.exit_status().describe(), state(handle.id()))
        }),
        row("running", "`KillOnDrop::with_escalation` of a grace is dropped; `exit_status` of a clone", both("Some(signal 15)"), || {
            let handle = running();
            drop(KillOnDrop::with_escalation(handle.clone(), Duration::MAX));
            handle.exit_status().describe()
        }),
        row("not a group leader", "`KillOnDrop` of a `Spawned` is dropped; `exit_status` of a clone", both("Some(signal 9)"), || {
            let spawned = PidHandle::spawn(&mut common::sleep()).expect("it starts");
            let handle = spawned.handle.clone();
            drop(KillOnDrop::new(spawned));
            common::await_gone(handle.id());
            handle.exit_status().describe()
        }),
        row("released", "`KillOnDrop` is dropped, then `wait` of another handle", both("Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            handle.release().unwrap();
            drop(KillOnDrop::new(handle.clone()));
            drop(stdin);
            open(handle.id()).wait().describe()
        }),
        row("running", "`into_inner`, `try_wait`, `wait`", both("Ok(None), Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            let handle = KillOnDrop::into_inner(KillOnDrop::new(handle));
            let running = handle.try_wait().describe();
            drop(stdin);
            [running, handle.wait().describe()].join(", ")
        }),

        row("running", "`reap_in_background`; once it was killed and is gone: `wait`, `exit_status`, `wait_shared`", both("ECHILD, Some(signal 9), Ok(signal 9)"), || {
            let handle = running();
            handle.reap_in_background();
            handle.kill().expect("it runs");
            common::await_gone(handle.id());
            format!("{}, {}, {}", handle.wait().describe(), handle.exit_status().describe(), handle.wait_shared().describe())
        }),
        row("zombie", "`reap_in_background`, then process state; `wait`, `exit_status`", both("gone, ECHILD, Some(exit 3)"), || {
            let handle = exited();
            handle.reap_in_background();
            [state(handle.id()), handle.wait().describe(), handle.exit_status().describe()].join(", ")
        }),
        row("zombie, released", "`reap_in_background`, then process state; `wait`", both("still a zombie, EINVAL"), || {
            let handle = exited();
            handle.release().unwrap();
            handle.reap_in_background();
            [state(handle.id()), handle.wait().describe()].join(", ")
        }),
        row("non-child", "`reap_in_background`, `has_exited`, `wait`; how its parent saw it end", both("Ok(false), ECHILD, exit 7"), || {
            let mut non_child = common::NonChild::new();
            let handle = open(non_child.pid);
            handle.reap_in_background();
            let calls = [handle.has_exited().describe(), handle.wait().describe()].join(", ");
            format!("{calls}, exit {}", non_child.finish().expect("its parent exits"))
        }),
        row("no such process", "`reap_in_background`, `wait`", both("ECHILD"), || {
            let handle = missing();
            handle.reap_in_background();
            handle.wait().describe()
        }),
    ]
}

fn kill_group(group: u32) {
    let group = nix::unistd::Pid::from_raw(i32::try_from(group).expect("a PID"));
    nix::sys::signal::killpg(group, nix::sys::signal::SIGKILL).expect("a member is alive");
}
