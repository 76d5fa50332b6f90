//! Terminating a whole group.

use std::io::{ErrorKind, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{EACCES, ECHILD, EINVAL, EPERM, SIGKILL, SIGTERM, SIGUSR1};
use nix::unistd::{setpgid, Pid};
use pidwait::{Backend, ChildExt, Escalation, PidHandle, ProcessGroup};

use super::{leader, leader_that_left};
use crate::common::isolated::enter;
use crate::common::preload::enter_preloaded;
use crate::common::{
    await_gone, await_zombie, backends, drop_privileges, errno, eventually, exists, fork,
    fork_chain, has_exit_records, has_living_member, is_root, kernel, kill, leads_group, line,
    pause, reap_externally, rounds, shell, skip, sleep, stop, traceable, while_asleep,
    with_piped_stdout, Tracer, UNPRIVILEGED_UID,
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const MILLI: Duration = Duration::from_millis(1);

/// Starts a group and waits until its script prints "ready". All members have the standard output.
fn group(script: &str) -> Child {
    let mut command = shell(script);
    command.process_group(0).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(line(&mut child), "ready");
    child
}

/// Reads what the members still print. Returns when all of them have exited.
fn rest(mut child: Child) -> String {
    let mut rest = String::new();
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut rest).unwrap();
    rest
}

/// Terminates by a handle of each backend, and by `ChildExt`.
fn each_way(script: &str, check: impl Fn(Child, &dyn Fn(&mut Child) -> std::process::ExitStatus)) {
    each_way_with(script, LONG, check);
}

fn each_way_with(
    script: &str,
    grace: Duration,
    check: impl Fn(Child, &dyn Fn(&mut Child) -> std::process::ExitStatus),
) {
    for backend in backends() {
        check(group(script), &|child| {
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.process_group().unwrap().terminate(grace).unwrap()
        });
    }
    check(group(script), &|child| {
        let status = child.pidfd_terminate_process_group(grace).unwrap();
        assert_eq!(child.wait().unwrap(), status, "std has the status");
        status
    });
}

/// The leader ends on SIGTERM at once.
#[test]
fn worker_gets_its_grace_after_the_leader_went() {
    let worker =
        "trap \"sleep 0.3; echo saved; exit\" TERM; echo ready; while :; do sleep 0.01; done";
    each_way(
        &format!("sh -c '{worker}' & wait"),
        |mut child, terminate| {
            assert_eq!(terminate(&mut child).signal(), Some(SIGTERM));
            assert_eq!(rest(child), "saved\n");
        },
    );
}

#[test]
fn members_that_ignore_sigterm_are_killed_after_the_grace() {
    let ignores = "trap \"\" TERM; echo ready; exec sleep 600";
    let scripts = [
        (format!("sh -c '{ignores}' & wait"), SIGTERM),
        (
            "sleep 600 & trap '' TERM; echo ready; exec sleep 600".to_owned(),
            SIGKILL,
        ),
        (
            "trap '' TERM; sleep 600 & echo ready; exec sleep 600".to_owned(),
            SIGKILL,
        ),
    ];
    for (script, signal) in scripts {
        each_way_with(&script, SHORT, |mut child, terminate| {
            assert_eq!(terminate(&mut child).signal(), Some(signal), "{script}");
            assert_eq!(rest(child), "");
        });
    }
}

#[test]
fn stopped_members_are_continued() {
    each_way("sleep 600 & echo ready; wait", |mut child, terminate| {
        stop(child.id());
        assert_eq!(terminate(&mut child).signal(), Some(SIGTERM));
        assert_eq!(rest(child), "");
    });
}

#[test]
fn the_rest_of_the_group_of_a_zombie_leader_is_ended() {
    each_way("sleep 600 & echo ready; exit 3", |mut child, terminate| {
        await_zombie(child.id());
        assert_eq!(terminate(&mut child).code(), Some(3));
        assert_eq!(rest(child), "");
    });
}

#[test]
fn escalation_sends_another_first_signal() {
    for backend in backends() {
        // Not SIGINT: background jobs of shells ignore it, and this test may run in one.
        let worker = "sh -c 'echo ready; exec sleep 600' & wait";
        let child = group(&format!("trap 'echo first; exit 5' USR1; {worker}"));
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        assert_eq!(errno(group.terminate(Escalation::new(1000, LONG))), EINVAL);
        assert_eq!(handle.try_wait().unwrap(), None);
        let status = group.terminate(Escalation::new(SIGUSR1, LONG)).unwrap();
        assert_eq!(status.code(), Some(5));
        assert_eq!(rest(child), "first\n");
    }
}

/// Documented: it is not reached.
#[test]
fn worker_that_left_by_setsid_lives_on() {
    each_way(
        "setsid sleep 600 & echo ready; echo $!; wait",
        |mut child, terminate| {
            let worker: u32 = line(&mut child).parse().unwrap();
            eventually("it has left", || leads_group(worker));
            assert_eq!(terminate(&mut child).signal(), Some(SIGTERM));
            assert!(leads_group(worker));
            kill(worker, SIGKILL);
            assert_eq!(rest(child), "");
        },
    );
}

/// The signals to the group do not reach it.
#[test]
fn terminate_ends_the_members_and_a_leader_that_left() {
    for backend in backends() {
        let former = leader_that_left(pause);
        let handle = PidHandle::open_with(former, backend).unwrap();
        let group = handle.process_group().unwrap();
        assert_eq!(group.terminate(SHORT).unwrap().signal(), Some(SIGKILL));
        assert!(!has_living_member(former));
    }
}

/// A member of another user runs on, all others have exited, and the leader is left unreaped.
#[test]
fn member_that_may_not_be_signalled_fails_with_eperm() {
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    for backend in backends() {
        let mut command = shell("sleep 600 & echo ready; wait");
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .uid(UNPRIVILEGED_UID);
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let mut roots = sleep();
        let roots = roots.process_group(i32::try_from(child.id()).unwrap());
        let roots = PidHandle::open(roots.spawn().unwrap().id()).unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                let group = handle.process_group().unwrap();
                for grace in [SHORT, Duration::ZERO] {
                    let start = Instant::now();
                    assert_eq!(errno(group.terminate(grace)), EPERM);
                    assert!(start.elapsed() >= grace);
                }
            });
        });
        assert_eq!(rest(child), "");
        assert_eq!(roots.try_wait().unwrap(), None);
        assert!(handle.has_exited().unwrap());
        // With the rights to do it, the rest is ended.
        let status = handle.process_group().unwrap().terminate(LONG).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
        assert_eq!(roots.wait().unwrap().signal(), Some(SIGTERM));
    }
}

