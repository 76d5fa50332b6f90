//! Timeouts: the call returns the child, and no output is lost.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{both_piped, exited, gate, gated, timed_out, LONG};
use crate::common::{
    assert_idle, await_state, file_of_zeros, is_blocking, rounds, shell, sleeper, traceable,
    with_interruptions, Tracer,
};
use pidwait::TimedOut;

const SHORT: Duration = Duration::from_millis(20);

/// Kills and reaps the child through std.
fn end(mut late: TimedOut) {
    late.child.kill().unwrap();
    late.child.wait().unwrap();
}

#[test]
fn second_call_returns_the_remaining_output() {
    let (child, opener) = gated("echo one; echo uno >&2; read go; echo two; echo due >&2; exit 3");
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut child = child;
    while (stdout.len(), stderr.len()) < (4, 4) {
        let late = timed_out(child, SHORT);
        stdout.extend(late.stdout);
        stderr.extend(late.stderr);
        child = late.child;
    }
    assert_eq!((&stdout[..], &stderr[..]), (&b"one\n"[..], &b"uno\n"[..]));
    drop(opener);
    let output = exited(child, LONG);
    assert_eq!(output.stdout, b"two\n");
    assert_eq!(output.stderr, b"due\n");
    assert_eq!(output.status.code(), Some(3));
}

/// Many calls time out in turn. Each byte is returned once and in order.
#[test]
fn repeated_timeouts_neither_lose_nor_repeat_output() {
    let count = rounds(20_000);
    let script = format!("i=0; while [ $i -lt {count} ]; do echo $i; i=$((i + 1)); done");
    let mut child = both_piped(&script).spawn().unwrap();
    let mut bytes = Vec::new();
    loop {
        match pidwait::ChildExt::pidfd_output_timeout(child, Duration::from_millis(1)).unwrap() {
            pidwait::Captured::TimedOut(late) => {
                bytes.extend(late.stdout);
                child = late.child;
            }
            pidwait::Captured::Exited(output) => {
                bytes.extend(output.stdout);
                break;
            }
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text
        .lines()
        .map(str::parse)
        .eq((0..count).map(Ok::<usize, _>)));
}

#[test]
fn timeout_never_ends_early() {
    let (mut child, _opener) = gated("read go");
    for micros in [1, 999, 1_001, 12_345, 60_001] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        child = timed_out(child, timeout).child;
        assert!(start.elapsed() >= timeout, "{timeout:?} ended early");
    }
}

/// Each call polls everything once, so repeated calls make progress.
#[test]
fn zero_timeout_polls_once() {
    let (child, opener) = gated("echo out; read go; exit 3");
    let mut late = timed_out(child, Duration::ZERO);
    let mut bytes = late.stdout;
    while bytes.is_empty() {
        late = timed_out(late.child, Duration::ZERO);
        bytes.extend(late.stdout);
    }
    assert_eq!(bytes, b"out\n");
    drop(opener);
    assert_eq!(exited(late.child, Duration::MAX).status.code(), Some(3));
}

#[test]
fn timeout_ends_while_child_writes() {
    // Limited, so that a call that ignores its timeout does not fill all memory.
    let mut flood = both_piped("exec head -c 2147483648 /dev/zero");
    let mut late = timed_out(flood.spawn().unwrap(), SHORT);
    while late.stdout.is_empty() {
        late = timed_out(late.child, SHORT);
    }
    end(late);
}

/// Even a busy pipe is empty sometimes. A file is always readable, so only the check of the time
/// can end the call.
#[test]
fn timeout_ends_while_input_is_always_readable() {
    const ALL: usize = 256 << 20;
    let mut child = sleeper();
    child.stdout = Some(OwnedFd::from(file_of_zeros(ALL)).into());
    let late = timed_out(child, Duration::from_millis(1));
    assert!(late.stdout.len() < ALL, "it read on after the timeout");
    end(late);
}

#[test]
fn timeout_returns_the_pipes_unchanged() {
    for (out, err) in [(true, true), (true, false), (false, true), (false, false)] {
        let stdio = |piped| if piped { Stdio::piped() } else { Stdio::null() };
        let mut command = shell("echo out; echo err >&2; exec sleep 600");
        command
            .stdin(Stdio::piped())
            .stdout(stdio(out))
            .stderr(stdio(err));
        let child = command.spawn().unwrap();
        let fds = (
            child.stdout.as_ref().map(AsRawFd::as_raw_fd),
            child.stderr.as_ref().map(AsRawFd::as_raw_fd),
        );
        let late = timed_out(child, SHORT);
        let (stdout, stderr) = (late.child.stdout.as_ref(), late.child.stderr.as_ref());
        assert_eq!((stdout.is_some(), stderr.is_some()), (out, err));
        assert_eq!(
            (
                stdout.map(AsRawFd::as_raw_fd),
                stderr.map(AsRawFd::as_raw_fd)
            ),
            fds
        );
        assert!(stdout.map_or(true, is_blocking));
        assert!(stderr.map_or(true, is_blocking));
        assert!(late.child.stdin.is_none(), "stdin is closed");
        end(late);
    }
}

#[test]
fn call_sleeps_while_child_is_silent() {
    let (child, _opener) = gated("read go");
    let late = assert_idle(|| timed_out(child, Duration::from_millis(500)));
    end(late);
}

/// `poll` always reports a pipe at end of file as ready, so the loop must drop it.
#[test]
fn call_sleeps_after_child_closed_its_output() {
    let (child, _opener) = gated("exec >&- 2>&-; read go");
    let late = assert_idle(|| timed_out(child, Duration::from_millis(500)));
    let late = assert_idle(|| timed_out(late.child, Duration::from_millis(500)));
    end(late);
}

#[test]
fn interrupted_call_keeps_its_timeout() {
    let timeout = Duration::from_millis(200);
    let (child, _opener) = gated("read go");
    let start = Instant::now();
    let late = with_interruptions(|| timed_out(child, timeout));
    assert!(start.elapsed() >= timeout);
    end(late);
}

/// The child has exited and its pipes are at end of file, but it cannot be reaped while another
/// process traces it.
#[test]
fn call_sleeps_while_tracer_holds_zombie() {
    let (gate, opener) = gate();
    let mut command = both_piped("echo out; read go; exit 3");
    let child = traceable(&mut command).stdin(gate).spawn().unwrap();
    let pid = child.id();
    let Some(tracer) = Tracer::attach(pid) else {
        return;
    };
    drop((command, opener));
    await_state(pid, 'Z');
    let late = assert_idle(|| timed_out(child, Duration::from_millis(500)));
    tracer.end();
    let output = exited(late.child, LONG);
    assert_eq!([late.stdout, output.stdout].concat(), b"out\n");
    assert_eq!(output.status.code(), Some(3));
}
