//! When a PID is reused, old handles must not signal, wait for or reap the new process. Each
//! test has a PID namespace of its own: there it can choose the next PID.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::common::pid_namespace::{
    in_pid_namespace, in_pid_namespace_with_each_backend, ForeignReusedPid, ReusedPid,
};
use crate::common::{
    await_gone, await_zombie, backends, errno, exhaust_descriptors, exit, fork, has_exit_records,
    kill, reap_externally, rounds, run_at_idle_priority, sh, shell, sleeper, thread_time,
    with_piped_stdout, zombie, NonChild, Waiter,
};
use nix::libc::{ECHILD, EMFILE, SIGKILL};
use pidwait::{Backend, Capture, ChildExt, PidHandle, Spawned};

/// Asserts that every call that could harm the new process fails with ECHILD.
fn assert_all_echild(handle: &PidHandle) {
    assert_eq!(errno(handle.signal(0)), ECHILD);
    assert_eq!(errno(handle.signal(SIGKILL)), ECHILD);
    assert_eq!(errno(handle.kill()), ECHILD);
    assert_waits_echild(handle);
}

fn assert_waits_echild(handle: &PidHandle) {
    assert_eq!(errno(handle.try_wait()), ECHILD);
    assert_eq!(errno(handle.wait()), ECHILD);
}

#[test]
fn calls_after_a_wait_spare_the_new_process() {
    if !in_pid_namespace("pid_reuse::calls_after_a_wait_spare_the_new_process") {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let child = sh("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            handle.wait().unwrap();
            let reused = reuse(child.id());
            assert_all_echild(&handle);
            assert_eq!(handle.exit_status().unwrap().code(), Some(3));
            reused.assert_untouched();
        }
    }
}

/// `open` found no process. (Go's handle waits for the new process then.)
#[test]
fn calls_after_opening_a_missing_process_spare_the_new_process() {
    if !in_pid_namespace("pid_reuse::calls_after_opening_a_missing_process_spare_the_new_process") {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let pid = zombie("exit 0").id();
            reap_externally(pid);
            let handle = PidHandle::open_with(pid, backend).unwrap();
            let reused = reuse(pid);
            assert_all_echild(&handle);
            assert_eq!(handle.exit_status(), None);
            reused.assert_untouched();
        }
    }
}

/// Other code reaped the child. A waitpid handle must have seen that in some call before the reuse.
#[test]
fn calls_after_an_external_reap_spare_the_new_process() {
    if !in_pid_namespace("pid_reuse::calls_after_an_external_reap_spare_the_new_process") {
        return;
    }
    let calls: [fn(&PidHandle); 3] = [
        |handle| assert_eq!(errno(handle.signal(0)), ECHILD),
        |handle| assert_eq!(errno(handle.try_wait()), ECHILD),
        |handle| assert_eq!(errno(handle.wait()), ECHILD),
    ];
    for backend in backends() {
        for (reuse, call) in ReusedPid::KINDS.into_iter().cycle().zip(calls) {
            let child = zombie("exit 3");
            let handle = PidHandle::open_with(child.id(), backend).unwrap();
            reap_externally(child.id());
            if backend == Backend::Waitpid {
                call(&handle);
            }
            let reused = reuse(child.id());
            assert_all_echild(&handle);
            reused.assert_untouched();
        }
    }
}

/// Other code reaped the child, and a non-child got the PID. A waitpid handle checks before each
/// signal that the process is still our child, so it sends none, even though no call saw the reap.
#[test]
fn calls_after_an_external_reap_spare_a_new_non_child() {
    if !in_pid_namespace("pid_reuse::calls_after_an_external_reap_spare_a_new_non_child") {
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
            assert_all_echild(&handle);
            reused.assert_untouched();
        }
    }
}

