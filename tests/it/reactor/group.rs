//! Waits for a process group, and ends of it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use nix::libc::{ECHILD, EINVAL, SIGTERM};
use pidwait::{is_echild, Backend, Escalation, KillOnDrop, PidHandle};

use super::{on_each, poll_once, ready_leader, register, Runtime};
#[cfg(target_os = "linux")]
use crate::common::isolated::{current_part, enter_under};
use crate::common::{
    await_zombie, errno, eventually, exists, has_living_member, line, pidfds_supported, shell,
    sleeper, IdleCheck, NonChild,
};

pub(crate) fn the_end_of_a_group_ends_all_members<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        // The leader runs, or is a zombie already.
        for script in [
            "sleep 600 & echo ready; sleep 600",
            "sleep 600 & echo ready",
        ] {
            let pid = ready_leader(script);
            let child = register::<R>(open(pid));
            let group = child.process_group().unwrap();
            let status = group.terminate(Duration::MAX).await.unwrap();
            assert!(status.signal() == Some(SIGTERM) || status.code() == Some(0));
            assert!(!has_living_member(pid));
            let again = group.terminate(Duration::ZERO).await.unwrap();
            assert_eq!(again, status, "nothing is left to end");
        }
    });
}

/// The leader ends at once, and a member needs some time to save its work.
pub(crate) fn the_end_of_a_group_gives_members_the_grace<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let script = "(trap 'sleep 0.3; echo saved >&2; exit' TERM; echo ready; \
                      while :; do sleep 0.01; done) & trap 'exit 3' TERM; wait";
        let mut command = shell(script);
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut leader = command.spawn().unwrap();
        assert_eq!(line(&mut leader), "ready");
        let child = register::<R>(open(leader.id()));
        let group = child.process_group().unwrap();
        group.terminate(Duration::from_secs(600)).await.unwrap();
        let mut text = String::new();
        let mut stderr = leader.stderr.take().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        assert!(text.contains("saved"), "{text:?}");
    });
}

pub(crate) fn the_end_of_a_group_kills_after_the_grace<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        for grace in [Duration::ZERO, Duration::from_millis(20)] {
            let script = "(trap '' TERM; echo ready; exec sleep 600) & sleep 600";
            let pid = ready_leader(script);
            let child = register::<R>(open(pid));
            let group = child.process_group().unwrap();
            let start = Instant::now();
            group.terminate(grace).await.unwrap();
            assert!(start.elapsed() >= grace);
            assert!(!has_living_member(pid));
        }
    });
}

pub(crate) fn the_end_of_a_group_can_leave_the_zombie<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("sleep 600 & echo ready; exec sleep 600");
        let child = register::<R>(open(pid));
        let group = child.process_group().unwrap();
        group.terminate_unreaped(Duration::MAX).await.unwrap();
        assert!(!has_living_member(pid));
        drop(group);
        assert_eq!(child.wait().await.unwrap().signal(), Some(SIGTERM));
    });
}

pub(crate) fn a_group_is_checked_before_anything_is_sent<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let no_leader = register::<R>(open(sleeper().id()));
        let error = no_leader.process_group().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let mut non_child = NonChild::new();
        let other = register::<R>(open(non_child.pid));
        assert!(other.process_group().is_err());
        assert_eq!(non_child.finish(), Some(7), "it was not signalled");

        let child = register::<R>(open(ready_leader("echo ready; exec sleep 600")));
        let group = child.process_group().unwrap();
        let invalid = Escalation::new(SIGTERM, Duration::ZERO).then(0, Duration::ZERO);
        assert_eq!(errno(group.terminate(&invalid).await), EINVAL);
        assert_eq!(errno(group.terminate_unreaped(&invalid).await), EINVAL);
        assert!(!child.handle().has_exited().unwrap(), "nothing was sent");
        child.kill().unwrap();
        child.wait().await.unwrap();
    });
}

/// Each kind of wait for the leader, while another task ends the group. The wait takes the status as soon
/// as the leader exits, and a member takes longer.
pub(crate) fn waits_beside_the_end_of_a_group_get_the_status<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        for which in 0..5 {
            let script = "trap 'exit 3' TERM; (trap 'sleep 0.05; exit' TERM; echo ready; \
                          while :; do sleep 0.01; done) & wait";
            let pid = ready_leader(script);
            let child = register::<R>(open(pid));
            let group = child.process_group().unwrap();
            let wait = async {
                match which {
                    0 => child.wait_shared().await,
                    1 => child.wait().await,
                    2 => child.wait_usage().await.map(|(status, _)| status),
                    3 => {
                        child.wait_exited().await.unwrap();
                        child.handle().try_wait().map(Option::unwrap)
                    }
                    _ => {
                        child.handle().reap_in_background();
                        child.wait_shared().await
                    }
                }
            };
            let (waited, ended) = tokio::join!(wait, group.terminate(Duration::from_secs(600)));
            match waited {
                Ok(status) => assert_eq!(status.code(), Some(3), "wait {which}"),
                // Not shared: the end can have it first.
                Err(error) => assert!((1..4).contains(&which) && is_echild(&error), "{error}"),
            }
            assert_eq!(ended.unwrap().code(), Some(3), "wait {which}");
            assert!(!has_living_member(pid), "wait {which}");
            drop(group);
            assert_eq!(errno(child.wait().await), ECHILD);
        }
    });
}

