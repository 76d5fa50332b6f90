//! Timeouts: the child keeps its pipes, and no output is lost.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::{both_piped, code, gate, kinds, LONG, SHORT};
use crate::common::{
    assert_idle, at_once, await_zombie, is_blocking, rounds, shell, with_interruptions,
};
#[cfg(target_os = "linux")]
use crate::common::{await_state, file_of_zeros, sleep, traceable, Tracer};
use pidwait::Capture;

#[test]
fn second_call_returns_the_remaining_output() {
    for kind in kinds() {
        let script = "echo one; echo uno >&2; read go; echo two; echo due >&2; exit 3";
        let (mut child, opener) = kind.gated(script);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while (stdout.len(), stderr.len()) < (4, 4) {
            let late = child.timed_out(SHORT);
            stdout.extend(late.stdout);
            stderr.extend(late.stderr);
        }
        assert_eq!((&stdout[..], &stderr[..]), (&b"one\n"[..], &b"uno\n"[..]));
        drop(opener);
        let captured = child.exited(LONG);
        assert_eq!(captured.stdout, b"two\n");
        assert_eq!(captured.stderr, b"due\n");
        assert_eq!(code(&captured), Some(3));
    }
}

/// Many calls time out one after the other. Each byte is returned once and in order.
#[test]
fn repeated_timeouts_neither_lose_nor_repeat_output() {
    let count = rounds(20_000);
    let script = format!("i=0; while [ $i -lt {count} ]; do echo $i; i=$((i + 1)); done");
    for kind in kinds() {
        let mut child = kind.script(&script);
        let mut bytes = Vec::new();
        loop {
            let capture = Capture::new().timeout(Duration::from_millis(1));
            let captured = child.run(&capture).unwrap();
            bytes.extend(captured.stdout);
            if captured.status.is_some() {
                break;
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        let numbers = text.lines().map(str::parse);
        assert!(numbers.eq((0..count).map(Ok::<usize, _>)));
    }
}

#[test]
fn timeout_never_ends_early() {
    at_once(kinds(), |kind| {
        let (mut child, _opener) = kind.gated("read go");
        for micros in [1, 999, 1_001, 12_345, 60_001] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            child.timed_out(timeout);
            assert!(start.elapsed() >= timeout, "{timeout:?} ended early");
        }
    });
}

/// Each call polls everything once, so repeated calls make progress.
#[test]
fn zero_timeout_polls_once() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo out; read go; exit 3");
        let mut bytes = Vec::new();
        while bytes.is_empty() {
            bytes.extend(child.timed_out(Duration::ZERO).stdout);
        }
        assert_eq!(bytes, b"out\n");
        drop(opener);
        assert_eq!(code(&child.exited(Duration::MAX)), Some(3));
    }
}

#[test]
fn timeout_ends_while_child_writes() {
    for kind in kinds() {
        // Limited, so that a call that ignores its timeout does not fill all memory.
        let mut child = kind.script("exec head -c 2147483648 /dev/zero");
        while child.timed_out(SHORT).stdout.is_empty() {}
        child.end();
    }
}

/// Even a busy pipe is empty sometimes. A file is always readable, so only the check of the time
/// can end the call.
#[cfg(target_os = "linux")]
#[test]
fn timeout_ends_while_input_is_always_readable() {
    const ALL: usize = 256 << 20;
    for kind in kinds() {
        let mut child = kind.spawn(&mut sleep());
        child.set_stdout(OwnedFd::from(file_of_zeros(ALL)));
        let late = child.timed_out(Duration::from_millis(1));
        assert!(late.stdout.len() < ALL, "it read on after the timeout");
        child.end();
    }
}

#[test]
fn timeout_returns_the_pipes_unchanged() {
    at_once(kinds(), |kind| {
        for (out, err) in [(true, true), (true, false), (false, true), (false, false)] {
            let stdio = |piped| if piped { Stdio::piped() } else { Stdio::null() };
            let mut command = shell("echo out; echo err >&2; exec sleep 600");
            command
                .stdin(Stdio::piped())
                .stdout(stdio(out))
                .stderr(stdio(err));
            let mut child = kind.spawn(&mut command);
            let [_, stdout, stderr] = child.pipes();
            let before = [stdout, stderr].map(|fd| fd.map(|fd| fd.as_raw_fd()));
            child.timed_out(SHORT);
            let [stdin, stdout, stderr] = child.pipes();
            assert!(stdin.is_none(), "stdin is closed");
            let after = [stdout, stderr];
            assert_eq!(after.map(|fd| fd.map(|fd| fd.as_raw_fd())), before);
            assert_eq!(after.map(|fd| fd.is_some()), [out, err]);
            assert!(after.iter().flatten().all(is_blocking));
            child.end();
        }
    });
}

