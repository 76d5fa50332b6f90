//! Streams that are not ordinary pipes: other kinds of files, and shared ones.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::subject::Driver;
use super::{both_piped, code, gate, kinds, Kind, Subject, LONG, SHORT};
use crate::common::isolated::enter;
use crate::common::{
    await_zombie, descriptor_limit, file_of_zeros, is_blocking, limit_descriptors, pseudoterminal,
    set_descriptor_limit, set_nonblocking, shell, sleep,
};
use nix::libc::EISDIR;
use pidwait::{Capture, Captured, Pipe};

fn each_stream_and_leak() -> impl Iterator<Item = (Pipe, Duration)> {
    let streams = [Pipe::Stdout, Pipe::Stderr].into_iter();
    streams.flat_map(|stream| [LONG, Duration::ZERO].map(|leak| (stream, leak)))
}

/// Spawns a command with a file as one of its streams.
fn spawn_with(
    kind: Kind,
    command: &mut Command,
    stream: Pipe,
    theirs: impl Into<Stdio>,
) -> Subject {
    match stream {
        Pipe::Stdout => kind.spawn(command.stdout(theirs)),
        Pipe::Stderr => kind.spawn(command.stderr(theirs)),
    }
}

/// Puts a file where the child's pipe is expected.
fn set_stream(child: &mut Subject, stream: Pipe, ours: impl Into<OwnedFd>) {
    match stream {
        Pipe::Stdout => child.set_stdout(ours),
        Pipe::Stderr => child.set_stderr(ours),
    }
}

fn bytes_of(captured: &Captured, stream: Pipe) -> &[u8] {
    match stream {
        Pipe::Stdout => &captured.stdout,
        Pipe::Stderr => &captured.stderr,
    }
}

/// Both fields hold a descriptor of one pipe. Its flags must be read before they are changed.
#[test]
fn shared_open_file_description_is_blocking_again() {
    for kind in kinds() {
        for end in ["exit 3", "exec sleep 600"] {
            let script = format!("exec 2>&1; echo out; echo err >&2; {end}");
            let mut child = kind.spawn(shell(&script).stdout(Stdio::piped()));
            let stdout = child.pipes()[1].unwrap();
            let stderr = stdout.try_clone_to_owned().unwrap();
            let copy = stdout.try_clone_to_owned().unwrap();
            child.set_stderr(stderr);
            let capture = Capture::new().timeout(Duration::from_millis(200));
            let mut captured = child.run(&capture).unwrap();
            assert!(is_blocking(&copy));
            if end == "exit 3" {
                while captured.status.is_none() {
                    let next = child.run(&capture).unwrap();
                    captured.stdout.extend(next.stdout);
                    captured.stderr.extend(next.stderr);
                    captured.status = next.status;
                }
                assert_eq!(code(&captured), Some(3));
                assert_eq!(
                    captured.stdout.len() + captured.stderr.len(),
                    "out\nerr\n".len()
                );
            } else {
                assert!(captured.stopped_by.is_some());
                child.end();
            }
            assert!(is_blocking(&copy));
        }
    }
}

/// The order in which the child writes is kept.
#[test]
fn one_pipe_for_both_streams_keeps_their_order() {
    for kind in kinds() {
        let (reader, writer) = gate();
        let mut command = shell("echo one; echo two >&2; echo three; exit 3");
        command.stdout(OwnedFd::from(writer.try_clone().unwrap()));
        command.stderr(OwnedFd::from(writer));
        let mut child = kind.spawn(&mut command);
        drop(command);
        child.set_stdout(reader);
        let captured = child.exited(LONG);
        assert_eq!(captured.stdout, b"one\ntwo\nthree\n");
        assert_eq!(code(&captured), Some(3));
    }
}

#[test]
fn nonblocking_pipe_stays_nonblocking() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo out; read go");
        let copy = child.pipes()[1].unwrap().try_clone_to_owned().unwrap();
        set_nonblocking(&copy);
        child.timed_out(SHORT);
        assert!(!is_blocking(&copy));
        drop(opener);
        child.exited(LONG);
        assert!(!is_blocking(&copy));
    }
}

/// Closing the copy that is `stdin` must not make the other one block.
#[test]
fn one_socket_for_input_and_output_never_blocks() {
    for kind in kinds() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        let mut command = shell("head -c 5; exec sleep 600");
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs);
        let mut child = kind.spawn(&mut command);
        drop(command);
        child.set_stdout(ours.try_clone().unwrap());
        child.set_stdin(ours.try_clone().unwrap());
        let capture = Capture::new()
            .timeout(Duration::from_millis(300))
            .input("hello");
        let captured = child.run(&capture).unwrap();
        assert!(captured.stopped_by.is_some());
        assert_eq!(captured.input_written, 5);
        assert!(b"hello".starts_with(&captured.stdout));
        assert!(is_blocking(&ours));
        child.end();
    }
}

/// On Linux a read fails with EIO at the end of a pseudoterminal.
#[test]
fn pseudoterminal_ends_without_an_error() {
    for kind in kinds() {
        for (stream, leak) in each_stream_and_leak() {
            let (ours, theirs) = pseudoterminal();
            let number = if stream == Pipe::Stdout { 1 } else { 2 };
            let mut command = shell(&format!("echo out >&{number}; test -t {number} && exit 3"));
            let mut child = spawn_with(kind, &mut command, stream, theirs);
            drop(command);
            set_stream(&mut child, stream, ours);
            let captured = child.run(&Capture::new().leak_timeout(leak)).unwrap();
            assert_eq!(bytes_of(&captured, stream), b"out\r\n");
            assert_eq!(code(&captured), Some(3));
            assert!(!captured.leaked || leak.is_zero()); // Between a fork and an exec elsewhere.
        }
    }
}

