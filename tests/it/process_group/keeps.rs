//! A group keeps its leader: the zombie stays, and with it the number, until the last group is dropped.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM};
use pidwait::{reap_orphans, Backend, PidHandle, ProcessGroup, Spawned, WaitSet};

use super::leader;
use crate::common::isolated::{current_part, enter, enter_with_each_backend};
use crate::common::pid_namespace::{
    in_pid_namespace, in_pid_namespace_with, ForeignReusedPid, ReusedPid,
};
use crate::common::preload::library;
use crate::common::seccomp::{deny, NO_GROUP_SIGNALS};
use crate::common::{
    await_gone, await_state, await_zombie, backends, errno, eventually, exists, fork,
    has_exit_records, has_living_member, is_in_nanosleep, kernel, line, longer_each_time,
    open_descriptors, raw_fork, reap_externally, shell, sleep, state_of, traceable, while_asleep,
    with_piped_stdout, Tracer, Waiter,
};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A leader that exits with 3, and its group.
fn zombie_leader(backend: Backend) -> (PidHandle, ProcessGroup) {
    let child = shell("exit 3").process_group(0).spawn().unwrap();
    await_zombie(child.id());
    let handle = PidHandle::open_with(child.id(), backend).unwrap();
    let group = handle.process_group().unwrap();
    (handle, group)
}

#[test]
fn every_wait_returns_the_status_and_leaves_the_zombie() {
    type Wait = fn(&PidHandle) -> i32;
    let waits: [Wait; 9] = [
        |handle| handle.wait().unwrap().into_raw(),
        |handle| handle.try_wait().unwrap().unwrap().into_raw(),
        |handle| handle.wait_timeout(LONG).unwrap().unwrap().into_raw(),
        |handle| handle.wait_shared().unwrap().into_raw(),
        |handle| {
            handle
                .wait_shared_timeout(LONG)
                .unwrap()
                .unwrap()
                .into_raw()
        },
        |handle| handle.terminate(LONG).unwrap().into_raw(),
        |handle| handle.wait_usage().unwrap().0.into_raw(),
        |handle| {
            let mut set = WaitSet::new().unwrap();
            set.insert(handle.clone(), ()).unwrap();
            set.wait().unwrap().unwrap().status.unwrap().into_raw()
        },
        |handle| {
            handle.reap_in_background();
            handle.exit_status().unwrap().into_raw()
        },
    ];
    for backend in backends() {
        for wait in waits {
            let (handle, group) = zombie_leader(backend);
            assert_eq!(wait(&handle), 3 << 8);
            assert_eq!(errno(handle.wait()), ECHILD);
            assert_eq!(errno(handle.signal(0)), ECHILD);
            assert_eq!(state_of(handle.id()), Some('Z'));
            group.signal(0).unwrap();
            assert!(group.has_exited().unwrap());
            drop(group);
            assert!(!exists(handle.id()));
        }
    }
}

/// With `waitpid` alone this fails once the leader was waited for.
#[test]
fn the_rest_of_the_group_is_ended_after_a_wait_for_the_leader() {
    for backend in backends() {
        let mut command = shell("sh -c 'trap \"\" TERM; echo ready; exec sleep 600' & read x");
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        handle.kill().unwrap();
        await_zombie(child.id());
        let status = handle.try_wait().unwrap().expect("it has exited");
        assert_eq!(status.signal(), Some(SIGKILL));
        assert!(!group.has_exited().unwrap());
        assert_eq!(group.members().unwrap().len(), 1);
        assert_eq!(group.terminate(SHORT).unwrap(), status);
        assert!(!has_living_member(child.id()));
        assert_eq!(group.members().unwrap(), []);
    }
}

/// The zombie has no other owner then.
#[test]
fn the_last_drop_reaps_only_a_leader_whose_status_was_returned() {
    for backend in backends() {
        let (handle, group) = zombie_leader(backend);
        drop(group);
        assert_eq!(state_of(handle.id()), Some('Z'));
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert!(!exists(handle.id()));

        // The handle is dropped first.
        let (handle, group) = zombie_leader(backend);
        let pid = handle.id();
        handle.wait().unwrap();
        drop(handle);
        let clone = group.clone();
        drop(group);
        assert_eq!(state_of(pid), Some('Z'));
        drop(clone);
        assert!(!exists(pid));
    }
}

#[test]
fn spawned_keeps_the_group_of_a_leader() {
    if !enter_with_each_backend("process_group::keeps::spawned_keeps_the_group_of_a_leader") {
        return;
    }
    let before = open_descriptors();
    for as_std in [false, true] {
        let mut command = sleep();
        command.process_group(0);
        let Spawned { handle, group, .. } = if as_std {
            Spawned::from(command.spawn().unwrap())
        } else {
            PidHandle::spawn(&mut command).unwrap()
        };
        let group = group.expect("it leads a group");
        assert_eq!(
            (group.id(), group.leader().id()),
            (handle.id(), handle.id())
        );
        group.kill().unwrap();
        handle.wait().unwrap();
        assert_eq!(state_of(handle.id()), Some('Z'));
        drop(group);
        assert!(!exists(handle.id()));
        assert_eq!(open_descriptors(), before);

        // Without the group.
        let handle = PidHandle::spawn(command.process_group(0)).unwrap().handle;
        handle.kill().unwrap();
        handle.wait().unwrap();
        assert!(!exists(handle.id()));
    }
    assert!(PidHandle::spawn(&mut shell("exit 3"))
        .unwrap()
        .group
        .is_none());
    let leader = shell("exit 3").process_group(0).spawn().unwrap();
    await_zombie(leader.id());
    assert!(Spawned::from(leader).group.is_none(), "it is reaped");
}

