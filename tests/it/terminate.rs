//! `terminate` and `pidfd_terminate`.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2};
use pidwait::{ChildExt, Escalation, PidHandle, Spawned};

use crate::common::{
    at_once, await_gone, backends, blocked_on_stdin, errno, has_exit_records, ignoring_sigterm,
    ready, reap_externally, rounds, shell, sleeper, stop, zombie, NonChild,
};

const MILLI: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

/// Runs a check for each way to terminate a child. `start` starts the child.
fn each(
    start: impl Fn() -> Child,
    check: impl Fn(&mut dyn FnMut(Duration) -> io::Result<ExitStatus>),
) {
    for backend in backends() {
        let child = start();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        check(&mut |grace| handle.terminate(grace));
    }
    let mut child = start();
    check(&mut |grace| child.pidfd_terminate(grace));
    // Keep the pipe, which `Spawned::from` would close: the child might exit because of that.
    let mut child = start();
    let _stdin = child.stdin.take();
    let handle = Spawned::from(child).handle;
    check(&mut |grace| handle.terminate(grace));
}

/// The grace never ends, so only SIGTERM can end the child.
#[test]
fn sigterm_ends_child() {
    each(sleeper, |terminate| {
        let status = terminate(Duration::MAX).unwrap();
        assert_eq!(status.signal(), Some(SIGTERM));
    });
}

/// Not by `read`, which can miss a signal that arrives just before it blocks.
const HANDLES_SIGTERM: &str = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";

#[test]
fn child_that_handles_sigterm_is_not_killed() {
    let start = || ready(HANDLES_SIGTERM);
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn child_that_ignores_sigterm_is_killed_after_the_grace() {
    for grace in [Duration::ZERO, MILLI, Duration::from_micros(12_345)] {
        each(ignoring_sigterm, |terminate| {
            let start = Instant::now();
            assert_eq!(terminate(grace).unwrap().signal(), Some(SIGKILL));
            assert!(start.elapsed() >= grace);
        });
    }
}

/// A stopped child handles SIGTERM only after a SIGCONT.
#[test]
fn stopped_child_is_continued_and_handles_sigterm() {
    let start = || {
        let child = ready(HANDLES_SIGTERM);
        stop(child.id());
        child
    };
    each(start, |terminate| {
        assert_eq!(terminate(Duration::MAX).unwrap().code(), Some(5));
    });
}

#[test]
fn terminate_zombie_returns_its_status() {
    let start = || zombie("exit 3");
    each(start, |terminate| {
        assert_eq!(terminate(Duration::ZERO).unwrap().code(), Some(3));
    });
}

/// So a wait in one thread and an end in another are no race. A `Child` has no second thread.
#[test]
fn terminate_after_a_wait_returns_the_status() {
    for backend in backends() {
        let handle = PidHandle::open_with(zombie("exit 3").id(), backend).unwrap();
        handle.wait().unwrap();
        for clone in [handle.clone(), handle] {
            assert_eq!(clone.terminate(Duration::MAX).unwrap().code(), Some(3));
            clone.terminate_unreaped(Duration::MAX).unwrap();
            clone.terminate_in_background(Duration::MAX).unwrap();
            assert_eq!(errno(clone.wait()), ECHILD);
        }
        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        assert_eq!(errno(missing.terminate(Duration::MAX)), ECHILD);
        missing.terminate_unreaped(Duration::MAX).unwrap();
        missing.terminate_in_background(Duration::MAX).unwrap();
    }
    let mut child = zombie("exit 3");
    assert_eq!(
        child.pidfd_terminate(Duration::MAX).unwrap().code(),
        Some(3)
    );
    assert_eq!(errno(child.pidfd_terminate(Duration::MAX)), ECHILD);
}

/// The kernel may have a record of the status.
#[test]
fn terminate_after_external_reap_returns_the_recorded_status_or_echild() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.kill().unwrap();
        reap_externally(child.id());
        let terminated = handle.terminate(Duration::MAX);
        if has_exit_records(backend) {
            assert_eq!(terminated.unwrap().signal(), Some(SIGKILL));
            assert_eq!(errno(handle.wait()), ECHILD);
        } else {
            assert_eq!(errno(terminated), ECHILD);
        }
    }
    let mut child = zombie("exit 3");
    reap_externally(child.id());
    assert_eq!(errno(child.pidfd_terminate(Duration::MAX)), ECHILD);
}