/// The new process leads a group with the same ID, which must not be signalled.
#[test]
fn signal_group_after_an_external_reap_spares_the_new_group() {
    if !in_pid_namespace("pid_reuse::signal_group_after_an_external_reap_spares_the_new_group") {
        return;
    }
    for backend in backends() {
        let child = shell("exit 3").process_group(0).spawn().unwrap();
        await_zombie(child.id());
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let group = handle.process_group().unwrap();
        reap_externally(child.id());
        let reused = ForeignReusedPid::leading_group(child.id());
        assert_eq!(errno(group.signal(SIGKILL)), ECHILD);
        let ended = group.terminate(Duration::ZERO);
        if has_exit_records(backend) {
            assert_eq!(ended.unwrap().code(), Some(3)); // From the kernel's record.
        } else {
            assert_eq!(errno(ended), ECHILD);
        }
        drop(group);
        assert_eq!(errno(handle.process_group()), ECHILD);
        reused.assert_untouched();
    }
}

/// A handle of a non-child does not wait for a child that gets the PID.
#[test]
fn waits_of_a_non_child_handle_spare_a_new_child() {
    if !in_pid_namespace("pid_reuse::waits_of_a_non_child_handle_spare_a_new_child") {
        return;
    }
    for backend in backends() {
        for reuse in ReusedPid::KINDS {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            kill(non_child.pid, SIGKILL);
            non_child.finish();
            let reused = reuse(non_child.pid);
            assert_waits_echild(&handle);
            if backend == Backend::Pidfd {
                assert_all_echild(&handle);
            }
            reused.assert_untouched();
        }
    }
}

/// After a call has seen the end of the non-child, a waitpid handle does not signal the PID either.
#[test]
fn calls_after_the_observed_end_of_a_non_child_spare_the_new_process() {
    if !in_pid_namespace(
        "pid_reuse::calls_after_the_observed_end_of_a_non_child_spare_the_new_process",
    ) {
        return;
    }
    let calls: [fn(&PidHandle); 2] = [
        |handle| assert_eq!(errno(handle.signal(0)), ECHILD),
        |handle| assert!(handle.has_exited().unwrap()),
    ];
    for backend in backends() {
        for (reuse, call) in ReusedPid::KINDS.into_iter().zip(calls) {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            kill(non_child.pid, SIGKILL);
            non_child.finish();
            call(&handle);
            let reused = reuse(non_child.pid);
            assert_all_echild(&handle);
            reused.assert_untouched();
        }
    }
}

/// Without a free descriptor a waitpid handle cannot read the start time of the process that has the
/// PID: it sends nothing, and a wait does not take the new process for an adopted child.
#[test]
fn calls_without_descriptors_spare_the_new_process() {
    if !in_pid_namespace("pid_reuse::calls_without_descriptors_spare_the_new_process") {
        return;
    }
    for reuse in ReusedPid::KINDS {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, Backend::Waitpid).unwrap();
        kill(non_child.pid, SIGKILL);
        non_child.finish();
        let reused = reuse(non_child.pid);
        let files = exhaust_descriptors();
        assert_eq!(errno(handle.signal(SIGKILL)), EMFILE);
        assert_eq!(errno(handle.try_wait()), EMFILE);
        assert!(!handle.has_exited().unwrap());
        drop(files);
        assert!(handle.has_exited().unwrap());
        assert_all_echild(&handle);
        reused.assert_untouched();
    }
}

/// `ChildExt` after std's own wait: std has the old status, and the new process is not reaped.
#[test]
fn child_ext_after_a_std_wait_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::child_ext_after_a_std_wait_spares_the_new_process") {
        return;
    }
    for reuse in ReusedPid::KINDS {
        let mut child = sh("exit 3");
        let status = child.wait().unwrap();
        let reused = reuse(child.id());
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        assert_eq!(child.wait().unwrap(), status);
        reused.assert_untouched();
    }
}

