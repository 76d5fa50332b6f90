//! Limits of bytes, and output that goes to a sink.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};

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
            assert_eq!(captured.discarded, discarded, "{most}");
            assert_eq!(code(&captured), Some(3));
        }
    }
}

/// It would block on the full pipe if the discarded bytes were not read.
#[test]
fn child_that_writes_more_than_the_limit_does_not_block() {
    for kind in kinds() {
        for most in [0, 100_000] {
            let mut child = kind.script("head -c 50000000 /dev/zero; echo done >&2; exit 3");
            let captured = child.run(&Capture::new().max_bytes(most)).unwrap();
            assert_eq!(captured.stdout, vec![0; most]);
            assert_eq!(
                captured.stderr,
                if most == 0 { &b""[..] } else { b"done\n" }
            );
            let total = captured.discarded + captured.stdout.len() as u64;
            assert_eq!(total + captured.stderr.len() as u64, 50_000_005);
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

#[test]
fn sink_gets_at_most_the_limit() {
    for kind in kinds() {
        let mut child = kind.script("head -c 1000000 /dev/zero; echo err >&2");
        let capture = Capture::new().max_bytes(100_000);
        let mut seen = [0, 0];
        let captured = child.run_with(&capture, |pipe, bytes| {
            assert!(!bytes.is_empty());
            seen[usize::from(pipe == Pipe::Stderr)] += bytes.len();
            Ok(())
        });
        assert_eq!(seen, [100_000, 4]);
        assert_eq!(captured.unwrap().discarded, 900_000);
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
        let run = || child.run_with(&Capture::new(), |_, _| panic!("in the sink"));
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
        let before = limit_memory(512 << 20);
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

/// How much of its address space this process uses, in bytes.
#[cfg(target_os = "linux")]
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
        assert_eq!((code(&captured), captured.discarded), (Some(3), 0));
    }
}