#[test]
fn storm_of_forks_leaves_no_survivor() {
    let storm = "while :; do (:) & done";
    let script = format!("trap '' TERM; ({storm}) & ({storm}) & echo ready; exec sleep 600");
    for _ in 0..rounds(3) {
        each_way_with(
            &script,
            Duration::from_millis(10),
            |mut child, terminate| {
                let pid = child.id();
                assert_eq!(terminate(&mut child).signal(), Some(SIGKILL));
                assert!(!has_living_member(pid));
                assert!(!exists(pid));
            },
        );
    }
}

#[test]
fn chain_of_forks_leaves_no_survivor() {
    if !enter("process_group::terminate::chain_of_forks_leaves_no_survivor") {
        return;
    }
    for backend in backends() {
        for _ in 0..rounds(5) {
            let child = fork_chain();
            let handle = PidHandle::open_with(child, backend).unwrap();
            handle.wait_exited().unwrap();
            let group = handle.process_group().unwrap();
            let status = group.terminate(Duration::ZERO).unwrap();
            assert_eq!(status.code(), Some(0));
            assert!(!has_living_member(child));
        }
    }
}

/// By pidfd the group can be ended even if other code has reaped the leader, and the kernel has the status.
/// By PID it can then no longer be signalled, and nothing is sent.
#[test]
fn terminate_after_other_code_has_reaped_the_leader() {
    for backend in backends() {
        let (child, members) = leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        reap_externally(child.id());
        let terminated = group.terminate(LONG);
        let is_ended = backend == Backend::Pidfd && kernel() >= (6, 9);
        if has_exit_records(backend) {
            assert_eq!(terminated.unwrap().code(), Some(3));
        } else {
            assert_eq!(errno(terminated), ECHILD);
        }
        assert_eq!(has_living_member(child.id()), !is_ended);
        drop(group);
        assert_eq!(errno(handle.process_group()), ECHILD);
        members.await_end_of_input();
    }
}