/// The same after `pidfd_wait`. It reaps through std, so std's `kill` sends nothing.
#[test]
fn child_ext_after_pidfd_wait_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::child_ext_after_pidfd_wait_spares_the_new_process") {
        return;
    }
    for reuse in ReusedPid::KINDS {
        let mut child = sh("exit 3");
        let status = child.pidfd_wait().unwrap();
        let reused = reuse(child.id());
        assert_eq!(child.wait().unwrap(), status);
        child.kill().unwrap();
        assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
        assert_eq!(errno(child.pidfd_wait()), ECHILD);
        reused.assert_untouched();
    }
}

/// A non-child has the PID, which ECHILD reveals, so no signal is sent.
#[test]
fn child_ext_after_a_reap_spares_a_new_non_child() {
    if !in_pid_namespace("pid_reuse::child_ext_after_a_reap_spares_a_new_non_child") {
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
        assert_all_echild(&Spawned::from(child).handle);
        reused.assert_untouched();
    }
}

/// A capture after std's own wait, even one that would end the child.
#[test]
fn capture_after_a_std_wait_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::capture_after_a_std_wait_spares_the_new_process") {
        return;
    }
    for reuse in ReusedPid::KINDS {
        let mut child = with_piped_stdout("printf out; exit 3");
        let status = child.wait().unwrap();
        let reused = reuse(child.id());
        let capture = Capture::new().timeout(Duration::ZERO);
        let captured = capture.terminate_on_timeout(Duration::ZERO).run(&mut child);
        let captured = captured.unwrap();
        assert_eq!(captured.status, Some(status));
        assert_eq!(captured.stdout, b"out");
        assert_eq!(child.wait().unwrap(), status);
        reused.assert_untouched();
    }
    let mut child = zombie("exit 3");
    child.wait().unwrap();
    let reused = ForeignReusedPid::with_pid(child.id());
    let capture = Capture::new().terminate_on_timeout(Duration::ZERO);
    let captured = capture.timeout(Duration::ZERO).run(&mut child).unwrap();
    assert_eq!(captured.status.and_then(|status| status.code()), Some(3));
    reused.assert_untouched();
}

/// A handle made from a child that std has already reaped.
#[test]
fn a_handle_from_a_reaped_child_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::a_handle_from_a_reaped_child_spares_the_new_process") {
        return;
    }
    let waits: [fn(&mut Child); 2] = [
        |child| assert!(child.wait().is_ok()),
        |child| assert!(child.pidfd_wait().is_ok()),
    ];
    for wait in waits {
        for reuse in ReusedPid::KINDS {
            let mut child = sh("exit 3");
            wait(&mut child);
            let reused = reuse(child.id());
            assert_all_echild(&Spawned::from(child).handle);
            reused.assert_untouched();
        }
    }
}

/// A handle made from a zombie reaps it at once, so its PID is free. To its callers it still looks like
/// a zombie.
#[test]
fn a_handle_from_a_zombie_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::a_handle_from_a_zombie_spares_the_new_process") {
        return;
    }
    for reuse in ReusedPid::KINDS {
        let child = zombie("exit 3");
        let handle = Spawned::from(child).handle;
        let reused = reuse(handle.id());
        handle.signal(SIGKILL).unwrap();
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert_all_echild(&handle);
        reused.assert_untouched();
    }
}

/// docs/contract.md, waits and signals: one thread signals in a loop while another waits and lets the
/// PID be reused as soon as it has the status. A signal that is checked before the reap and sent after
/// it would kill the new process.
#[test]
fn a_signal_during_a_wait_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::a_signal_during_a_wait_spares_the_new_process") {
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

/// docs/contract.md, two concurrent `wait`s: the PID is reused as soon as one wait has returned. A wait
/// that has seen the exit but reaps only after that would reap the new process. Idle priority makes the
/// other waits late.
#[test]
fn a_wait_during_a_wait_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::a_wait_during_a_wait_spares_the_new_process") {
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
                let own = handle.wait();
                // By PID the last wait whose peek returns reaps.
                await_gone(child.id());
                let reused = ReusedPid::forked_zombie(child.id());
                let other = others.into_iter().map(Waiter::join);
                assert_eq!(other.chain([own]).filter(Result::is_ok).count(), 1);
                reused.assert_untouched();
            });
        }
    }
}

