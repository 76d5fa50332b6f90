//! What stops a run: silence, a condition, a cancel. `timeout.rs` has the timeout.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::SIGTERM;
use pidwait::{Capture, StoppedBy};

use super::{both_piped, code, gate, kinds, DRIVERS, LONG, SHORT};
use crate::common::{at_once, await_zombie, is_blocking, shell};

#[test]
fn silence_stops_the_run_and_leaves_the_child() {
    at_once(kinds(), |kind| {
        let (mut child, opener) = kind.gated("echo out; read go; exit 3");
        let idle = Duration::from_millis(100);
        let capture = Capture::new().idle_timeout(idle);
        let (mut stdout, mut start) = (Vec::new(), Instant::now());
        while stdout.is_empty() {
            start = Instant::now();
            let captured = child.run(&capture).unwrap();
            assert_eq!(captured.stopped_by, Some(StoppedBy::IdleTimeout));
            assert_eq!(captured.status, None);
            stdout.extend(captured.stdout);
        }
        assert!(start.elapsed() >= idle, "it ended early");
        assert_eq!(stdout, b"out\n");
        drop(opener);
        assert_eq!(code(&child.exited(LONG)), Some(3));
    });
}

/// Of either stream. The whole run takes longer than the time that it may be silent.
#[test]
fn each_output_begins_the_idle_time_again() {
    const SCRIPT: &str =
        "for i in 1 2 3 4 5; do echo $i; sleep 0.25; echo $i >&2; sleep 0.25; done; exit 3";
    at_once(kinds(), |kind| {
        let capture = Capture::new().idle_timeout(Duration::from_secs(2));
        let captured = kind.script(SCRIPT).run(&capture).unwrap();
        assert_eq!(captured.stopped_by, None, "{kind:?}");
        assert_eq!(code(&captured), Some(3));
    });
}

#[test]
fn time_in_the_sink_is_not_idle() {
    let idle = Duration::from_millis(100);
    at_once(kinds(), |kind| {
        let (mut child, _opener) = kind.gated("echo out; read go");
        let mut returned = None;
        // The first run may end before the first output.
        while returned.is_none() {
            let captured = child.run_with(&Capture::new().idle_timeout(idle), |_, _| {
                thread::sleep(2 * idle);
                returned = Some(Instant::now());
                Ok(())
            });
            assert_eq!(captured.unwrap().stopped_by, Some(StoppedBy::IdleTimeout));
        }
        assert!(returned.unwrap().elapsed() >= idle);
        child.end();
    });
}

/// The leak timeout governs there.
#[test]
fn silence_after_the_exit_stops_nothing() {
    at_once(kinds(), |kind| {
        let (mut child, _opener) = kind.gated("exec 3<&0; (read go <&3) & exit 3");
        await_zombie(child.pid());
        let leak = Duration::from_millis(200);
        let start = Instant::now();
        let capture = Capture::new().idle_timeout(SHORT).leak_timeout(leak);
        let captured = child.run(&capture).unwrap();
        assert!(start.elapsed() >= leak);
        assert_eq!((code(&captured), captured.stopped_by), (Some(3), None));
        assert!(captured.leaked);
    });
}

/// Neither without a stream, nor if both have ended.
#[test]
fn nobody_is_silent_who_cannot_write() {
    let capture = Capture::new()
        .idle_timeout(SHORT)
        .timeout(Duration::from_millis(300));
    at_once(kinds(), |kind| {
        for piped in [false, true] {
            let (gate, _opener) = gate();
            let script = "exec >&- 2>&-; read go";
            let mut command = if piped {
                both_piped(script)
            } else {
                shell(script)
            };
            let mut child = kind.spawn(command.stdin(gate));
            let mut captured = child.run(&capture).unwrap();
            // The shell may take a while to close them.
            while piped && captured.stopped_by == Some(StoppedBy::IdleTimeout) {
                captured = child.run(&capture).unwrap();
            }
            assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
            child.end();
        }
    });
}