/// As a blocked wait does. The member holds the call up until its input closes.
#[test]
fn terminate_returns_the_status_despite_release() {
    for backend in backends() {
        let mut command =
            shell("trap '' TERM; exec 3<&0; sh -c 'read x' <&3 & exec 3<&- </dev/null; exit 3");
        command.process_group(0).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let terminated = while_asleep(
            || group.terminate(LONG),
            || {
                handle.release().unwrap();
                assert_eq!(errno(handle.process_group()), EINVAL);
                assert_eq!(errno(handle.terminate(LONG)), EINVAL);
                group.signal(0).unwrap();
                drop(child.stdin.take());
            },
        );
        assert_eq!(terminated.unwrap().code(), Some(3));
        drop(group);
        assert!(!exists(child.id()));
    }
}

/// A pipeline under construction: a process joins just as the leader has gone. If nothing killed it, the end
/// would wait for it.
#[test]
fn process_that_joins_during_the_end_does_not_delay_it() {
    for backend in backends() {
        for _ in 0..rounds(200) {
            let leader = group("trap '' TERM; echo ready; exec sleep 600");
            let joiner = fork(pause);
            let handle = PidHandle::open_with(leader.id(), backend).unwrap();
            let group = handle.process_group().unwrap();
            let joined = Pid::from_raw(joiner.try_into().unwrap());
            let number = Pid::from_raw(leader.id().try_into().unwrap());
            thread::scope(|scope| {
                let ended = scope.spawn(|| group.terminate(Duration::from_millis(5)));
                await_zombie(leader.id());
                setpgid(joined, number).unwrap();
                eventually("the end", || ended.is_finished());
                let status = ended.join().unwrap().unwrap();
                assert_eq!(status.signal(), Some(SIGKILL));
            });
            group.kill().unwrap(); // It may have joined after the end.
            reap_externally(joiner);
        }
    }
}

/// Like `sudo`, which ends a moment after the process that it has started.
#[test]
fn member_that_may_not_be_signalled_and_ends_by_itself_is_no_error() {
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    for backend in backends() {
        let mut command = shell("echo ready; exec sleep 600");
        command.process_group(0).uid(UNPRIVILEGED_UID);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        // Its input ends when the leader does.
        let mut roots = shell("cat >/dev/null; sleep 0.05; exit 7");
        roots.process_group(child.id().try_into().unwrap());
        let mut roots = roots.stdin(child.stdout.take().unwrap()).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let status = thread::scope(|scope| {
            let end = || {
                drop_privileges();
                handle.process_group().unwrap().terminate(LONG)
            };
            scope.spawn(end).join().unwrap().unwrap()
        });
        assert_eq!(status.signal(), Some(SIGTERM));
        assert_eq!(roots.wait().unwrap().code(), Some(7));
    }
}