/// What one clone has seen, all clones use.
#[test]
fn clones_of_a_done_handle_spare_the_new_process() {
    if !in_pid_namespace("pid_reuse::clones_of_a_done_handle_spare_the_new_process") {
        return;
    }
    let finds: [fn(&PidHandle); 2] = [
        |handle| assert_eq!(handle.wait().unwrap().code(), Some(3)),
        |handle| {
            reap_externally(handle.id());
            assert_eq!(errno(handle.signal(0)), ECHILD);
        },
    ];
    for backend in backends() {
        for find in finds {
            for reuse in ReusedPid::KINDS {
                let child = zombie("exit 3");
                let handle = PidHandle::open_with(child.id(), backend).unwrap();
                let clone = handle.clone();
                find(&handle);
                let reused = reuse(child.id());
                assert_all_echild(&clone);
                assert_all_echild(&handle.clone());
                reused.assert_untouched();
            }
        }
    }
}

/// A forked process has the handle of its parent's child, and does not see when the parent reaps that.
#[test]
fn a_signal_in_a_forked_process_spares_the_new_process() {
    if !in_pid_namespace("pid_reuse::a_signal_in_a_forked_process_spares_the_new_process") {
        return;
    }
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let (mut waiting, go) = UnixStream::pair().unwrap();
        let forked = fork(|| {
            waiting.read_exact(&mut [0]).unwrap();
            if handle.kill().map_err(|error| error.raw_os_error()) != Err(Some(ECHILD)) {
                exit(1);
            }
        });
        kill(child.id(), SIGKILL);
        reap_externally(child.id());
        let reused = ReusedPid::running(child.id());
        (&go).write_all(b"!").unwrap();
        let status = reap_externally(forked);
        reused.assert_untouched();
        assert_eq!(status, 0, "it must fail with ECHILD");
    }
}

/// An identity does not open the process that has the PID now, child or not.
#[test]
fn identity_does_not_open_the_new_process() {
    if !in_pid_namespace_with_each_backend("pid_reuse::identity_does_not_open_the_new_process") {
        return;
    }
    let spawn = || PidHandle::spawn(&mut shell("exit 3")).unwrap().handle;
    for reuse in ReusedPid::KINDS {
        let child = spawn();
        let identity = child.identity().unwrap();
        child.wait().unwrap();
        let reused = reuse(identity.pid());
        let opened = PidHandle::open_identity(&identity).unwrap();
        assert_eq!(opened.id(), identity.pid());
        assert_all_echild(&opened);
        assert!(opened.has_exited().unwrap());
        let new = PidHandle::open(identity.pid()).unwrap();
        assert_ne!(new.identity().unwrap(), identity);
        reused.assert_untouched();
    }

    let child = spawn();
    let identity = child.identity().unwrap();
    child.wait().unwrap();
    let reused = ForeignReusedPid::with_pid(identity.pid());
    assert_all_echild(&PidHandle::open_identity(&identity).unwrap());
    reused.assert_untouched();
}

/// A handle that was opened by identity refers to that process, even if its PID is reused later.
#[test]
fn handle_opened_by_identity_spares_the_new_process() {
    if !in_pid_namespace_with_each_backend(
        "pid_reuse::handle_opened_by_identity_spares_the_new_process",
    ) {
        return;
    }
    let mut non_child = NonChild::new();
    let identity = PidHandle::open(non_child.pid).unwrap().identity().unwrap();
    let opened = PidHandle::open_identity(&identity).unwrap();
    opened.signal(0).unwrap();
    non_child.finish();
    let reused = ForeignReusedPid::with_pid(identity.pid());
    assert_eq!(errno(opened.kill()), ECHILD);
    assert_eq!(errno(opened.identity()), ECHILD);
    reused.assert_untouched();
}
