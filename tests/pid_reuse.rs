//! The pid is given to a stranger, who must not be signalled, waited for or reaped. A binary of
//! its own, and a pid namespace for each test: there the next pid can be chosen.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::pid_namespace::{in_pid_namespace, ForeignReusedPid, ReusedPid};
use common::{
    await_zombie, backends, errno, kill, reap_externally, rounds, run_at_idle_priority, sh, shell,
    sleeper, thread_time, zombie, NonChild, Waiter,
};
use nix::libc::{ECHILD, SIGKILL};
use pidwait::{Backend, ChildExt, PidHandle};

/// Asks a handle for everything that could do harm. It is done, and says so.
fn assert_harmless(handle: &PidHandle) {
    assert_eq!(errno(handle.signal(0)), ECHILD);
    assert_eq!(errno(handle.signal(SIGKILL)), ECHILD);
    assert_eq!(errno(handle.kill()), ECHILD);
    assert_no_waits(handle);
}

fn assert_no_waits(handle: &PidHandle) {
    assert_eq!(errno(handle.try_wait()), ECHILD);
    assert_eq!(errno(handle.wait()), ECHILD);
}

/// After the handle's own wait.
#[test]
fn after_a_wait() {
    if !in_pid_namespace("after_a_wait") {
        return;
    }
    for backend in backends() {
        for reused in ReusedPid::KINDS {
            let child = sh("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.wait().unwrap();
            let reused = reused(child.id());
            assert_harmless(&handle);
            assert_eq!(handle.exit_status().unwrap().code(), Some(3));
            reused.assert_untouched();
        }
    }
}

/// After a lookup that found nobody. Go's handle then waits for whoever comes.
#[test]
fn after_a_lookup_of_nobody() {
    if !in_pid_namespace("after_a_lookup_of_nobody") {
        return;
    }
    for backend in backends() {
        for reused in ReusedPid::KINDS {
            let pid = zombie("exit 0").id();
            reap_externally(pid);
            let handle = PidHandle::open_with(pid, backend).unwrap();
            let reused = reused(pid);
            assert_harmless(&handle);
            assert_eq!(handle.exit_status(), None);
            reused.assert_untouched();
        }
    }
}

/// After somebody else has reaped it. By pid the handle has to have noticed, by any call.
#[test]
fn after_a_theft() {
    if !in_pid_namespace("after_a_theft") {
        return;
    }
    let notices: [fn(&PidHandle); 3] = [
        |handle| assert_eq!(errno(handle.signal(0)), ECHILD),
        |handle| assert_eq!(errno(handle.try_wait()), ECHILD),
        |handle| assert_eq!(errno(handle.wait()), ECHILD),
    ];
    for backend in backends() {
        for (reused, notice) in ReusedPid::KINDS.into_iter().cycle().zip(notices) {
            let child = zombie("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            reap_externally(child.id());
            if backend == Backend::Waitpid {
                notice(&handle);
            }
            let reused = reused(child.id());
            assert_harmless(&handle);
            reused.assert_untouched();
        }
    }
}

/// The same where somebody else's child has got the pid: each signal by pid looks first, whether
/// the child is ours still, and so none is sent, though nobody told the handle of the theft.
#[test]
fn after_a_theft_for_somebody_else() {
    if !in_pid_namespace("after_a_theft_for_somebody_else") {
        return;
    }
    let first_calls: [fn(&PidHandle); 3] = [
        |handle| assert_eq!(errno(handle.kill()), ECHILD),
        |handle| assert_eq!(errno(handle.try_wait()), ECHILD),
        |handle| assert_eq!(errno(handle.wait()), ECHILD),
    ];
    for backend in backends() {
        for call in first_calls {
            let child = zombie("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            reap_externally(child.id());
            let reused = ForeignReusedPid::with_pid(child.id());
            call(&handle);
            assert_harmless(&handle);
            reused.assert_untouched();
        }
    }
}

/// The group of that name is another one then, and is not signalled.
#[test]
fn a_group_after_a_theft() {
    if !in_pid_namespace("a_group_after_a_theft") {
        return;
    }
    for backend in backends() {
        let child = shell("exit 3").process_group(0).spawn().unwrap();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        reap_externally(child.id());
        let reused = ForeignReusedPid::leading_group(child.id());
        assert_eq!(errno(handle.signal_group(SIGKILL)), ECHILD);
        reused.assert_untouched();
    }
}

/// A handle of a process that was no child waits for none, though a child gets the pid.
#[test]
fn after_the_end_of_a_process_that_was_no_child() {
    if !in_pid_namespace("after_the_end_of_a_process_that_was_no_child") {
        return;
    }
    for backend in backends() {
        for reused in ReusedPid::KINDS {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            kill(non_child.pid, SIGKILL);
            non_child.finish();
            let reused = reused(non_child.pid);
            assert_no_waits(&handle);
            if backend == Backend::Pidfd {
                assert_harmless(&handle);
            }
            reused.assert_untouched();
        }
    }
}

/// Once any call has noticed its end, it is not signalled by pid either.
#[test]
fn after_the_known_end_of_a_process_that_was_no_child() {
    if !in_pid_namespace("after_the_known_end_of_a_process_that_was_no_child") {
        return;
    }
    let notices: [fn(&PidHandle); 2] = [
        |handle| assert_eq!(errno(handle.signal(0)), ECHILD),
        |handle| assert!(handle.has_exited().unwrap()),
    ];
    for backend in backends() {
        for (reused, notice) in ReusedPid::KINDS.into_iter().zip(notices) {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            kill(non_child.pid, SIGKILL);
            non_child.finish();
            notice(&handle);
            let reused = reused(non_child.pid);
            assert_harmless(&handle);
            reused.assert_untouched();
        }
    }
}

/// `ChildExt` after std's own wait: std's status is an old one, and the stranger's is not taken.
#[test]
fn of_a_child_after_a_wait_of_std() {
    if !in_pid_namespace("of_a_child_after_a_wait_of_std") {
        return;
    }
    for reused in ReusedPid::KINDS {
        let mut child = sh("exit 3");
        let status = child.wait().unwrap();
        let reused = reused(child.id());
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        assert_eq!(child.wait().unwrap(), status);
        reused.assert_untouched();
    }
}

/// After `pidfd_wait`, the same; and std, who did the reaping, sends nothing by its own `kill`.
#[test]
fn of_a_child_after_pidfd_wait() {
    if !in_pid_namespace("of_a_child_after_pidfd_wait") {
        return;
    }
    for reused in ReusedPid::KINDS {
        let mut child = sh("exit 3");
        let status = child.pidfd_wait().unwrap();
        let reused = reused(child.id());
        assert_eq!(child.wait().unwrap(), status);
        child.kill().unwrap();
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        reused.assert_untouched();
    }
}

/// Nor is it signalled, where somebody else's child has the pid: ECHILD tells that it is one.
#[test]
fn of_a_child_now_somebody_elses() {
    if !in_pid_namespace("of_a_child_now_somebody_elses") {
        return;
    }
    let reaps: [fn(&mut Child); 2] = [
        |child| assert!(child.wait().is_ok()),
        |child| assert_eq!(reap_externally(child.id()), 3 << 8),
    ];
    for reap in reaps {
        let mut child = zombie("exit 3");
        reap(&mut child);
        let reused = ForeignReusedPid::with_pid(child.id());
        assert_eq!(errno(child.pidfd_signal(SIGKILL)), ECHILD);
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        assert_harmless(&PidHandle::from(child));
        reused.assert_untouched();
    }
}

/// A handle made of a child that std has reaped already.
#[test]
fn from_a_finished_child() {
    if !in_pid_namespace("from_a_finished_child") {
        return;
    }
    let waits: [fn(&mut Child); 2] = [
        |child| assert!(child.wait().is_ok()),
        |child| assert!(child.pidfd_wait().is_ok()),
    ];
    for wait in waits {
        for reused in ReusedPid::KINDS {
            let mut child = sh("exit 3");
            wait(&mut child);
            let reused = reused(child.id());
            assert_harmless(&PidHandle::from(child));
            reused.assert_untouched();
        }
    }
}

/// A handle made of a zombie, whose pid is free from then on: what it says is for its users only.
#[test]
fn from_a_zombie() {
    if !in_pid_namespace("from_a_zombie") {
        return;
    }
    for reused in ReusedPid::KINDS {
        let child = zombie("exit 3");
        let handle = PidHandle::from(child);
        let reused = reused(handle.id());
        handle.signal(SIGKILL).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert_harmless(&handle);
        reused.assert_untouched();
    }
}

/// Row: `signal` beside `wait`. One thread signals for as long as it is let, while another waits
/// and, the moment it has the status, gives the pid away. A signal that was looked into before
/// the reap and sent after it would kill the heir.
#[test]
fn a_signal_beside_a_wait() {
    if !in_pid_namespace("a_signal_beside_a_wait") {
        return;
    }
    for backend in backends() {
        for _ in 0..rounds(100) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            thread::scope(|scope| {
                let killer = scope.spawn(|| while handle.kill().is_ok() {});
                handle.wait().unwrap();
                let reused = ReusedPid::running(child.id());
                killer.join().unwrap();
                reused.assert_untouched();
            });
        }
    }
}

/// Row: several `wait`s at once, when the pid is given away as soon as one of them has returned.
/// One that has seen the child's exit, and comes to reap it later than that, must not reap the
/// heir. These ones are late: they run when nobody else wants to.
#[test]
fn a_wait_beside_a_wait() {
    if !in_pid_namespace("a_wait_beside_a_wait") {
        return;
    }
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for backend in backends() {
        for _ in 0..rounds(30) {
            let child = sleeper();
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            let slow_wait = || {
                run_at_idle_priority();
                handle.wait()
            };
            let all_busy = Barrier::new(processors + 1);
            let keep_busy = || {
                all_busy.wait();
                let start = thread_time();
                while thread_time() - start < Duration::from_millis(10) {}
            };
            thread::scope(|scope| {
                let others: Vec<_> = (0..4).map(|_| Waiter::start(scope, slow_wait)).collect();
                for _ in 0..processors {
                    scope.spawn(keep_busy);
                }
                all_busy.wait();
                kill(child.id(), SIGKILL);
                let mine = handle.wait();
                let reused = ReusedPid::forked_zombie(child.id());
                let theirs = others.into_iter().map(Waiter::join);
                assert_eq!(theirs.chain([mine]).filter(Result::is_ok).count(), 1);
                reused.assert_untouched();
            });
        }
    }
}
