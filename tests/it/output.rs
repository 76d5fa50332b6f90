//! `pidfd_output_timeout`: captures the output of a child until the child itself exits.

mod timeout;

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use pidwait::{Captured, ChildExt, TimedOut};

use crate::common::{
    await_zombie, errno, is_blocking, reap_externally, rounds, set_pipe_size, shell,
};
use nix::libc::{ECHILD, SIGKILL};

const LONG: Duration = Duration::from_secs(600);

fn both_piped(script: &str) -> Command {
    let mut command = shell(script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts a child with both output pipes. Its standard input ends when the returned socket is
/// dropped. It is not the `Child`'s own `stdin`, because the call under test closes that.
fn gated(script: &str) -> (Child, UnixStream) {
    let (gate, opener) = gate();
    (both_piped(script).stdin(gate).spawn().unwrap(), opener)
}

fn gate() -> (OwnedFd, UnixStream) {
    let (gate, opener) = UnixStream::pair().unwrap();
    (gate.into(), opener)
}

fn run(script: &str) -> Output {
    exited(both_piped(script).spawn().unwrap(), LONG)
}

#[track_caller]
fn exited(child: Child, timeout: Duration) -> Output {
    match child.pidfd_output_timeout(timeout).unwrap() {
        Captured::Exited(output) => output,
        Captured::TimedOut(late) => panic!("timed out: {late:?}"),
    }
}

#[track_caller]
fn timed_out(child: Child, timeout: Duration) -> TimedOut {
    match child.pidfd_output_timeout(timeout).unwrap() {
        Captured::TimedOut(late) => late,
        Captured::Exited(output) => panic!("exited: {}", output.status),
    }
}

#[test]
fn captures_both_streams_and_the_status() {
    let output = run("echo out; echo err >&2; exit 3");
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(3));
    let output = run("echo out; kill -9 $$");
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.status.signal(), Some(SIGKILL));
}

#[test]
fn captures_bytes_that_are_not_utf8() {
    let output = run(r"printf '\377\376\000\200'; printf '\303' >&2");
    assert_eq!(output.stdout, [0xff, 0xfe, 0, 0x80]);
    assert_eq!(output.stderr, [0xc3]);
}

#[test]
fn stream_without_pipe_is_empty() {
    let script = "echo out; echo err >&2; exit 3";
    for (out, err) in [(true, false), (false, true), (false, false)] {
        let stdio = |piped| if piped { Stdio::piped() } else { Stdio::null() };
        let mut command = shell(script);
        command.stdout(stdio(out)).stderr(stdio(err));
        let output = exited(command.spawn().unwrap(), LONG);
        assert_eq!(output.stdout, if out { &b"out\n"[..] } else { b"" });
        assert_eq!(output.stderr, if err { &b"err\n"[..] } else { b"" });
        assert_eq!(output.status.code(), Some(3));
    }
}

#[test]
fn captures_16_mib_from_both_pipes_at_once() {
    let out = "head -c 16777216 /dev/zero";
    let err = "yes | head -c 16777216 >&2";
    let output = run(&format!("{out} & {err}; wait"));
    let length = output.stdout.len();
    assert!(output.stdout == vec![0; 16 << 20], "{length}");
    let length = output.stderr.len();
    assert!(output.stderr == b"y\n".repeat(8 << 20), "{length}");
}

/// The child fills one pipe before it writes to the other.
#[test]
fn captures_one_pipe_after_the_other() {
    let megabyte = |stream| format!("head -c 1048576 /dev/zero >&{stream};");
    for (first, second) in [(1, 2), (2, 1)] {
        let script = megabyte(first) + &megabyte(second) + &megabyte(first);
        let output = run(&script);
        let (long, short) = match first {
            1 => (output.stdout, output.stderr),
            _ => (output.stderr, output.stdout),
        };
        assert_eq!((long.len(), short.len()), (2 << 20, 1 << 20));
    }
}

/// The exit follows the last write at once. Whichever the call sees first, no byte may be lost.
#[test]
fn captures_all_output_written_before_the_exit() {
    for _ in 0..rounds(10) {
        let output = run("head -c 3000000 /dev/zero; exit 4");
        assert_eq!(output.stdout.len(), 3_000_000);
        assert_eq!(output.status.code(), Some(4));
    }
}

/// All output is in the pipes before the call.
#[test]
fn captures_output_of_zombie() {
    for timeout in [LONG, Duration::ZERO, Duration::MAX] {
        let script = "head -c 65536 /dev/zero; echo err >&2; exit 4";
        let child = both_piped(script).spawn().unwrap();
        await_zombie(child.id());
        let output = exited(child, timeout);
        assert_eq!(output.stdout.len(), 65536);
        assert_eq!(output.stderr, b"err\n");
        assert_eq!(output.status.code(), Some(4));
    }
}

#[test]
fn captures_output_of_zombie_from_large_pipe() {
    let script = "head -c 1048576 /dev/zero; exit 4";
    let child = both_piped(script).spawn().unwrap();
    // A write that blocks because the pipe is full continues when the pipe grows.
    set_pipe_size(child.stdout.as_ref().unwrap(), 1 << 20);
    await_zombie(child.id());
    assert_eq!(exited(child, LONG).stdout.len(), 1 << 20);
}

/// std's `wait_with_output` would block until the grandchild exits.
#[test]
fn grandchild_with_open_pipes_does_not_delay_the_result() {
    let (child, opener) = gated("exec 3<&0; (read go <&3) & echo out; echo err >&2; exit 3");
    let output = exited(child, LONG);
    drop(opener);
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(3));
}

/// After the exit the pipes may never be empty, so reading must stop before that.
#[test]
fn grandchild_that_writes_forever_does_not_delay_the_result() {
    let output = run("yes & yes >&2 & exit 3");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn child_that_closes_its_output_is_waited_for() {
    let script = "echo out; exec >&-; read go; echo err >&2; exit 4";
    let (child, opener) = gated(script);
    let late = timed_out(child, Duration::from_millis(100));
    drop(opener);
    let output = exited(late.child, LONG);
    assert_eq!([late.stdout, output.stdout].concat(), b"out\n");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn stdin_is_closed_first() {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(b"input").unwrap();
    assert_eq!(exited(child, LONG).stdout, b"input");
}

#[test]
fn reaped_child_fails_with_echild() {
    let mut child = both_piped("echo out").spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(errno(child.pidfd_output_timeout(LONG)), ECHILD);
    let child = both_piped("echo out").spawn().unwrap();
    reap_externally(child.id());
    assert_eq!(errno(child.pidfd_output_timeout(LONG)), ECHILD);
}

/// The blocking mode belongs to the open file description, which other descriptors may share.
#[test]
fn shared_pipe_stays_in_blocking_mode() {
    let child = both_piped("echo out").spawn().unwrap();
    let (stdout, stderr) = (child.stdout.as_ref(), child.stderr.as_ref());
    let stdout = stdout.unwrap().as_fd().try_clone_to_owned().unwrap();
    let stderr = stderr.unwrap().as_fd().try_clone_to_owned().unwrap();
    assert_eq!(exited(child, LONG).stdout, b"out\n");
    assert!(is_blocking(&stdout) && is_blocking(&stderr));
}
