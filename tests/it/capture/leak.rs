//! Another process holds a pipe when the child has exited.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{both_piped, code, gate, kinds, LONG, SHORT};
use crate::common::isolated::enter;
use crate::common::{at_once, await_zombie, is_blocking, rounds, shell, skip};
use pidwait::{Capture, ChildExt};

/// `std::process::Child::wait_with_output` returns the same.
#[test]
fn output_that_comes_after_the_exit_is_read() {
    at_once(kinds(), |kind| {
        let mut child = kind.script("printf A; (sleep 0.3; printf B; printf b >&2) & exit 3");
        let captured = child.run(&Capture::new().leak_timeout(LONG)).unwrap();
        assert_eq!(
            (&captured.stdout[..], &captured.stderr[..]),
            (&b"AB"[..], &b"b"[..])
        );
        assert_eq!(code(&captured), Some(3));
        assert!(!captured.leaked && captured.stopped_by.is_none());
    });
}

/// All output of the child comes through `tee`, which ends after it.
#[test]
fn tee_behind_the_child_is_read_to_its_end() {
    let log = std::env::temp_dir().join(format!("pidwait-tee-{}", std::process::id()));
    let script = format!("exec > >(tee -a {}) 2>&1 && echo 12 passed", log.display());
    let bash = || {
        let mut command = Command::new("bash");
        command.args(["-c", &script]).stdin(Stdio::null());
        command
    };
    if bash().stdout(Stdio::null()).status().is_err() {
        return skip("there is no bash");
    }
    for kind in kinds() {
        for _ in 0..rounds(50) {
            let mut command = bash();
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let capture = Capture::new().leak_timeout(LONG);
            let captured = kind.spawn(&mut command).run(&capture).unwrap();
            assert_eq!(captured.stdout, b"12 passed\n");
            assert!(captured.status.unwrap().success() && !captured.leaked);
        }
    }
    // With the default leak timeout, on a busy machine: the output is complete, or `leaked` is set.
    for _ in 0..rounds(50) {
        let captured = Capture::new().output(&mut bash()).unwrap();
        assert!(
            captured.stdout == b"12 passed\n" || captured.leaked,
            "{captured:?}"
        );
    }
    std::fs::remove_file(log).unwrap();
}

/// std's `wait_with_output` would block until the grandchild exits. It keeps its pipes, so that it is not
/// killed by SIGPIPE, and another run reads what it writes later.
#[test]
fn service_that_the_child_leaves_behind_keeps_its_pipes() {
    for kind in kinds() {
        let script =
            "exec 3<&0; (read go <&3; echo late; echo done >&2) & echo out; echo err >&2; exit 3";
        let (mut child, opener) = kind.gated(script);
        let capture = Capture::new().leak_timeout(SHORT);
        let captured = child.run(&capture).unwrap();
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(captured.stderr, b"err\n");
        assert_eq!(code(&captured), Some(3));
        assert!(captured.leaked && captured.stopped_by.is_none());
        assert_eq!(child.pipes().map(|fd| fd.is_some()), [false, true, true]);
        assert!(child.pipes()[1..].iter().flatten().all(is_blocking));

        drop(opener);
        let captured = child.run(&capture.leak_timeout(LONG)).unwrap();
        assert_eq!(captured.stdout, b"late\n");
        assert_eq!(captured.stderr, b"done\n");
        assert_eq!(code(&captured), Some(3));
        assert!(!captured.leaked);
        assert_eq!(child.pipes().map(|fd| fd.is_some()), [false; 3]);
    }
}

/// So does the rest of the input.
#[test]
fn service_that_reads_its_input_later_keeps_it() {
    let input = vec![b'x'; 1 << 20];
    for kind in kinds() {
        let (gate, opener) = gate();
        let mut command = shell("exec 3<&0 4<&2; (read go <&4; wc -c <&3) & exit 3");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(gate);
        let mut child = kind.spawn(&mut command);
        drop(command);
        let capture = Capture::new().leak_timeout(SHORT).input(&input[..]);
        let first = child.run(&capture).unwrap();
        assert!(first.leaked && first.input_written < input.len());
        assert!(child.pipes()[0].is_some());

        drop(opener);
        let rest = &input[first.input_written..];
        let second = Capture::new().leak_timeout(LONG).input(rest);
        let second = child.run(&second).unwrap();
        assert_eq!(second.input_written, rest.len());
        assert_eq!(String::from_utf8(second.stdout).unwrap().trim(), "1048576");
        assert_eq!(child.pipes().map(|fd| fd.is_some()), [false; 3]);
    }
}

#[test]
fn one_pipe_that_is_held_is_a_leak() {
    for kind in kinds() {
        for close in [">&-", "2>&-"] {
            let script = format!("exec 3<&0; (read go <&3) {close} & echo out");
            let (mut child, opener) = kind.gated(&script);
            let captured = child.run(&Capture::new().leak_timeout(SHORT)).unwrap();
            drop(opener);
            assert_eq!(captured.stdout, b"out\n");
            assert!(captured.leaked, "{close}");
        }
    }
}