/// Its exit code proves that it got no signal.
#[test]
fn terminate_non_child_fails_with_echild_and_sends_nothing() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), ECHILD);
        assert_eq!(errno(handle.terminate(Duration::MAX)), ECHILD);
        assert_eq!(non_child.finish(), Some(7));
    }
}

#[test]
fn terminate_after_release_fails_with_einval_and_sends_nothing() {
    for backend in backends() {
        let mut child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.release().unwrap();
        assert_eq!(errno(handle.terminate(Duration::ZERO)), EINVAL);
        assert_eq!(child.try_wait().unwrap(), None);
    }
}

#[test]
fn pidfd_terminate_leaves_stdin_open_and_the_status_to_std() {
    let mut child = ignoring_sigterm();
    let status = child.pidfd_terminate(MILLI).unwrap();
    assert!(child.stdin.is_some());
    assert_eq!(child.wait().unwrap(), status);
    child.kill().unwrap();
}

/// What each step sends, in order. The child prints it. If it is slow, it handles signals that have come
/// meanwhile in the order of their numbers, so the steps have that order.
#[test]
fn each_step_is_sent_after_the_grace_of_the_one_before() {
    let script = "trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo term; exit 5' TERM; \
                  echo ready; while :; do sleep 0.01; done";
    let escalation = Escalation::new(SIGUSR1, 50 * MILLI)
        .then(SIGUSR2, 50 * MILLI)
        .then(SIGTERM, LONG)
        .wait_first(50 * MILLI);
    for backend in backends() {
        let mut child = ready(script);
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let start = Instant::now();
        assert_eq!(handle.terminate(&escalation).unwrap().code(), Some(5));
        assert!(start.elapsed() >= 150 * MILLI);
        let mut printed = String::new();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_to_string(&mut printed).unwrap();
        assert_eq!(printed, "usr1\nusr2\nterm\n");
    }
}

/// Its input was closed, so it ends without a signal.
#[test]
fn child_that_ends_by_itself_gets_no_signal() {
    let escalation = Escalation::kill().wait_first(LONG);
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        drop(stdin);
        assert_eq!(handle.terminate(&escalation).unwrap().code(), Some(3));
    }
}

/// It stops again in the handler of the first signal, as by SIGTTOU.
#[test]
fn child_that_stops_during_a_step_is_continued_by_the_next() {
    let script = "trap 'kill -STOP $$' USR1; trap 'exit 5' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    // Longer than a slow machine takes for the handler.
    let escalation = Escalation::new(SIGUSR1, 2_000 * MILLI).then(SIGTERM, LONG);
    at_once(backends(), |backend| {
        let child = ready(script);
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        assert_eq!(handle.terminate(&escalation).unwrap().code(), Some(5));
    });
}

/// Nothing is sent, not even the signals before the wrong one.
#[test]
fn wrong_signal_in_any_step_fails_with_einval() {
    for backend in backends() {
        let mut child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let missing = PidHandle::open_with(i32::MAX.unsigned_abs(), backend).unwrap();
        for wrong in [0, -1, 1000] {
            let escalation = Escalation::from(Duration::ZERO).then(wrong, Duration::ZERO);
            assert_eq!(errno(handle.terminate(&escalation)), EINVAL);
            assert_eq!(errno(handle.terminate_unreaped(&escalation)), EINVAL);
            assert_eq!(errno(handle.terminate_in_background(&escalation)), EINVAL);
            assert_eq!(errno(child.pidfd_terminate(&escalation)), EINVAL);
            assert_eq!(errno(missing.terminate(&escalation)), EINVAL);
        }
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.kill().unwrap();
        handle.wait().unwrap();
    }
}

