//! `KillOnDrop`.

use std::panic::{catch_unwind, AssertUnwindSafe};

use std::fmt::Debug;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::Duration;

use nix::libc::{ECHILD, EPERM, SIGKILL, SIGTERM};
use pidwait::{KillOnDrop, PidHandle};

use crate::common::isolated::{enter, enter_with_each_backend};
use crate::common::{
    await_gone, await_state, await_zombie, backends, drop_privileges, errno, eventually, exists,
    fork, has_living_member, is_root, kill, line, raw_fork, ready, reap_externally, shell, skip,
    sleeper, stop, traceable_sleeper, zombie, NonChild, Tracer,
};

const LONG: Duration = Duration::from_secs(60);

/// A child that is not slow to die is reaped when the drop returns. Here the machine can be slow, so
/// one of several must be.
#[test]
fn drop_waits_for_the_child_to_die() {
    for backend in backends() {
        let is_reaped_by_drop = || {
            let mut child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            drop(KillOnDrop::new(handle));
            child.try_wait().is_err()
        };
        eventually("a drop reaps", is_reaped_by_drop);
    }
}

#[test]
fn panic_kills_and_reaps_child() {
    for backend in backends() {
        let child = sleeper();
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            std::panic::resume_unwind(Box::new("without a message"));
        }));
        assert!(unwound.is_err());
        await_gone(child.id());
    }
}

/// It must not block, either.
#[test]
fn drop_of_done_handle_does_nothing() {
    for backend in backends() {
        let guard = KillOnDrop::new(PidHandle::open_with(sleeper().id(), backend).unwrap());
        guard.signal(SIGTERM).unwrap();
        guard.wait().unwrap();
        drop(guard);

        let child = zombie("exit 3");
        let guard = KillOnDrop::new(PidHandle::open_with(child.id(), backend).unwrap());
        reap_externally(child.id());
        drop(guard);

        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        drop(KillOnDrop::new(missing));
    }
}

/// Its parent is stopped during the drop and reaps it later.
#[test]
fn drop_kills_non_child_without_waiting() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        stop(non_child.parent.id());
        drop(KillOnDrop::new(
            PidHandle::open_with(non_child.pid, backend).unwrap(),
        ));
        assert_eq!(non_child.finish(), Some(128 + 9));
    }
}

#[test]
fn guard_of_another_type_dereferences_to_it() {
    let mut command = shell("read x; exit 3");
    let spawned = PidHandle::spawn(command.stdin(Stdio::piped())).unwrap();
    let guard = KillOnDrop::new(spawned);
    assert!(guard.stdin.is_some());
    let mut guard = KillOnDrop::new(KillOnDrop::into_inner(guard));
    assert_eq!(guard.handle.try_wait().unwrap(), None);
    let stdin = guard.stdin.take(); // It would end the child.
    let pid = guard.handle.id();
    drop(guard);
    await_gone(pid);
    drop(stdin);
}

#[test]
fn drop_of_group_guard_kills_all_members() {
    for backend in backends() {
        let mut command = shell("sleep 600 & echo ready; sleep 600");
        command.process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        drop(KillOnDrop::new(handle.process_group().unwrap()));
        let mut stdout = child.stdout.take().expect("a pipe");
        assert_eq!(std::io::Read::read(&mut stdout, &mut [0]).unwrap(), 0);
        await_gone(child.id());
    }
}

/// A child with the rights of another user cannot be signalled.
#[test]
fn drop_reaps_exited_child_that_may_not_be_signalled() {
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    for backend in backends() {
        for guards_group in [false, true] {
            let mut child = shell("exit 3").process_group(0).spawn().unwrap();
            await_zombie(child.id());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    drop_privileges();
                    let handle = PidHandle::open_with(child.id(), backend).unwrap();
                    assert_eq!(errno(handle.kill()), EPERM);
                    if guards_group {
                        drop(KillOnDrop::new(handle.process_group().unwrap()));
                    } else {
                        drop(KillOnDrop::new(handle));
                    }
                });
            });
            assert_eq!(errno(child.try_wait()), ECHILD);
        }
    }
}