/// The leader's zombie stays until the last group is dropped.
pub(crate) fn a_group_keeps_its_leader<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("echo ready; exit 3");
        let child = register::<R>(open(pid));
        let group = child.process_group().unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        await_zombie(pid);
        group.wait_exited().await.unwrap();
        let clone = group.clone();
        drop(group);
        await_zombie(pid);
        drop(clone);
        eventually("the zombie is reaped", || !exists(pid));
    });
}

/// While the members run, the task sleeps.
pub(crate) fn a_wait_for_a_group_sleeps<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("sleep 600 & sleep 600 & echo ready; exit 3");
        let child = register::<R>(open(pid));
        let group = child.process_group().unwrap();
        child.wait().await.unwrap();
        let mut wait = Box::pin(group.wait_exited());
        poll_once(wait.as_mut()).await;
        R::sleep(Duration::from_millis(100)).await; // At first it checks often.
        let mut check = IdleCheck::start();
        loop {
            tokio::select! {
                result = wait.as_mut() => panic!("{result:?}"),
                () = R::sleep(Duration::from_millis(500)) => {}
            }
            if check.was_idle() {
                break;
            }
        }
        group.group().kill().unwrap();
        wait.await.unwrap();
        assert!(!has_living_member(pid));
    });
}

/// Members that need some time after the first signal are waited for one after the other. A list of all
/// processes is read only to find them, and when all of those have gone.
#[cfg(target_os = "linux")]
pub(crate) fn the_end_of_a_group_does_not_list_proc_meanwhile<R: Runtime>(test: &str) {
    let report = format!(
        "pidwait-strace-{}-{}",
        process::id(),
        test.replace("::", "-")
    );
    let report = env::temp_dir().join(report);
    let strace = [
        "strace",
        "-f",
        "-e",
        "trace=openat",
        "-o",
        report.to_str().unwrap(),
    ];
    if enter_under(&strace, test, "no strace, or no permission to trace") {
        let member = "(sleep 600 & trap 'sleep 1; exit' TERM; echo ready; wait) &";
        return on_each::<R, _>(|open| async move {
            let mut command = shell(&format!("{member} {member} {member} wait"));
            command.process_group(0).stdout(Stdio::piped());
            let mut leader = command.spawn().unwrap();
            for _ in 0..3 {
                assert_eq!(line(&mut leader), "ready");
            }
            let child = register::<R>(open(leader.id()));
            let group = child.process_group().unwrap();
            let start = Instant::now();
            group.terminate(Duration::from_secs(600)).await.unwrap();
            assert!(
                start.elapsed() > Duration::from_millis(900),
                "there was something to wait for"
            );
        });
    }
    assert!(current_part().is_none());
    if let Ok(lines) = fs::read_to_string(&report) {
        fs::remove_file(&report).unwrap();
        let lists = lines.lines().filter(|line| line.contains("\"/proc\""));
        let lists: Vec<_> = lists.filter(|line| line.contains("O_DIRECTORY")).collect();
        // At most three for each backend. Repeated checks would be dozens.
        assert!(!lists.is_empty() && lists.len() <= 6, "{lists:#?}");
    }
}

/// Of a group whose leader has exited and was waited for.
pub(crate) fn a_guard_of_a_group_kills_it<R: Runtime>() {
    on_each::<R, _>(|open| async move {
        let pid = ready_leader("sleep 600 & echo ready; exit 3");
        let child = register::<R>(open(pid));
        let guard = KillOnDrop::new(child.process_group().unwrap());
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
        assert!(has_living_member(pid));
        drop(guard);
        eventually("no member is alive", || !has_living_member(pid));
        eventually("the leader is reaped", || !exists(pid));
    });
}

/// The reactor wakes the task when a member exits: a wait for the group ends as soon as one for that member.
/// The next check without an event would be about a second later. A busy machine can be late once, but not
/// each time.
#[cfg(target_os = "linux")]
pub(crate) fn a_wait_for_a_group_ends_with_its_last_member<R: Runtime>() {
    if !pidfds_supported() {
        return;
    }
    let open = |pid| register::<R>(PidHandle::open_with(pid, Backend::Pidfd).unwrap());
    R::block_on(async {
        let mut late = Vec::new();
        while late.len() < 5 {
            let mut command = shell("exec 3<&0; cat <&3 & exit 3");
            command.process_group(0).stdin(Stdio::piped());
            let mut leader = command.spawn().unwrap();
            let child = open(leader.id());
            let group = child.process_group().unwrap();
            child.wait().await.unwrap();
            let [member] = group.group().members().unwrap()[..] else {
                panic!("one member");
            };
            let member = open(member);
            let of_group = async {
                group.wait_exited().await.unwrap();
                Instant::now()
            };
            let of_member = async {
                member.wait_exited().await.unwrap();
                Instant::now()
            };
            let end = async {
                R::sleep(Duration::from_millis(1100)).await;
                drop(leader.stdin.take());
            };
            let (of_group, of_member, ()) = tokio::join!(of_group, of_member, end);
            let took = of_group.saturating_duration_since(of_member);
            if took < Duration::from_millis(300) {
                return;
            }
            late.push(took);
        }
        panic!("{late:?}");
    });
}
