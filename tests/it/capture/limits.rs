//! Limits of bytes, and output that goes to a sink.

use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

use super::{both_piped, code, kinds, LONG};
use crate::common::isolated::enter;
use crate::common::{is_blocking, limit_memory, shell};
use nix::libc::{self, ENOMEM, ENOSPC};
use pidwait::{Capture, Pipe};

#[test]
fn first_bytes_are_kept_and_the_rest_is_counted() {
    for kind in kinds() {
        for (most, out, err, discarded) in [
            (0, "", "", 8),
            (1, "1", "a", 6),
            (3, "123", "abc", 2),
            (5, "12345", "abc", 0),
            (6, "12345", "abc", 0),
            (usize::MAX, "12345", "abc", 0),
        ] {
            let mut child = kind.script("printf 12345; printf abc >&2; exit 3");
            let captured = child.run(&Capture::new().max_bytes(most)).unwrap();
            assert_eq!(captured.stdout, out.as_bytes(), "{most}");
            assert_eq!(captured.stderr, err.as_bytes(), "{most}");
            let (stdout, stderr) = (captured.stdout_discarded, captured.stderr_discarded);
            assert_eq!(stdout + stderr, discarded, "{most}");
            assert_eq!(code(&captured), Some(3));
        }
    }
}

/// It would block on the full pipe if the discarded bytes were not read.
#[test]
fn child_that_writes_more_than_the_limit_does_not_block() {
    for kind in kinds() {
        for most in [0, 100_000] {
            let mut child = kind.script("head -c 5000000 /dev/zero; echo done >&2; exit 3");
            let captured = child.run(&Capture::new().max_bytes(most)).unwrap();
            assert_eq!(captured.stdout, vec![0; most]);
            assert_eq!(
                captured.stderr,
                if most == 0 { &b""[..] } else { b"done\n" }
            );
            let total = captured.stdout_discarded + captured.stdout.len() as u64;
            assert_eq!(total, 5_000_000);
            let total = captured.stderr_discarded + captured.stderr.len() as u64;
            assert_eq!(total, 5);
            assert_eq!(code(&captured), Some(3));
            assert!(captured.stdout.capacity() <= 2 * most + 65536);
        }
    }
}

#[test]
fn small_output_takes_little_memory() {
    for kind in kinds() {
        let captured = kind.script("echo out").exited(LONG);
        assert!(
            captured.stdout.capacity() < 100,
            "{}",
            captured.stdout.capacity()
        );
    }
}

#[test]
fn sink_gets_the_output_as_it_arrives() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo one; read go; echo two >&2; exit 3");
        let mut opener = Some(opener);
        let mut seen = Vec::new();
        let captured = child.run_with(&Capture::new(), |pipe, bytes| {
            drop(opener.take()); // It was called before the child went on.
            seen.push((pipe, bytes.to_vec()));
            Ok(())
        });
        let one = (Pipe::Stdout, b"one\n".to_vec());
        assert_eq!(seen, [one, (Pipe::Stderr, b"two\n".to_vec())]);
        let captured = captured.unwrap();
        assert_eq!(code(&captured), Some(3));
        assert!(captured.stdout.is_empty() && captured.stderr.is_empty());
    }
}

/// What is kept beside it is what the limits say.
#[test]
fn sink_gets_every_byte() {
    for kind in kinds() {
        for (capture, stdout, stderr) in [
            (Capture::new(), "", ""),
            (Capture::new().max_bytes(5), "1\n2\n3", "err\n"),
            (Capture::new().tail_bytes(5), "0000\n", "err\n"),
            (
                Capture::new().max_bytes(2).tail_bytes(3),
                "1\n00\n",
                "err\n",
            ),
        ] {
            let mut child = kind.script("seq 100000; echo err >&2");
            let mut seen = [Vec::new(), Vec::new()];
            let captured = child.run_with(&capture, |pipe, bytes| {
                assert!(!bytes.is_empty());
                seen[usize::from(pipe == Pipe::Stderr)].extend_from_slice(bytes);
                Ok(())
            });
            let captured = captured.unwrap();
            assert_eq!((seen[0].len(), &seen[1][..]), (588_895, &b"err\n"[..]));
            assert!(seen[0].ends_with(b"\n99999\n100000\n"));
            assert_eq!(captured.stdout, stdout.as_bytes());
            assert_eq!(captured.stderr, stderr.as_bytes());
            let missing = match stdout {
                "" => 0,
                kept => 588_895 - kept.len() as u64,
            };
            assert_eq!(captured.stdout_discarded, missing);
        }
    }
}