/// The writer dies of SIGPIPE when the pipes are closed.
#[test]
fn writer_that_never_stops_leaks() {
    at_once(kinds(), |kind| {
        let script = "(while :; do echo x; sleep 0.005; done) & exit 3";
        let mut child = kind.script(script);
        let leak = Duration::from_millis(100);
        let start = Instant::now();
        let captured = child.run(&Capture::new().leak_timeout(leak)).unwrap();
        assert!(start.elapsed() >= leak);
        assert_eq!(code(&captured), Some(3));
        assert!(captured.leaked);
    });
}

/// The pipes may never be empty, so reading must stop before that.
#[test]
fn writers_that_flood_both_pipes_leak() {
    for kind in kinds() {
        for leak in [Duration::ZERO, SHORT] {
            let mut child = kind.script("yes & yes >&2 & exit 3");
            let capture = Capture::new().leak_timeout(leak).max_bytes(1000);
            let captured = child.run(&capture).unwrap();
            assert_eq!(code(&captured), Some(3));
            assert!(captured.leaked);
            assert!(captured.stdout.len() <= 1000 && captured.stderr.len() <= 1000);
        }
    }
}

/// Past the timeout nothing is read, even if the leak timeout is longer. The child has exited in time,
/// so the run was not stopped.
#[test]
fn timeout_ends_the_leak_timeout() {
    at_once(kinds(), |kind| {
        for leak in [LONG, Duration::MAX] {
            let (gate, opener) = gate();
            let mut command = both_piped("exec 3<&0; (read go <&3) & echo out; exit 3");
            let mut child = kind.spawn(command.stdin(gate));
            drop(command);
            await_zombie(child.pid());
            let timeout = Duration::from_millis(100);
            let start = Instant::now();
            let capture = Capture::new().timeout(timeout).leak_timeout(leak);
            let captured = child.run(&capture).unwrap();
            assert!(start.elapsed() >= timeout);
            drop(opener);
            assert_eq!(captured.stdout, b"out\n");
            assert_eq!(code(&captured), Some(3));
            assert!(captured.leaked && captured.stopped_by.is_none());
        }
    });
}

/// The leak timeout begins with the exit, and the timeout does not prolong it.
#[test]
fn leak_timeout_ends_before_the_timeout() {
    at_once(kinds(), |kind| {
        let script = "exec 3<&0; (read go <&3) & echo out; exit 3";
        let (mut child, opener) = kind.gated(script);
        let leak = Duration::from_millis(100);
        let start = Instant::now();
        let capture = Capture::new().timeout(LONG).leak_timeout(leak);
        let captured = child.run(&capture).unwrap();
        assert!(start.elapsed() >= leak);
        drop(opener);
        assert_eq!(captured.stdout, b"out\n");
        assert!(captured.leaked && captured.status.is_some());
    });
}

/// Even if that is more than one read returns.
#[test]
fn leak_timeout_of_zero_takes_what_is_in_the_pipes() {
    for kind in kinds() {
        for timeout in [LONG, Duration::ZERO] {
            let script = "exec 3<&0; (read go <&3) & head -c 65536 /dev/zero; exit 3";
            let (mut child, opener) = kind.gated(script);
            await_zombie(child.pid());
            let capture = Capture::new().leak_timeout(Duration::ZERO).timeout(timeout);
            let captured = child.run(&capture).unwrap();
            drop(opener);
            assert_eq!(captured.stdout.len(), 65536);
            assert_eq!(code(&captured), Some(3));
            assert!(captured.leaked && captured.stopped_by.is_none());
        }
    }
}

/// Isolated: if another thread forks, its child has the pipe, too, until it execs.
#[test]
fn leak_timeout_of_zero_loses_nothing_of_the_child_itself() {
    if !enter("capture::leak::leak_timeout_of_zero_loses_nothing_of_the_child_itself") {
        return;
    }
    for kind in kinds() {
        for _ in 0..rounds(20) {
            let mut child = kind.script("head -c 200000 /dev/zero; exit 3");
            let capture = Capture::new().leak_timeout(Duration::ZERO);
            let captured = child.run(&capture).unwrap();
            assert_eq!(captured.stdout.len(), 200_000);
            assert!(!captured.leaked);
        }
    }
}

/// The default is half a second, which a quick grandchild is well within.
#[test]
fn output_timeout_has_a_leak_timeout() {
    let (gate, opener) = gate();
    let mut command = shell("exec 3<&0; (read go <&3) & exit 3");
    let mut child = command.stdin(gate).stdout(Stdio::piped()).spawn().unwrap();
    drop(command);
    let start = Instant::now();
    let captured = child.pidfd_output_timeout(LONG).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(500));
    drop(opener);
    assert!(captured.leaked);
}