#[test]
fn child_that_may_not_be_signalled_runs_on_and_is_reaped_in_the_background() {
    if !is_root() {
        return skip("only root can spawn a child of another user");
    }
    for backend in backends() {
        let child = sleeper();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                drop_privileges();
                let handle = PidHandle::open_with(child.id(), backend).unwrap();
                drop(KillOnDrop::new(handle));
            });
        });
        assert!(exists(child.id()));
        kill(child.id(), SIGKILL);
        await_gone(child.id());
    }
}

/// The zombie cannot be reaped until the tracer releases it.
#[test]
fn drop_returns_while_a_tracer_holds_the_child() {
    for backend in backends() {
        let child = traceable_sleeper();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let clone = handle.clone();
        drop(KillOnDrop::new(handle));
        await_state(child.id(), 'Z');
        tracer.end();
        await_gone(child.id());
        eventually("the status is noted", || clone.exit_status().is_some());
    }
}

/// By `fork`, and by a raw `clone`, which libc does not see. There the memory may be locked if this process has
/// other threads that use it.
#[test]
fn drop_in_a_forked_process_does_nothing() {
    if !enter("kill_on_drop::drop_in_a_forked_process_does_nothing") {
        return;
    }
    for backend in backends() {
        for raw in [false, true] {
            for guards_group in [false, true] {
                let mut command = shell("read x; exit 3");
                command.process_group(0).stdin(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let handle = PidHandle::open_with(child.id(), backend).unwrap();
                let guard: Box<dyn Debug> = if guards_group {
                    Box::new(KillOnDrop::new(handle.process_group().unwrap()))
                } else {
                    Box::new(KillOnDrop::new(handle.clone()))
                };
                let dropped = || drop(guard);
                let forked = match raw {
                    false => fork(dropped),
                    true => raw_fork(dropped),
                };
                assert_eq!(reap_externally(forked), 0);
                drop(child.stdin.take());
                assert_eq!(handle.wait().unwrap().code(), Some(3));
            }
        }
    }
}

/// What is guarded is noted when the guard is made.
#[test]
fn group_that_was_taken_out_of_a_guarded_spawned_is_killed() {
    let test = "kill_on_drop::group_that_was_taken_out_of_a_guarded_spawned_is_killed";
    if !enter_with_each_backend(test) {
        return;
    }
    let mut command = shell("sleep 600 & read x; exit 3");
    command.process_group(0).stdin(Stdio::piped());
    let mut guard = KillOnDrop::new(PidHandle::spawn(&mut command).unwrap());
    drop(guard.group.take());
    drop(guard.stdin.take());
    let handle = guard.handle.clone();
    assert_eq!(handle.wait().unwrap().code(), Some(3));
    assert!(has_living_member(handle.id()));
    drop(guard);
    eventually("no member is left", || !has_living_member(handle.id()));
    assert!(!exists(handle.id()));
}

/// The drop waits for a member that has its own way to end.
#[test]
fn guard_with_an_escalation_ends_its_target_gracefully() {
    for backend in backends() {
        let mut child = ready("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        drop(KillOnDrop::with_escalation(handle.clone(), LONG));
        assert_eq!(handle.exit_status().unwrap().code(), Some(5));
        assert_eq!(errno(child.try_wait()), ECHILD);

        let worker =
            "trap \"sleep 0.1; echo saved; exit\" TERM; echo ready; while :; do sleep 0.01; done";
        let mut command = shell(&format!("sh -c '{worker}' & wait"));
        command.process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        drop(KillOnDrop::with_escalation(group, LONG));
        assert_eq!(line(&mut child), "saved");
        assert_eq!(handle.exit_status().unwrap().signal(), Some(SIGTERM));
    }
}