/// A security module denies signals with EACCES. The member ends only when its input does.
#[test]
fn member_that_may_not_be_signalled_with_eacces_fails_with_eperm() {
    let test =
        "process_group::terminate::member_that_may_not_be_signalled_with_eacces_fails_with_eperm";
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    if !enter_preloaded(test, "interposed.c") {
        return;
    }
    std::env::set_var("PIDWAIT_TEST_EACCES", "1");
    for backend in backends() {
        let mut command = sleep();
        let child = command
            .process_group(0)
            .uid(UNPRIVILEGED_UID)
            .spawn()
            .unwrap();
        let mut roots = shell("read x");
        roots.process_group(child.id().try_into().unwrap());
        let mut roots = roots.stdin(Stdio::piped()).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        thread::scope(|scope| {
            let ended = scope.spawn(|| {
                drop_privileges();
                assert_eq!(
                    errno(PidHandle::open(roots.id()).unwrap().signal(0)),
                    EACCES
                );
                group.terminate(SHORT)
            });
            eventually("the end", || ended.is_finished());
            assert_eq!(errno(ended.join().unwrap()), EPERM);
        });
        assert_eq!(roots.try_wait().unwrap(), None);
        drop(roots.stdin.take());
        assert_eq!(group.terminate(LONG).unwrap().signal(), Some(SIGTERM));
        roots.wait().unwrap();
    }
}

/// A tracer that is stopped holds the leader, or a member, after SIGKILL.
#[test]
fn end_that_takes_too_long_is_timed_out_and_reaps_nothing() {
    for backend in backends() {
        let child = traceable(sleep().process_group(0)).spawn().unwrap();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let end = Escalation::from(SHORT).kill_timeout(SHORT);
        let error = group.terminate(&end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(
            error.to_string().contains(&child.id().to_string()),
            "{error}"
        );
        assert_eq!(handle.try_wait().unwrap(), None);
        // It is a zombie, so no member of the group is alive.
        group.terminate_unreaped(&end).unwrap();
        tracer.end();
        assert_eq!(group.terminate(LONG).unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn terminate_unreaped_leaves_the_zombie_to_a_wait() {
    each_backend_group("sleep 600 & echo ready; wait", |handle, group| {
        group.terminate_unreaped(LONG).unwrap();
        assert!(!has_living_member(group.id()));
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGTERM));
        group.terminate_unreaped(LONG).unwrap();
        group.terminate_in_background(LONG).unwrap();
    });
}

/// The first signal is sent by the call, the rest by the thread.
#[test]
fn terminate_in_background_ends_all_groups_within_one_grace() {
    for backend in backends() {
        let script = "sh -c 'trap \"\" TERM; echo ready; exec sleep 600' & wait";
        let children = [(); 5].map(|()| group(script));
        let handles: Vec<_> = (children.iter())
            .map(|child| PidHandle::open_with(child.id(), backend).unwrap())
            .collect();
        for handle in &handles {
            let group = handle.process_group().unwrap();
            group.terminate_in_background(SHORT).unwrap();
        }
        for handle in &handles {
            assert_eq!(handle.wait_shared().unwrap().signal(), Some(SIGTERM));
        }
        for child in children {
            eventually("no member is left", || !has_living_member(child.id()));
            await_gone(child.id());
            assert_eq!(rest(child), "");
        }
    }
}

fn each_backend_group(script: &str, check: impl Fn(&PidHandle, &ProcessGroup)) {
    for backend in backends() {
        let child = group(script);
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        check(&handle, &handle.process_group().unwrap());
        assert_eq!(rest(child), "");
    }
}

/// A parent that waits reaps the leader as soon as that has got the first signal.
#[test]
fn group_of_a_non_child_that_its_parent_reaps_is_ended() {
    for backend in backends() {
        for _ in 0..rounds(200) {
            let member = "trap \\\"\\\" TERM; echo ready; exec sleep 600";
            let script = format!("setsid sh -c 'echo $$; sh -c \"{member}\" & wait' & wait $!");
            let mut parent = with_piped_stdout(&script);
            let pid: u32 = line(&mut parent).parse().unwrap();
            assert_eq!(line(&mut parent), "ready");
            let handle = PidHandle::open_with(pid, backend).unwrap();
            let group = handle.process_group().unwrap();
            group.terminate_unreaped(MILLI).unwrap();
            assert!(!has_living_member(pid));
            parent.wait().unwrap();
        }
    }
}
