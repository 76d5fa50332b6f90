//! Input, which is written while output is read.

use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{both_piped, code, kinds, AnyChild, Kind, Subject, DRIVERS, LONG, SHORT};
#[cfg(target_os = "linux")]
use crate::common::pseudoterminal;
use crate::common::{assert_idle, is_blocking, kill, shell};
use nix::libc::SIGUSR1;
use pidwait::Capture;

/// Spawns a script with all three pipes.
fn all_piped(kind: Kind, script: &str) -> Subject {
    kind.spawn(both_piped(script).stdin(Stdio::piped()))
}

/// More than the pipes hold, so input and output have to alternate.
#[test]
fn cat_gets_4_mib_and_returns_them() {
    let input: Vec<u8> = (0..=250).cycle().take(4 << 20).collect();
    let capture = Capture::new().timeout(LONG).input(input.clone());
    for kind in kinds() {
        let captured = all_piped(kind, "exec cat").run(&capture).unwrap();
        assert!(captured.stdout == input, "{captured:?}");
        assert_eq!(captured.input_written, input.len());
        assert_eq!(code(&captured), Some(0));
    }
    for driver in DRIVERS {
        let captured = driver.output(&capture, &mut Command::new("cat")).unwrap();
        assert!(captured.stdout == input, "{captured:?}");
    }
}

#[test]
fn stdin_is_closed_first_if_there_is_no_input() {
    for kind in kinds() {
        let mut child = all_piped(kind, "exec cat");
        if let AnyChild::Child(child) = &mut child.child {
            child.stdin.as_mut().unwrap().write_all(b"before").unwrap();
        }
        let captured = child.exited(LONG);
        let before = kind.is_child();
        assert_eq!(captured.stdout, if before { &b"before"[..] } else { b"" });
    }
}

#[test]
fn input_without_a_pipe_is_invalid_and_changes_nothing() {
    for kind in kinds() {
        let (mut child, _opener) = kind.gated("echo out; echo err >&2; read go");
        let failed = child.run(&Capture::new().input("in")).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
        assert!(
            failed.error.to_string().contains("standard input"),
            "{failed}"
        );
        assert!(failed.stdout.is_empty() && failed.stderr.is_empty());
        assert!(child.pipes()[1..]
            .iter()
            .all(|fd| fd.is_some_and(|fd| is_blocking(&fd))));
        child.end();

        // There is nothing to write.
        let mut child = kind.script("exit 3");
        let captured = child.run(&Capture::new().input("")).unwrap();
        assert_eq!(code(&captured), Some(3));
    }
}

/// The time runs out, and the rest of the input can be written later.
#[test]
fn input_that_the_child_does_not_read_is_written_later() {
    let input = vec![b'x'; 1 << 20];
    for kind in kinds() {
        let script = "trap 'exec cat' USR1; echo ready; while :; do sleep 0.02; done";
        let mut child = all_piped(kind, script);
        let stdin = child.pipes()[0].unwrap().as_raw_fd();
        let capture = Capture::new().timeout(SHORT);
        let (mut stdout, mut written) = (Vec::new(), 0);
        while stdout.is_empty() {
            let rest = &input[written..];
            let late = child.run(&capture.clone().input(rest)).unwrap();
            assert!(late.stopped_by.is_some() && late.status.is_none());
            stdout.extend(late.stdout);
            written += late.input_written;
        }
        assert!(0 < written && written < input.len(), "{written}");
        let still_open = child.pipes()[0].unwrap();
        assert_eq!(still_open.as_raw_fd(), stdin);
        assert!(is_blocking(&still_open));

        kill(child.pid(), SIGUSR1);
        let capture = Capture::new().timeout(LONG).input(&input[written..]);
        let captured = child.run(&capture).unwrap();
        written += captured.input_written;
        stdout.extend(captured.stdout);
        assert_eq!(
            (written, stdout.len()),
            (input.len(), "ready\n".len() + input.len())
        );
    }
}