#[test]
fn group_works_after_release_and_keeps_the_descriptor() {
    if !enter_with_each_backend(
        "process_group::keeps::group_works_after_release_and_keeps_the_descriptor",
    ) {
        return;
    }
    let (child, members) = leader();
    await_zombie(child.id());
    let before = open_descriptors();
    let handle = PidHandle::open(child.id()).unwrap();
    let with_handle = open_descriptors();
    let group = handle.process_group().unwrap();
    handle.release().unwrap();
    assert_eq!(open_descriptors(), with_handle);
    assert_eq!(errno(handle.wait()), EINVAL);
    assert_eq!(errno(handle.signal(0)), EINVAL);
    assert_eq!(errno(handle.process_group()), EINVAL);
    assert!(!group.has_exited().unwrap());
    assert_eq!(group.members().unwrap().len(), 4);
    assert_eq!(group.terminate(LONG).unwrap().code(), Some(3));
    members.await_end();
    drop(group);
    assert_eq!(open_descriptors(), before - 2); // `Members` had two pipes.
    assert!(!exists(child.id()));
}

/// Both blocked when the handle was released.
#[test]
fn one_of_two_waits_gets_the_status_of_a_kept_leader_after_a_release() {
    for backend in backends() {
        let (child, stdin) = blocked_leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let mut results = Vec::new();
        let first = while_asleep(
            || handle.wait(),
            || {
                let second = while_asleep(
                    || handle.wait(),
                    || {
                        handle.release().unwrap();
                        drop(stdin);
                    },
                );
                results.push(second);
            },
        );
        results.push(first);
        let (got, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((got.len(), failed.len()), (1, 1));
        for failed in failed {
            assert_eq!(errno(failed), EINVAL);
        }
        assert!(group.has_exited().unwrap());
        assert_eq!(state_of(child.id()), Some('Z'));
        drop(group);
        assert!(!exists(child.id()));
    }
}

/// A leader that exits with code 3 when its input closes.
fn blocked_leader() -> (Child, std::process::ChildStdin) {
    let mut command = shell("read x; exit 3");
    command.process_group(0).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

/// The usage comes with the peek.
#[test]
fn wait_usage_beside_a_group_has_the_usage() {
    for backend in backends() {
        let (handle, _group) = zombie_leader(backend);
        let (status, usage) = handle.wait_usage().unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(usage.max_rss > 4096, "{usage:?}");
    }
}

/// Its own wait has given out the status, so nothing else would reap the zombie.
#[test]
fn zombie_that_a_blocked_peek_keeps_is_reaped_by_the_last_one() {
    for backend in backends() {
        let (child, stdin) = blocked_leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let waits: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| handle.wait_exited()))
                .collect();
            let group = handle.process_group().unwrap();
            drop(stdin);
            handle.wait().unwrap();
            drop(group);
            waits
                .into_iter()
                .for_each(|wait| wait.join().unwrap().unwrap());
        });
        await_gone(child.id());
    }
}

/// The background reaper does that once the tracer lets it go. The drop does not block.
#[test]
fn leader_that_a_tracer_holds_is_reaped_after_the_last_drop() {
    for backend in backends() {
        let mut command = sleep();
        let child = traceable(command.process_group(0)).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        group.kill().unwrap();
        handle.wait().unwrap();
        drop(group);
        assert!(!exists(child.id()));

        let child = traceable(command.process_group(0)).spawn().unwrap();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        handle.kill().unwrap();
        await_state(child.id(), 'Z');
        handle.reap_in_background();
        drop(group);
        assert_eq!(state_of(child.id()), Some('Z'));
        tracer.end();
        await_gone(child.id());
    }
}

/// By `fork`, and by a raw `clone`, which libc does not see. There the memory may be locked if this process has
/// other threads that use it.
#[test]
fn group_dropped_in_a_forked_process_reaps_nothing() {
    if !enter("process_group::keeps::group_dropped_in_a_forked_process_reaps_nothing") {
        return;
    }
    for backend in backends() {
        for raw in [false, true] {
            let (handle, group) = zombie_leader(backend);
            handle.wait().unwrap();
            let copy = group.clone();
            let dropped = || {
                drop(group);
                drop(copy);
            };
            let forked = match raw {
                false => fork(dropped),
                true => raw_fork(dropped),
            };
            assert_eq!(reap_externally(forked), 0);
            // `fork` has leaked this process's copies, so the leader is kept.
            assert_eq!(state_of(handle.id()), Some('Z'));
            reap_externally(handle.id());
        }
    }
}