#[test]
fn first_and_last_bytes_are_kept() {
    for kind in kinds() {
        for (first, last, parts) in [
            (None, 7, ("", "100000\n")),
            (Some(4), 7, ("1\n2\n", "100000\n")),
            (Some(4), 0, ("1\n2\n", "")),
        ] {
            let mut capture = Capture::new().tail_bytes(last);
            if let Some(first) = first {
                capture = capture.max_bytes(first);
            }
            let captured = kind
                .script("seq 100000; printf abc >&2")
                .run(&capture)
                .unwrap();
            let (first, last) = parts;
            assert_eq!(captured.stdout_parts(), (first.as_bytes(), last.as_bytes()));
            let kept = first.len() + last.len();
            assert_eq!(captured.stdout_discarded, 588_895 - kept as u64);
            let (first, last) = captured.stderr_parts();
            let short = first.len() + last.len();
            assert_eq!(captured.stderr_discarded, 3 - short as u64);
            assert!(captured.stdout.capacity() <= 2 * kept + 64);
        }
    }
}

/// A short output is complete, and its parts follow each other.
#[test]
fn output_that_fits_into_both_parts_is_complete() {
    for kind in kinds() {
        let capture = Capture::new().max_bytes(2).tail_bytes(100);
        let captured = kind
            .script("printf 12345; printf a >&2")
            .run(&capture)
            .unwrap();
        assert_eq!(captured.stdout_parts(), (&b"12"[..], &b"345"[..]));
        assert_eq!(captured.stderr_parts(), (&b"a"[..], &b""[..]));
        assert_eq!(
            (captured.stdout_discarded, captured.stderr_discarded),
            (0, 0)
        );
    }
}

/// The bytes that the sink refused are in the error, and the child still has its pipes.
#[test]
fn error_of_the_sink_ends_the_capture() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo one; read go; echo two; exit 3");
        let failed = child.run_with(&Capture::new(), |_, _| {
            Err(io::Error::from_raw_os_error(ENOSPC))
        });
        let failed = failed.unwrap_err();
        assert_eq!(failed.error.raw_os_error(), Some(ENOSPC));
        assert_eq!(failed.stdout, b"one\n");
        drop(opener);
        assert!(is_blocking(&child.pipes()[1].unwrap()));
        let captured = child.exited(LONG);
        assert_eq!(captured.stdout, b"two\n");
        assert_eq!(code(&captured), Some(3));
    }
}

#[test]
fn panic_in_the_sink_leaves_the_child_with_its_pipes() {
    for kind in kinds() {
        let (mut child, opener) = kind.gated("echo one; read go; echo two; exit 3");
        // Not `panic!`, whose backtrace reads the debug information of this binary.
        let panic = |_, _: &[u8]| resume_unwind(Box::new("in the sink"));
        let run = || child.run_with(&Capture::new(), panic);
        catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        drop(opener);
        assert!(is_blocking(&child.pipes()[1].unwrap()));
        assert_eq!(child.exited(LONG).stdout, b"two\n");
    }
}

/// More output than fits into memory: the child is still there, and so is what was read.
#[test]
fn output_that_does_not_fit_into_memory_fails_with_enomem() {
    if !enter("capture::limits::output_that_does_not_fit_into_memory_fails_with_enomem") {
        return;
    }
    let mut command = both_piped("exec head -c 4000000000 /dev/zero");
    for kind in kinds() {
        let mut child = kind.spawn(&mut command);
        let most = if cfg!(target_os = "linux") {
            address_space() + (64 << 20)
        } else {
            512 << 20
        };
        let before = limit_memory(most);
        let failed = child.run(&Capture::new());
        limit_memory(before);
        let failed = failed.unwrap_err();
        assert_eq!(failed.error.raw_os_error(), Some(ENOMEM));
        assert!(failed.stdout.len() > 1 << 20);
        assert!(child.pipes()[1].is_some());
        child.end();
    }
}

/// The buffer grows in place, and its unused part is at most as large as the output.
#[cfg(target_os = "linux")]
#[test]
fn output_takes_at_most_twice_its_size() {
    const SIZE: usize = 100 << 20;
    const OTHER: libc::rlim_t = 16 << 20;
    if !enter("capture::limits::output_takes_at_most_twice_its_size") {
        return;
    }
    let mut command = both_piped(&format!("exec head -c {SIZE} /dev/zero"));
    for kind in kinds() {
        let mut child = kind.spawn(&mut command);
        let before = limit_memory(address_space() + 2 * SIZE as libc::rlim_t + OTHER);
        let captured = child.run(&Capture::new());
        limit_memory(before);
        assert_eq!(captured.unwrap().stdout.len(), SIZE);
    }
}

/// How much of its address space this process uses, in bytes. From `/proc`.
fn address_space() -> libc::rlim_t {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<libc::rlim_t>().unwrap() * 1024
}

/// A program that writes nothing and is not piped.
#[test]
fn nothing_is_kept_of_nothing() {
    for kind in kinds() {
        let mut child = kind.spawn(&mut shell("exit 3"));
        let captured = child.run(&Capture::new().max_bytes(0)).unwrap();
        assert_eq!((code(&captured), captured.stdout_discarded), (Some(3), 0));
    }
}