#[test]
fn socket_is_read_to_its_end() {
    for kind in kinds() {
        for (stream, leak) in each_stream_and_leak() {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let number = if stream == Pipe::Stdout { 1 } else { 2 };
            let mut command = shell(&format!("head -c 1000000 /dev/zero >&{number}; exit 3"));
            let mut child = spawn_with(kind, &mut command, stream, OwnedFd::from(theirs));
            drop(command);
            set_stream(&mut child, stream, ours);
            let captured = child.run(&Capture::new().leak_timeout(leak)).unwrap();
            assert_eq!(bytes_of(&captured, stream).len(), 1_000_000);
            assert_eq!(code(&captured), Some(3));
            assert!(!captured.leaked || leak.is_zero()); // Between a fork and an exec elsewhere.
        }
    }
}

/// A read then fails with ECONNRESET.
#[test]
fn socket_that_the_child_closes_with_unread_data_ends_without_an_error() {
    for kind in kinds() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"unread").unwrap();
        let mut command = shell("echo out; exit 3");
        let mut child = kind.spawn(command.stdout(OwnedFd::from(theirs)));
        drop(command);
        child.set_stdout(ours);
        let captured = child.exited(LONG);
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(code(&captured), Some(3));
    }
}

/// A file has an end, but never hangs up.
#[test]
fn file_is_read_to_its_end() {
    for kind in kinds() {
        for (stream, leak) in each_stream_and_leak() {
            for (length, timeout) in [(0, LONG), (3_000_000, LONG), (3_000_000, Duration::ZERO)] {
                let mut child = kind.spawn(&mut shell("exit 3"));
                await_zombie(child.pid());
                set_stream(&mut child, stream, file_of_zeros(length));
                let capture = Capture::new().leak_timeout(leak).timeout(timeout);
                let captured = child.run(&capture).unwrap();
                assert_eq!(bytes_of(&captured, stream).len(), length);
                assert_eq!(code(&captured), Some(3));
                assert!(!captured.leaked);
            }
        }
    }
}

/// The other stream's output is not lost, nor is the child.
#[test]
fn descriptor_that_cannot_be_read_fails_with_its_error() {
    for kind in kinds() {
        let mut command = both_piped("echo err >&2; exec sleep 600");
        let mut child = kind.spawn(&mut command);
        let mut stderr = Vec::new();
        while stderr.is_empty() {
            stderr = child.timed_out(SHORT).stderr;
        }
        child.set_stdout(File::open("/").unwrap());
        let failed = child.run(&Capture::new()).unwrap_err();
        assert_eq!(failed.error.raw_os_error(), Some(EISDIR));
        assert!(child.pipes()[2].is_some());
        child.end();
    }
}

/// A file that grows has no event for it. The exit ends the call.
#[test]
fn output_file_of_the_child_is_no_pipe() {
    for kind in kinds() {
        let mut file = File::from(OwnedFd::from(file_of_zeros(0)));
        file.write_all(b"before").unwrap();
        let mut child = kind.spawn(&mut sleep());
        child.set_stdout(file);
        assert_eq!(child.timed_out(SHORT).stdout, b"");
        child.end();
    }
}

/// Descriptors of each kind are put back where the time runs out.
#[test]
fn pseudoterminal_of_a_running_child_is_put_back() {
    for kind in kinds() {
        let (ours, theirs) = pseudoterminal();
        let mut child = kind.spawn(shell("echo out; exec sleep 600").stdout(theirs));
        child.set_stdout(ours);
        while child.timed_out(SHORT).stdout.is_empty() {}
        assert!(is_blocking(&child.pipes()[1].unwrap()));
        child.end();
    }
}

/// An exit descriptor that its reactor has already.
#[cfg(feature = "tokio")]
#[test]
fn exit_descriptor_that_is_registered_already_is_captured() {
    super::subject::tokio_runtime().block_on(async {
        let mut child = pidwait::PidHandle::spawn(&mut both_piped("echo out; exit 3")).unwrap();
        let handle = pidwait::TokioPidHandle::new(&child.handle).unwrap();
        let captured = Capture::new().on(pidwait::Tokio).run(&mut child).await;
        let captured = captured.unwrap();
        assert_eq!(
            (&captured.stdout[..], code(&captured)),
            (&b"out\n"[..], Some(3))
        );
        assert_eq!(handle.wait_shared().await.unwrap().code(), Some(3));
    });
}

/// The limit of descriptors is lower than the number of those that are polled: `poll` fails.
#[test]
fn capture_works_without_a_descriptor_to_spare() {
    const SCRIPT: &str = "echo out; read go; trap 'echo term; exit 3' TERM; echo ready; \
                          while :; do sleep 0.02; done";
    if !enter("capture::pipes::capture_works_without_a_descriptor_to_spare") {
        return;
    }
    for kind in kinds().filter(|kind| kind.driver == Driver::Blocking) {
        let (mut child, opener) = kind.gated(SCRIPT);
        let capture = Capture::new().timeout(Duration::from_millis(300));
        let before = descriptor_limit();
        let mut next_output = || loop {
            let run = child.run(&capture);
            if !run.as_ref().is_ok_and(|it| it.stdout.is_empty()) {
                return run;
            }
        };
        limit_descriptors(0);
        let first = next_output();
        drop(opener);
        let second = next_output();
        let third = child.run(&capture.terminate_on_timeout(LONG));
        set_descriptor_limit(before).unwrap();
        assert_eq!(first.unwrap().stdout, b"out\n");
        assert_eq!(second.unwrap().stdout, b"ready\n");
        let third = third.unwrap();
        assert_eq!((&third.stdout[..], code(&third)), (&b"term\n"[..], Some(3)));
    }
}