#[test]
fn terminate_unreaped_leaves_the_zombie() {
    for backend in backends() {
        let mut child = ignoring_sigterm();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.terminate_unreaped(MILLI).unwrap();
        handle.terminate_unreaped(MILLI).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// Such as the daemon of a pidfile. By PID it is told from a later process by its start time.
#[test]
fn terminate_unreaped_ends_a_non_child() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        handle.terminate_unreaped(Duration::MAX).unwrap();
        assert_eq!(non_child.finish(), Some(128 + SIGTERM));
        handle.terminate_unreaped(Duration::MAX).unwrap();
    }
}

/// Its parent, such as the PID 1 of many containers, does not reap it.
#[test]
fn terminate_unreaped_ends_a_non_child_that_stays_a_zombie() {
    for backend in backends() {
        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        stop(non_child.parent.id());
        handle.terminate_unreaped(Duration::MAX).unwrap();
        non_child.finish();
    }
}

#[test]
fn terminate_in_background_ends_all_within_one_grace() {
    for backend in backends() {
        let children = [(); 5].map(|()| ignoring_sigterm());
        let handles: Vec<_> = (children.iter())
            .map(|child| PidHandle::open_with(child.id(), backend).unwrap())
            .collect();
        for handle in &handles {
            handle.terminate_in_background(100 * MILLI).unwrap();
        }
        for handle in &handles {
            assert_eq!(handle.wait_shared().unwrap().signal(), Some(SIGKILL));
        }
        for child in &children {
            await_gone(child.id()); // The thread reaps it if the wait was not first.
        }
    }
}

/// It also ends a non-child, and after a release.
#[test]
fn terminate_in_background_needs_no_handle() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.terminate_in_background(LONG).unwrap();
        handle.release().unwrap();
        drop(handle);
        await_gone(child.id());

        let mut non_child = NonChild::new();
        let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
        handle.terminate_in_background(LONG).unwrap();
        drop(handle);
        let code = non_child.parent.wait().unwrap().code();
        assert_eq!(code, Some(128 + SIGTERM));
    }
}

/// The tracer, which does not wait, holds the process after SIGKILL.
#[cfg(target_os = "linux")]
#[test]
fn end_that_takes_too_long_is_timed_out_and_leaves_the_handle_live() {
    use crate::common::{traceable_sleeper, Tracer};

    for backend in backends() {
        let mut child = traceable_sleeper();
        let Some(tracer) = Tracer::attach(child.id()) else {
            return;
        };
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let escalation = Escalation::kill().kill_timeout(20 * MILLI);
        let start = Instant::now();
        let error = handle.terminate(&escalation).unwrap_err();
        assert!(start.elapsed() >= 20 * MILLI);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            error.to_string().contains(&child.id().to_string()),
            "{error}"
        );
        let error = child.pidfd_terminate(&escalation).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.signal(0).unwrap();
        tracer.end();
        assert_eq!(
            handle.terminate(&escalation).unwrap().signal(),
            Some(SIGKILL)
        );
    }
}

/// One call gets the status by its wait, the other from that one.
#[test]
fn two_ends_at_once_return_the_same_status() {
    for backend in backends() {
        for _ in 0..rounds(100) {
            let handle = PidHandle::open_with(sleeper().id(), backend).unwrap();
            let both = Barrier::new(2);
            let end = || {
                both.wait();
                handle.terminate(Duration::MAX).unwrap()
            };
            let statuses = thread::scope(|scope| {
                let other = scope.spawn(end);
                [end(), other.join().unwrap()]
            });
            assert_eq!(statuses.map(|status| status.signal()), [Some(SIGTERM); 2]);
        }
    }
}

/// It has the process from its start on.
#[test]
fn terminate_continues_after_a_release() {
    for backend in backends() {
        let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done";
        let mut child = shell(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(output.next().unwrap().unwrap(), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let terminated = scope.spawn(|| handle.terminate(300 * MILLI));
            assert_eq!(output.next().unwrap().unwrap(), "asked");
            handle.release().unwrap();
            let status = terminated.join().unwrap().unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
        });
    }
}