#[test]
fn group_of_a_non_child_is_not_kept() {
    for backend in backends() {
        let script = "setsid sh -c 'echo $$; exec sleep 600' & wait $!";
        let mut parent = with_piped_stdout(script);
        let pid: u32 = line(&mut parent).parse().unwrap();
        let handle = PidHandle::open_with(pid, backend).unwrap();
        let group = handle.process_group().unwrap();
        assert!(!group.has_exited().unwrap());
        assert_eq!(group.members().unwrap(), [pid]);
        assert_eq!(errno(group.terminate(LONG)), ECHILD);
        assert!(!group.has_exited().unwrap());
        group.terminate_unreaped(LONG).unwrap();
        parent.wait().unwrap(); // It has reaped the leader.
        drop(group);
        assert_eq!(errno(handle.process_group()), ECHILD);
    }
}

#[test]
fn temporary_group_reaps_at_the_end_of_the_statement() {
    for backend in backends() {
        let child = sleep().process_group(0).spawn().unwrap();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let status = handle.process_group().unwrap().terminate(LONG).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
        assert!(!exists(child.id()));
        assert_eq!(errno(handle.process_group()), ECHILD);
    }
}

/// Other code reaps the kept zombie, and another child of this process gets the PID. It is not reaped when
/// the group is dropped, nor signalled.
#[test]
fn drop_after_other_code_has_reaped_the_leader_spares_a_new_child() {
    if !in_pid_namespace(
        "process_group::keeps::drop_after_other_code_has_reaped_the_leader_spares_a_new_child",
    ) {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let (handle, group) = zombie_leader(backend);
            handle.wait().unwrap();
            reap_externally(handle.id());
            let reused = reuse(handle.id());
            assert_eq!(errno(group.kill()), ECHILD);
            assert_eq!(reap_orphans(|_| true).unwrap(), 0);
            drop(group);
            reused.assert_untouched();
        }
        for is_named in [false, true] {
            let (handle, group) = zombie_leader(backend);
            handle.wait().unwrap();
            reap_externally(handle.id());
            let reused = ForeignReusedPid::leading_group(handle.id());
            if is_named {
                assert_eq!(errno(group.kill()), ECHILD);
                // By pidfd it is certain that the group is empty.
                let ended = group.terminate_unreaped(LONG);
                if backend == Backend::Pidfd && kernel() >= (6, 9) {
                    ended.unwrap();
                } else {
                    assert_eq!(errno(ended), ECHILD);
                }
            }
            drop(group);
            reused.assert_untouched();
        }
    }
}

/// An end that has seen the members before other code reaps the leader still ends them.
#[test]
fn end_in_progress_ends_the_members_that_it_has_seen() {
    let is_reaped_meanwhile = |backend, grace| {
        let script = "sh -c 'trap \"\" TERM; echo ready; exec sleep 600' & read x; exit 3";
        let mut command = shell(script);
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        drop(child.stdin.take());
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        let ended = while_asleep(
            || group.terminate(grace),
            || assert_eq!(reap_externally(child.id()), 3 << 8),
        );
        assert!(!has_living_member(child.id()));
        match ended {
            Ok(status) => {
                assert_eq!(status.code(), Some(3));
                if !has_exit_records(backend) {
                    return false; // It had ended before.
                }
            }
            Err(error) => {
                assert!(!has_exit_records(backend));
                assert_eq!(error.raw_os_error(), Some(ECHILD));
            }
        }
        if backend == Backend::Waitpid || kernel() < (6, 9) {
            assert_eq!(errno(group.signal(0)), ECHILD);
        }
        true
    };
    for backend in backends() {
        longer_each_time(Duration::from_millis(300))
            .find(|grace| is_reaped_meanwhile(backend, *grace));
    }
}

/// Before Linux 6.9 a group is signalled by its number, also by pidfd. A wait in another thread must not
/// free that number between the check of the leader and the signal, which is slow here.
#[test]
fn kill_of_a_group_during_a_wait_spares_a_new_group() {
    let test = "process_group::keeps::kill_of_a_group_during_a_wait_spares_a_new_group";
    if current_part().is_none() {
        if let Some(library) = library("interposed.c") {
            in_pid_namespace_with(test, |command| {
                command.env("LD_PRELOAD", library);
            });
        }
        return;
    }
    for backend in backends() {
        let (child, stdin) = blocked_leader();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        std::env::set_var("PIDWAIT_TEST_SLOW_KILL", "500");
        thread::scope(|scope| {
            let waiter = Waiter::start(scope, || handle.wait());
            let killer = Waiter::spawn(scope, || {
                deny(&[NO_GROUP_SIGNALS]).unwrap();
                handle.process_group().unwrap().kill()
            });
            eventually("it sleeps", || {
                killer.is_finished() || is_in_nanosleep(killer.tid)
            });
            drop(stdin);
            await_gone(child.id());
            let reused = ForeignReusedPid::leading_group(child.id());
            killer.join().unwrap();
            assert_eq!(waiter.join().unwrap().code(), Some(3));
            reused.assert_untouched();
        });
        std::env::remove_var("PIDWAIT_TEST_SLOW_KILL");
    }
}
