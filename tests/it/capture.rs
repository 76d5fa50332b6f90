//! `Capture` and `pidfd_output_timeout`.

#[cfg(any(feature = "tokio", feature = "async-io"))]
mod dropped;
mod input;
mod leak;
mod limits;
#[cfg(target_os = "linux")]
mod pipes;
mod script;
mod sigpipe;
mod stops;
mod subject;
mod terminate;
mod timeout;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, SIGKILL};
use pidwait::{Capture, ChildExt, Escalation};

use crate::common::isolated::enter;
#[cfg(target_os = "linux")]
use crate::common::set_pipe_size;
use crate::common::{await_zombie, exists, is_blocking, reap_externally, rounds, shell};
use subject::{
    both_piped, code, each, gate, kinds, kinds_of_spawned, AnyChild, Kind, Subject, DRIVERS,
};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn captures_both_streams_and_the_status() {
    each("echo out; echo err >&2; exit 3", |captured| {
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(captured.stderr, b"err\n");
        assert_eq!(code(&captured), Some(3));
        assert!(!captured.leaked);
        assert_eq!(
            (captured.stdout_discarded, captured.stderr_discarded),
            (0, 0)
        );
        assert_eq!(captured.input_written, 0);
    });
    each("echo out; kill -9 $$", |captured| {
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(captured.status.unwrap().signal(), Some(SIGKILL));
    });
}

#[test]
fn captures_bytes_that_are_not_utf8() {
    each(
        r"printf '\377\376\000\200'; printf '\303' >&2",
        |captured| {
            assert_eq!(captured.stdout, [0xff, 0xfe, 0, 0x80]);
            assert_eq!(captured.stderr, [0xc3]);
        },
    );
}

#[test]
fn stream_without_pipe_is_empty() {
    let script = "echo out; echo err >&2; exit 3";
    for kind in kinds() {
        for (out, err) in [(true, false), (false, true), (false, false)] {
            let stdio = |piped| if piped { Stdio::piped() } else { Stdio::null() };
            let mut command = shell(script);
            command.stdout(stdio(out)).stderr(stdio(err));
            let captured = kind.spawn(&mut command).exited(LONG);
            assert_eq!(captured.stdout, if out { &b"out\n"[..] } else { b"" });
            assert_eq!(captured.stderr, if err { &b"err\n"[..] } else { b"" });
            assert_eq!(code(&captured), Some(3));
        }
    }
}

/// Alone: with that much memory in this process, each fork of another test would copy some of it.
#[test]
fn captures_16_mib_from_both_pipes_at_once() {
    if !enter("capture::captures_16_mib_from_both_pipes_at_once") {
        return;
    }
    let out = "head -c 16777216 /dev/zero";
    let err = "yes | head -c 16777216 >&2";
    each(&format!("{out} & {err}; wait"), |captured| {
        let length = captured.stdout.len();
        assert!(captured.stdout == vec![0; 16 << 20], "{length}");
        let length = captured.stderr.len();
        assert!(captured.stderr == b"y\n".repeat(8 << 20), "{length}");
    });
}

/// The child fills one pipe before it writes to the other.
#[test]
fn captures_one_pipe_after_the_other() {
    let megabyte = |stream| format!("head -c 1048576 /dev/zero >&{stream};");
    for (first, second) in [(1, 2), (2, 1)] {
        let script = megabyte(first) + &megabyte(second) + &megabyte(first);
        each(&script, |captured| {
            let (long, short) = match first {
                1 => (captured.stdout, captured.stderr),
                _ => (captured.stderr, captured.stdout),
            };
            assert_eq!((long.len(), short.len()), (2 << 20, 1 << 20));
        });
    }
}

/// The exit follows the last write at once. Whichever the call sees first, no byte may be lost.
#[test]
fn captures_all_output_written_before_the_exit() {
    for _ in 0..rounds(5) {
        each("head -c 3000000 /dev/zero; exit 4", |captured| {
            assert_eq!(captured.stdout.len(), 3_000_000);
            assert_eq!(code(&captured), Some(4));
        });
    }
}