#[test]
fn silence_ends_the_child_by_the_escalation() {
    for kind in kinds() {
        let mut child = kind.script("exec sleep 600");
        let capture = Capture::new()
            .idle_timeout(SHORT)
            .terminate_on_timeout(LONG);
        let captured = child.run(&capture).unwrap();
        assert_eq!(captured.stopped_by, Some(StoppedBy::IdleTimeout));
        assert_eq!(captured.status.unwrap().signal(), Some(SIGTERM));
        let failed = captured.into_output().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::TimedOut);
    }
    for driver in DRIVERS {
        let capture = Capture::new().idle_timeout(SHORT);
        let captured = driver.output(&capture, &mut shell("exec sleep 600"));
        let captured = captured.unwrap();
        assert_eq!(captured.stopped_by, Some(StoppedBy::IdleTimeout));
        assert!(captured.status.is_some());
    }
}

/// A server that prints when it is ready. What is set for a stop does not apply.
#[test]
fn condition_leaves_the_child_running_with_its_pipes() {
    for kind in kinds() {
        let script = "echo starting; echo warning >&2; echo ready; read go; echo bye; exit 3";
        let (mut child, opener) = kind.gated(script);
        let capture = Capture::new().timeout(LONG).terminate_on_timeout(SHORT);
        let is_ready = |stdout: &[u8], _: &[u8]| stdout.ends_with(b"ready\n");
        let start = child.run_until(&capture, is_ready).unwrap();
        assert_eq!(start.stopped_by, Some(StoppedBy::Condition));
        assert_eq!((start.status, start.leaked), (None, false));
        assert_eq!(start.stdout, b"starting\nready\n");
        let pipes = child.pipes();
        assert!(pipes[1..]
            .iter()
            .all(|fd| fd.is_some_and(|fd| is_blocking(&fd))));
        assert!(!start.success());
        let failed = start.clone().into_output().unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Other);

        drop(opener);
        let rest = child.exited(LONG);
        assert_eq!((&rest.stdout[..], code(&rest)), (&b"bye\n"[..], Some(3)));
        assert_eq!([start.stderr, rest.stderr].concat(), b"warning\n");
    }
}

#[test]
fn condition_sees_both_streams_and_what_is_kept_of_them() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("seq 1000 >&2; printf out; read go");
        let capture = Capture::new().max_bytes(2).tail_bytes(5);
        let start = child.run_until(&capture, |stdout, stderr| {
            stdout == b"out" && stderr == b"1\n1000\n"
        });
        let start = start.unwrap();
        assert_eq!(start.stopped_by, Some(StoppedBy::Condition));
        assert_eq!(start.stderr_parts(), (&b"1\n"[..], &b"1000\n"[..]));
        drop(opener);
        child.exited(LONG);
    }
}

/// What came with the match is in the result, and what was not read yet is in the pipe.
#[test]
fn condition_loses_no_output() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("seq 100000; read go");
        let has_line = |stdout: &[u8], _: &[u8]| stdout.windows(6).any(|it| it == b"\n5000\n");
        let start = child.run_until(&Capture::new(), has_line).unwrap();
        assert_eq!(start.stopped_by, Some(StoppedBy::Condition));
        drop(opener);
        let all = [start.stdout, child.exited(LONG).stdout].concat();
        let text = String::from_utf8(all).unwrap();
        let numbers = text.lines().map(str::parse);
        assert!(numbers.eq((1..=100_000).map(Ok::<usize, _>)));
    }
}

#[test]
fn run_until_ends_at_the_exit_or_a_timeout_if_the_condition_stays_false() {
    for kind in kinds() {
        let never = |_: &[u8], _: &[u8]| false;
        let (mut child, opener) = kind.gated("echo out; read go; exit 3");
        let capture = Capture::new().timeout(SHORT);
        let late = child.run_until(&capture, never).unwrap();
        assert_eq!(late.stopped_by, Some(StoppedBy::Timeout));
        drop(opener);
        let captured = child.run_until(&Capture::new(), never).unwrap();
        assert_eq!((code(&captured), captured.stopped_by), (Some(3), None));
        assert_eq!([late.stdout, captured.stdout].concat(), b"out\n");
    }
}

/// The child has exited when the condition becomes true.
#[test]
fn exit_wins_over_the_condition() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo one; read go; echo two; exit 3");
        let (pid, mut opener) = (child.pid(), Some(opener));
        let captured = child.run_until(&Capture::new(), |_, _| {
            if opener.take().is_some() {
                await_zombie(pid);
            }
            true
        });
        let captured = captured.unwrap();
        assert_eq!((code(&captured), captured.stopped_by), (Some(3), None));
        assert_eq!(captured.stdout, b"one\ntwo\n");
    }
}

#[cfg(any(feature = "tokio", feature = "async-io"))]
mod cancel {
    use std::future::{pending, ready, Future};