/// No time is too long or too short.
#[test]
fn durations_of_any_size_do_not_panic() {
    let durations = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ];
    for kind in kinds() {
        for timeout in durations {
            for leak in durations {
                let capture = Capture::new().timeout(timeout).leak_timeout(leak);
                let capture = capture.terminate_on_timeout(leak);
                let captured = kind.script("echo out").run(&capture).unwrap();
                assert!(captured.status.is_some(), "{captured:?}");
            }
        }
    }
}

#[test]
fn timed_out_is_no_output() {
    for kind in kinds() {
        let (mut child, _opener) = kind.gated("read go");
        let late = child.timed_out(SHORT);
        assert_eq!(late.into_output().unwrap_err().kind(), ErrorKind::TimedOut);
    }
}

#[test]
fn call_sleeps_while_child_is_silent() {
    at_once(kinds(), |kind| {
        let (mut child, _opener) = kind.gated("read go");
        assert_idle(|| drop(child.timed_out(Duration::from_millis(500))));
        child.end();
    });
}

/// `poll` always reports a pipe at end of file as ready, so the loop must drop it.
#[test]
fn call_sleeps_after_child_closed_its_output() {
    at_once(kinds(), |kind| {
        let (mut child, _opener) = kind.gated("exec >&- 2>&-; read go");
        assert_idle(|| drop(child.timed_out(Duration::from_millis(500))));
        assert_idle(|| drop(child.timed_out(Duration::from_millis(500))));
        child.end();
    });
}

#[test]
fn interrupted_call_keeps_its_timeout() {
    let timeout = Duration::from_millis(200);
    for kind in kinds() {
        let (mut child, _opener) = kind.gated("read go");
        let start = Instant::now();
        with_interruptions(|| child.timed_out(timeout));
        assert!(start.elapsed() >= timeout);
        child.end();
    }
}

/// The sink takes longer than the timeout, and the child exits meanwhile.
#[test]
fn exit_during_a_slow_sink_is_no_timeout() {
    at_once(kinds(), |kind| {
        for grace in [None, Some(LONG)] {
            let (mut child, opener) = kind.gated("echo out; read go; exit 3");
            let (pid, mut opener) = (child.pid(), Some(opener));
            let timeout = Duration::from_millis(200);
            let mut capture = Capture::new().timeout(timeout);
            if let Some(grace) = grace {
                capture = capture.terminate_on_timeout(grace);
            }
            let start = Instant::now();
            let captured = child.run_with(&capture, |_, _| {
                drop(opener.take());
                await_zombie(pid);
                thread::sleep(timeout.saturating_sub(start.elapsed()));
                Ok(())
            });
            let captured = captured.unwrap();
            // On a slow machine the time can run out before the first output.
            if opener.is_none() {
                assert_eq!(code(&captured), Some(3));
                assert!(captured.stopped_by.is_none(), "{grace:?}");
            } else {
                drop(opener);
            }
        }
    });
}

/// The child has exited and its pipes are at end of file, but it cannot be reaped while another
/// process traces it.
#[cfg(target_os = "linux")]
#[test]
fn call_sleeps_while_tracer_holds_zombie() {
    at_once(kinds(), |kind| {
        let (gate, opener) = gate();
        let mut command = both_piped("echo out; read go; exit 3");
        let mut child = kind.spawn(traceable(&mut command).stdin(gate));
        let Some(tracer) = Tracer::attach(child.pid()) else {
            return;
        };
        drop((command, opener));
        await_state(child.pid(), 'Z');
        let mut stdout = Vec::new();
        assert_idle(|| stdout.extend(child.timed_out(Duration::from_millis(500)).stdout));
        tracer.end();
        let captured = child.exited(LONG);
        assert_eq!(code(&captured), Some(3));
        assert_eq!([stdout, captured.stdout].concat(), b"out\n");
    });
}