/// All output is in the pipes before the call.
#[test]
fn captures_output_of_zombie() {
    for kind in kinds() {
        for timeout in [LONG, Duration::ZERO, Duration::MAX] {
            let script = "head -c 65536 /dev/zero; echo err >&2; exit 4";
            let mut child = kind.script(script);
            await_zombie(child.pid());
            let captured = child.exited(timeout);
            assert_eq!(captured.stdout.len(), 65536);
            assert_eq!(captured.stderr, b"err\n");
            assert_eq!(code(&captured), Some(4));
            // A child of another test can have the pipe for a moment, between its fork and its exec.
            assert!(!captured.leaked || timeout.is_zero());
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn captures_output_of_zombie_from_large_pipe() {
    for kind in kinds() {
        for timeout in [LONG, Duration::ZERO] {
            let mut child = kind.script("head -c 1048576 /dev/zero; exit 4");
            // A write that blocks because the pipe is full continues when the pipe grows.
            set_pipe_size(&child.pipes()[1].unwrap(), 1 << 20);
            await_zombie(child.pid());
            assert_eq!(child.exited(timeout).stdout.len(), 1 << 20);
        }
    }
}

#[test]
fn child_that_closes_its_output_is_waited_for() {
    let script = "echo out; exec >&-; read go; echo err >&2; exit 4";
    for kind in kinds() {
        let (mut child, opener) = kind.gated(script);
        let mut stdout = Vec::new();
        while child.pipes()[1].is_some() {
            stdout.extend(child.timed_out(SHORT).stdout); // A pipe that has ended is not put back.
        }
        assert_eq!(stdout, b"out\n");
        drop(opener);
        let last = child.exited(LONG);
        assert_eq!(last.stderr, b"err\n");
        assert_eq!(code(&last), Some(4));
    }
}

/// Of a `Child`, std then has the status, too. A second run returns it again.
#[test]
fn child_is_reaped_once() {
    for kind in kinds() {
        let mut child = kind.script("exit 3");
        child.exited(LONG);
        assert!(!exists(child.pid()));
        assert_eq!(child.pipes().map(|fd| fd.is_some()), [false; 3]);
        assert_eq!(code(&child.exited(LONG)), Some(3));
        if let AnyChild::Child(child) = &mut child.child {
            assert_eq!(child.wait().unwrap().code(), Some(3));
        }
    }
}

/// What the child wrote is in the error. A handle that was opened before may find the status in the
/// kernel's record.
#[test]
fn child_that_other_code_reaped_before_fails_with_echild_and_its_output() {
    for kind in kinds() {
        let mut child = kind.script("echo out; echo err >&2; exit 3");
        reap_externally(child.pid());
        let (stdout, stderr) = match child.run(&Capture::new()) {
            Err(failed) => {
                assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
                assert!(kind.is_child() || !kind.has_exit_records());
                (failed.stdout, failed.stderr)
            }
            Ok(captured) => {
                assert!(!kind.is_child());
                assert_eq!(code(&captured), Some(3));
                (captured.stdout, captured.stderr)
            }
        };
        assert_eq!((&stdout[..], &stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }
}

/// std has the status, or the handle.
#[test]
fn status_that_a_wait_got_before_is_returned() {
    for kind in kinds() {
        let mut child = kind.script("echo out; exit 3");
        let status = match &mut child.child {
            AnyChild::Child(child) => child.wait().unwrap(),
            AnyChild::Spawned(spawned) => spawned.handle.wait().unwrap(),
        };
        let captured = child.exited(LONG);
        assert_eq!(captured.status, Some(status));
        assert_eq!(captured.stdout, b"out\n");
        assert_eq!(captured.usage, None);
    }
    let mut child = both_piped("echo out; exit 3").spawn().unwrap();
    let status = child.wait().unwrap();
    let captured = child.pidfd_output_timeout(LONG).unwrap();
    assert_eq!(captured.status, Some(status));
}

/// The background reaper, and a wait in another thread, take the status at any moment.
#[test]
fn status_that_the_background_reaper_takes_is_returned() {
    for kind in kinds_of_spawned() {
        for _ in 0..rounds(30) {
            let mut child = kind.script("echo hi; exit 3");
            child.spawned().handle.reap_in_background();
            let captured = child.exited(LONG);
            assert_eq!(
                (code(&captured), &captured.stdout[..]),
                (Some(3), &b"hi\n"[..])
            );
        }
    }
}

#[test]
fn usage_comes_with_the_status() {
    for kind in kinds() {
        let captured = kind.script("exit 3").exited(LONG);
        assert!(captured.usage.unwrap().max_rss > 4096, "{kind:?}");
    }
    for driver in DRIVERS {
        let captured = driver
            .output(&Capture::new(), &mut shell("exit 3"))
            .unwrap();
        assert!(captured.usage.unwrap().max_rss > 4096, "{driver:?}");
    }
}

#[test]
fn success_is_an_exit_with_code_0_that_was_not_stopped() {
    each("exit 0", |captured| assert!(captured.success()));
    each("exit 3", |captured| assert!(!captured.success()));
    for kind in kinds() {
        let (mut child, _opener) = kind.gated("read go");
        assert!(!child.timed_out(SHORT).success());
        child.end();
    }
}

/// The status comes from the kernel's record, where there is one.
#[test]
fn status_that_other_code_takes_meanwhile_loses_no_output() {
    for kind in kinds() {
        for timeout in [LONG, Duration::MAX] {
            let (mut child, opener) = kind.gated("echo out; read go; exit 3");
            let pid = child.pid();
            let mut opener = Some(opener);
            let mut reaped = None;
            let capture = Capture::new().timeout(timeout);
            // The sink runs during the capture.
            let mut bytes = Vec::new();
            let captured = child.run_with(&capture, |_, new| {
                bytes.extend_from_slice(new);
                drop(opener.take());
                reaped.get_or_insert_with(|| reap_externally(pid));
                Ok(())
            });
            assert_eq!(bytes, b"out\n");
            assert_eq!(reaped, Some(3 << 8));
            match captured {
                Ok(captured) => assert_eq!(code(&captured), Some(3)),
                Err(failed) => {
                    assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
                    assert!(!kind.has_exit_records());
                }
            }
        }
    }
}

/// Another thread waits through a clone of the handle.
#[test]
fn status_that_a_clone_of_the_handle_has_is_returned() {
    for kind in kinds_of_spawned() {
        let (mut child, opener) = kind.gated("echo out; read go; exit 3");
        let clone = child.spawned().handle.clone();
        let mut opener = Some(opener);
        let captured = child.run_with(&Capture::new(), |_, _| {
            drop(opener.take());
            assert_eq!(clone.wait()?.code(), Some(3));
            Ok(())
        });
        assert_eq!(code(&captured.unwrap()), Some(3));
    }
}

#[test]
fn released_handle_fails_with_einval_and_keeps_the_pipes() {
    for kind in kinds_of_spawned() {
        let mut child = kind.script("echo out");
        child.spawned().handle.release().unwrap();
        let failed = child.run(&Capture::new()).unwrap_err();
        assert_eq!(failed.error.raw_os_error(), Some(EINVAL));
        assert_eq!(child.pipes().map(|fd| fd.is_some()), [false, true, true]);
        reap_externally(child.pid());
    }
}

#[test]
fn handle_that_is_released_during_the_run_goes_on_to_the_end() {
    for kind in kinds_of_spawned() {
        let (mut child, opener) = kind.gated("echo out; read go; exit 3");
        let clone = child.spawned().handle.clone();
        let mut opener = Some(opener);
        let captured = child.run_with(&Capture::new(), |_, _| {
            drop(opener.take());
            clone.release()
        });
        assert_eq!(code(&captured.unwrap()), Some(3));
    }
}

#[test]
fn output_pipes_and_reaps_the_command() {
    for driver in DRIVERS {
        // Not piped by the caller.
        let mut command = shell("echo out; echo err >&2; read line; exit 3");
        let captured = driver.output(&Capture::new(), &mut command).unwrap();
        assert_eq!(
            (&captured.stdout[..], &captured.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(code(&captured), Some(3));
        let output = captured.into_output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (4, 4));

        let missing = driver.output(&Capture::new(), &mut Command::new("/no/such/program"));
        assert_eq!(missing.unwrap_err().error.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn unknown_signal_in_an_escalation_fails_with_einval_before_anything() {
    let bad = Escalation::new(1000, LONG);
    for capture in [
        Capture::new().terminate_on_timeout(&bad),
        Capture::new().terminate_on_leak(&bad),
    ] {
        for kind in kinds() {
            let mut child = kind.script("echo out");
            let failed = child.run(&capture).unwrap_err();
            assert_eq!(failed.error.raw_os_error(), Some(EINVAL));
            assert_eq!(child.exited(LONG).stdout, b"out\n");
        }
        for driver in DRIVERS {
            // The command is not even looked for.
            let failed = driver.output(&capture, &mut Command::new("/no/such/program"));
            assert_eq!(failed.unwrap_err().error.raw_os_error(), Some(EINVAL));
        }
    }
}

/// The blocking mode belongs to the open file description, which other descriptors may share.
#[test]
fn pipes_are_blocking_again_when_the_call_returns() {
    for kind in kinds() {
        let mut child = kind.script("echo out");
        let [_, stdout, stderr] = child.pipes();
        let stdout = stdout.unwrap().try_clone_to_owned().unwrap();
        let stderr = stderr.unwrap().try_clone_to_owned().unwrap();
        assert_eq!(child.exited(LONG).stdout, b"out\n");
        assert!(is_blocking(&stdout) && is_blocking(&stderr));
    }
}

/// Errors print as std's own, once.
#[test]
fn capture_error_prints_its_cause_once() {
    let mut child = shell("exit 0").spawn().unwrap();
    reap_externally(child.id());
    let failed = child.pidfd_output_timeout(LONG).unwrap_err();
    assert_eq!(failed.to_string(), failed.error.to_string());
    assert!(std::error::Error::source(&failed).is_none());
    let late = format!("{:?}", Capture::new().input("secret"));
    assert!(
        late.contains("6 bytes") && !late.contains("secret"),
        "{late}"
    );
}