    use pidwait::{AsyncCapture, CaptureError, Captured, Reactor};

    use super::super::subject::{each_reactor, AnyChild, Subject, Timers};
    use super::*;

    /// A run with a cancel.
    async fn run<R: Reactor, C: Future>(
        run: AsyncCapture<R, C>,
        child: &mut Subject,
    ) -> Result<Captured, CaptureError> {
        match &mut child.child {
            AnyChild::Child(child) => run.run(child).await,
            AnyChild::Spawned(spawned) => run.run(spawned).await,
        }
    }

    #[test]
    fn cancel_stops_the_run_and_leaves_the_child() {
        each_reactor!(|kind, reactor| {
            let (mut child, opener) = kind.gated("echo out; read go; exit 3");
            let mut stdout = Vec::new();
            while stdout.is_empty() {
                let cancel = reactor.sleep(SHORT);
                let capture = Capture::new().on(reactor).until(cancel);
                let captured = run(capture, &mut child).await.unwrap();
                assert_eq!(captured.stopped_by, Some(StoppedBy::Cancel));
                assert_eq!(captured.status, None);
                stdout.extend_from_slice(&captured.stdout);
                let failed = captured.into_output().unwrap_err();
                assert_eq!(failed.kind(), ErrorKind::Other);
            }
            drop(opener);
            assert_eq!(code(&child.exited(LONG)), Some(3));
        });
    }

    #[test]
    fn cancel_ends_the_child_by_the_escalation() {
        each_reactor!(|kind, reactor| {
            let mut child = kind.script("exec sleep 600");
            let capture = Capture::new().terminate_on_timeout(LONG).on(reactor);
            let captured = run(capture.until(ready(7)), &mut child).await.unwrap();
            assert_eq!(captured.stopped_by, Some(StoppedBy::Cancel));
            assert_eq!(captured.status.unwrap().signal(), Some(SIGTERM));

            let run = Capture::new().on(reactor).until(ready(()));
            let captured = run.output(shell("exec sleep 600")).await.unwrap();
            assert_eq!(captured.stopped_by, Some(StoppedBy::Cancel));
            assert!(captured.status.is_some());
        });
    }

    #[test]
    fn second_until_replaces_the_first() {
        each_reactor!(|kind, reactor| {
            let mut child = kind.script("exit 3");
            let capture = Capture::new().on(reactor).until(ready(()));
            let captured = run(capture.until(pending::<u8>()), &mut child).await;
            assert_eq!(code(&captured.unwrap()), Some(3));
        });
    }

    #[test]
    fn exit_wins_over_the_cancel() {
        each_reactor!(|kind, reactor| {
            let mut child = kind.script("head -c 65536 /dev/zero; exit 3");
            await_zombie(child.pid());
            let capture = Capture::new().on(reactor).until(ready(()));
            let captured = run(capture, &mut child).await.unwrap();
            assert_eq!((code(&captured), captured.stopped_by), (Some(3), None));
            assert_eq!(captured.stdout.len(), 65536);
        });
    }

    #[test]
    fn cancel_cuts_the_drain() {
        each_reactor!(|kind, reactor| {
            let script = "exec 3<&0; (read go <&3) & echo out; exit 3";
            let (mut child, _opener) = kind.gated(script);
            await_zombie(child.pid());
            let cancel = reactor.sleep(Duration::from_millis(100));
            let capture = Capture::new().leak_timeout(LONG).on(reactor).until(cancel);
            let captured = run(capture, &mut child).await.unwrap();
            assert_eq!((code(&captured), captured.stopped_by), (Some(3), None));
            assert!(captured.leaked);
            assert_eq!(captured.stdout, b"out\n");
        });
    }

    #[test]
    fn cancel_during_an_escalation_changes_nothing() {
        each_reactor!(|kind, reactor| {
            let script = "trap 'sleep 0.3; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
            let mut child = kind.script(script);
            while child.timed_out(SHORT).stdout.is_empty() {}
            let capture = Capture::new().timeout(SHORT).terminate_on_timeout(LONG);
            let cancel = reactor.sleep(Duration::from_millis(150));
            let captured = run(capture.on(reactor).until(cancel), &mut child).await;
            let captured = captured.unwrap();
            // On a slow machine both are due at once.
            assert!(captured.stopped_by.is_some());
            assert_eq!(code(&captured), Some(7));
        });
    }
}