/// Each run writes what fits now, so repeated ones make progress.
#[test]
fn timeout_of_zero_writes_what_the_pipe_takes() {
    let input = vec![b'x'; 1 << 20];
    for kind in kinds() {
        let mut child = all_piped(kind, "wc -c; exit 3");
        let (mut stdout, mut written) = (Vec::new(), 0);
        let last = loop {
            let capture = Capture::new().timeout(Duration::ZERO);
            let captured = child.run(&capture.input(&input[written..])).unwrap();
            stdout.extend_from_slice(&captured.stdout);
            written += captured.input_written;
            if written == input.len() || captured.status.is_some() {
                break child.exited(LONG);
            }
        };
        stdout.extend(last.stdout);
        assert_eq!(String::from_utf8(stdout).unwrap().trim(), "1048576");
    }
}

#[test]
fn child_that_never_reads_is_ended_at_the_timeout() {
    let capture = Capture::new().timeout(SHORT).input(vec![b'x'; 1 << 20]);
    for driver in DRIVERS {
        let captured = driver
            .output(&capture, Command::new("sleep").arg("600"))
            .unwrap();
        assert!(captured.stopped_by.is_some() && captured.status.is_some());
        assert!(captured.input_written < 1 << 20);
    }
}

#[test]
fn child_that_closes_stdin_early_stops_the_input() {
    let capture = Capture::new().input(vec![b'x'; 1 << 20]);
    for kind in kinds() {
        for script in ["exec <&-; echo closed; exit 3", "head -c 6; exit 3"] {
            let captured = all_piped(kind, script).run(&capture).unwrap();
            assert_eq!(
                captured.stdout.len(),
                "closed".len() + usize::from(script.contains("echo"))
            );
            assert!(captured.input_written < 1 << 20);
            assert_eq!(code(&captured), Some(3));
            assert!(!captured.leaked);
        }
    }
}

/// The child waits for the end of its input although it has closed its output.
#[test]
fn input_goes_on_after_the_output_has_ended() {
    let capture = Capture::new().timeout(LONG).input(vec![b'x'; 1 << 20]);
    for kind in kinds() {
        let script = "exec >&- 2>&-; test $(wc -c) = 1048576 && exit 3";
        let captured = all_piped(kind, script).run(&capture).unwrap();
        assert_eq!(captured.input_written, 1 << 20);
        assert_eq!(code(&captured), Some(3));
    }
}

/// A process that the child left behind reads on.
#[test]
fn exit_does_not_stop_the_input() {
    let capture = Capture::new().leak_timeout(LONG).input(vec![b'x'; 1 << 20]);
    for kind in kinds() {
        let script = "exec 3<&0; cat <&3 & exit 3";
        let captured = all_piped(kind, script).run(&capture).unwrap();
        assert_eq!(
            (captured.input_written, captured.stdout.len()),
            (1 << 20, 1 << 20)
        );
        assert_eq!(code(&captured), Some(3));
    }
}

#[test]
fn output_has_no_input_by_default() {
    let capture = Capture::new().timeout(Duration::MAX);
    for driver in DRIVERS {
        let captured = driver.output(&capture, &mut shell("cat; exit 3"));
        assert_eq!(code(&captured.unwrap()), Some(3));
    }
}

/// On Linux it hangs up, and a write fails with EAGAIN if it is full, otherwise with EIO.
#[cfg(target_os = "linux")]
#[test]
fn pseudoterminal_that_the_child_closes_stops_the_input() {
    let capture = Capture::new().input(vec![b'x'; 1 << 20]);
    for kind in kinds() {
        assert_idle(|| {
            let (ours, theirs) = pseudoterminal();
            let mut command = both_piped("exec <&-; sleep 0.2; echo closed; exit 3");
            let mut child = kind.spawn(command.stdin(theirs));
            drop(command);
            child.set_stdin(ours);
            let captured = child.run(&capture).unwrap();
            assert_eq!(captured.stdout, b"closed\n");
            assert!(captured.input_written < 1 << 20);
            assert_eq!(code(&captured), Some(3));
        });
    }
}
