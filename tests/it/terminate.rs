//! `terminate` and `pidfd_terminate`.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{SIGKILL, SIGTERM, SIGUSR1, SIGUSR2};
use pidwait::{ChildExt, Escalation, PidHandle, Spawned};

use crate::common::{
    at_once, await_gone, backends, ignoring_sigterm, longer_each_time, ready, rounds, shell,
    sleeper, stop, NonChild,
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
    let released = |backend, grace| {
        let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done";
        let mut child = shell(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(output.next().unwrap().unwrap(), "ready");
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        thread::scope(|scope| {
            let terminated = scope.spawn(|| handle.terminate(grace));
            let asked = output.next();
            handle.release().unwrap();
            let status = terminated.join().unwrap().unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
            asked.is_some_and(|line| {
                assert_eq!(line.unwrap(), "asked");
                true
            })
        })
    };
    for backend in backends() {
        longer_each_time(300 * MILLI).find(|grace| released(backend, *grace));
    }
}
