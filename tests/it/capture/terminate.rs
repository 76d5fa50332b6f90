//! Ending the child, or its group, when the time runs out.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{both_piped, code, kinds, Kind, Subject, LONG, SHORT};
use crate::common::{
    await_state, await_zombie, backends, drop_privileges, eventually, exists, is_root, pause,
    shell, skip, sleep, state_of, UNPRIVILEGED_UID,
};
use crate::process_group::leader_that_left;
use nix::libc::{EPERM, SIGKILL, SIGTERM};
use pidwait::{Capture, Captured, PidHandle};

fn terminate(grace: Duration) -> Capture {
    Capture::new().timeout(SHORT).terminate_on_timeout(grace)
}

/// A script that leads a process group.
fn group(kind: Kind, script: &str) -> Subject {
    kind.spawn(both_piped(script).process_group(0))
}

/// Reads until the script has printed "ready".
fn await_ready(child: &mut Subject) {
    let mut stdout = Vec::new();
    while stdout != b"ready\n" {
        stdout.extend(child.timed_out(SHORT).stdout);
    }
}

/// Reads a line with a PID.
fn read_pid(child: &mut Subject) -> u32 {
    let mut stdout = Vec::new();
    while !stdout.ends_with(b"\n") {
        stdout.extend(child.timed_out(SHORT).stdout);
    }
    parse_pid(&stdout)
}

fn parse_pid(stdout: &[u8]) -> u32 {
    std::str::from_utf8(stdout).unwrap().trim().parse().unwrap()
}

/// An orphan's parent may not reap it soon.
#[track_caller]
fn assert_ended(pid: u32) {
    eventually("it has ended", || {
        matches!(state_of(pid), None | Some('Z' | 'X'))
    });
}

#[track_caller]
fn assert_signalled(captured: &Captured, signal: i32) {
    assert!(captured.timed_out, "{captured:?}");
    assert_eq!(
        captured.status.and_then(|status| status.signal()),
        Some(signal)
    );
}

#[test]
fn child_is_terminated_at_the_timeout() {
    for kind in kinds() {
        let mut child = kind.script("echo out; exec sleep 600");
        let start = Instant::now();
        let captured = child.run(&terminate(LONG)).unwrap();
        assert!(start.elapsed() >= SHORT);
        assert_signalled(&captured, SIGTERM);
        assert!(!captured.leaked);
        assert!(!exists(child.pid()), "it is reaped");
    }
}

#[test]
fn child_that_exits_in_time_is_not_signalled() {
    for kind in kinds() {
        let capture = Capture::new().timeout(LONG).terminate_on_timeout(LONG);
        let captured = kind.script("echo out; exit 3").run(&capture).unwrap();
        assert_eq!(code(&captured), Some(3));
        assert!(!captured.timed_out && !captured.leaked);
    }
}

#[test]
fn child_that_ignores_sigterm_is_killed_after_the_grace() {
    for kind in kinds() {
        for grace in [Duration::ZERO, SHORT] {
            let mut child = kind.script("trap '' TERM; echo ready; exec sleep 600");
            await_ready(&mut child);
            let captured = child.run(&terminate(grace)).unwrap();
            assert_signalled(&captured, SIGKILL);
            assert!(!captured.leaked);
        }
    }
}

/// What it writes then is part of the output.
#[test]
fn output_is_read_while_the_child_ends() {
    let script =
        "trap 'head -c 300000 /dev/zero; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    for kind in kinds() {
        let mut child = kind.script(script);
        await_ready(&mut child);
        let captured = child.run(&terminate(LONG)).unwrap();
        assert_eq!(captured.stdout.len(), 300_000);
        assert_eq!(code(&captured), Some(7));
        assert!(captured.timed_out && !captured.leaked);
        assert_eq!(
            captured.into_output().unwrap_err().kind(),
            std::io::ErrorKind::TimedOut
        );
    }
}

#[test]
fn stopped_child_is_continued_to_end() {
    for kind in kinds() {
        let mut child = kind.script("kill -STOP $$");
        await_state(child.pid(), 'T');
        assert_signalled(&child.run(&terminate(LONG)).unwrap(), SIGTERM);
    }
}

#[test]
fn whole_group_is_terminated() {
    for kind in kinds() {
        let mut child = group(kind, "sleep 600 & echo $!; exec sleep 600");
        let other = read_pid(&mut child);
        let captured = child.run(&terminate(LONG)).unwrap();
        assert_signalled(&captured, SIGTERM);
        assert!(!captured.leaked, "no process of the group holds a pipe");
        assert_ended(other);
    }
}

#[test]
fn group_that_ignores_sigterm_is_killed() {
    for kind in kinds() {
        let mut child = group(kind, "trap '' TERM; sleep 600 & echo $!; exec sleep 600");
        let other = read_pid(&mut child);
        let captured = child.run(&terminate(SHORT)).unwrap();
        assert_signalled(&captured, SIGKILL);
        assert!(!captured.leaked);
        assert_ended(other);
    }
}

/// The leader ends at once.
#[test]
fn member_gets_the_grace_to_save_its_work() {
    const WORKER: &str = "trap 'sleep 0.3; echo saved >&2; exit 0' TERM; echo ready; \
                          while :; do sleep 0.02; done";
    for kind in kinds() {
        // With and without a pipe that tells.
        for close in ["", "2>$0"] {
            let file = std::env::temp_dir().join(format!("pidwait-saved-{}", std::process::id()));
            let _ = std::fs::remove_file(&file);
            let mut command = both_piped(&format!("({WORKER}) {close} & exec sleep 600"));
            command.arg(&file).process_group(0);
            let mut child = kind.spawn(&mut command);
            await_ready(&mut child);
            let captured = child.run(&terminate(LONG)).unwrap();
            assert_signalled(&captured, SIGTERM);
            assert!(!captured.leaked);
            let saved = match close {
                "" => captured.stderr,
                _ => std::fs::read(&file).unwrap(),
            };
            // Before that, the shell may report that its sleep was terminated.
            assert!(saved.ends_with(b"saved\n"), "{kind:?} {close} {saved:?}");
            let _ = std::fs::remove_file(&file);
        }
    }
}

/// The child has exited in time, so `timed_out` is not set, and the status is the child's own.
#[test]
fn group_that_leaks_is_ended() {
    for kind in kinds() {
        for (trap, grace, leak) in [
            ("", LONG, SHORT),
            ("", LONG, Duration::ZERO),
            ("trap '' TERM;", SHORT, SHORT),
        ] {
            let mut child = group(kind, &format!("{trap} sleep 600 & echo $!; exit 3"));
            let capture = Capture::new()
                .leak_timeout(leak)
                .terminate_on_timeout(grace);
            let captured = child.run(&capture).unwrap();
            assert_eq!(code(&captured), Some(3));
            assert!(captured.leaked && !captured.timed_out, "{captured:?}");
            assert_ended(parse_pid(&captured.stdout));
        }
    }
}

/// It handles SIGTERM only when it continues.
#[test]
fn stopped_member_that_leaks_is_ended() {
    for kind in kinds() {
        let mut child = group(kind, "sleep 600 & echo $!; kill -STOP $!; exit 3");
        let capture = Capture::new()
            .leak_timeout(SHORT)
            .terminate_on_timeout(LONG);
        let captured = child.run(&capture).unwrap();
        assert_eq!(code(&captured), Some(3));
        assert_ended(parse_pid(&captured.stdout));
    }
}

/// It has left the group, so it is not ended, and has the pipe open.
#[test]
fn outsider_is_read_for_the_leak_timeout() {
    if Command::new("setsid").arg("true").status().is_err() {
        return skip("there is no setsid");
    }
    let outsider = "exec 3<&0; setsid sh -c 'echo ready; read go <&3' & ";
    for kind in kinds() {
        for (end, timed_out) in [("exec sleep 600", true), ("read go", false)] {
            let (gate, opener) = super::gate();
            let (leader_gate, leader_opener) = super::gate();
            let mut command = shell(&format!("exec 4<&2 2>&1; {outsider} exec <&4; {end}"));
            command
                .stdin(gate)
                .stdout(Stdio::piped())
                .stderr(leader_gate);
            let mut child = kind.spawn(command.process_group(0));
            drop(command);
            await_ready(&mut child);
            drop(leader_opener);
            let timeout = if timed_out { SHORT } else { LONG };
            let capture = Capture::new().timeout(timeout).leak_timeout(SHORT);
            let captured = child.run(&capture.terminate_on_timeout(LONG)).unwrap();
            assert!(captured.status.is_some() && captured.leaked);
            assert_eq!(captured.timed_out, timed_out);
            drop(opener);
        }
    }
}

/// After SIGTERM, and after SIGKILL. It writes once the child is a zombie.
#[test]
fn outsider_that_writes_after_the_end_is_read() {
    for kind in kinds() {
        for (trap, grace) in [("", LONG), ("trap '' TERM;", SHORT)] {
            let late = "exec 3<&0; (read go <&3; echo late) &";
            let script = format!("{late} {trap} echo ready; exec sleep 600");
            let (mut child, opener) = kind.gated(&script);
            await_ready(&mut child);
            let pid = child.pid();
            let captured = thread::scope(|scope| {
                scope.spawn(move || {
                    await_zombie(pid);
                    drop(opener);
                });
                child.run(&terminate(grace).leak_timeout(LONG)).unwrap()
            });
            assert_eq!(captured.stdout, b"late\n");
            assert!(captured.timed_out && !captured.leaked);
        }
    }
}

/// It leads no group.
#[test]
fn child_alone_is_ended_without_a_group() {
    for kind in kinds() {
        let script = "exec 3<&0; (read go <&3) & echo ready; exec sleep 600";
        let (mut child, opener) = kind.gated(script);
        await_ready(&mut child);
        let captured = child.run(&terminate(LONG).leak_timeout(SHORT)).unwrap();
        assert_signalled(&captured, SIGTERM);
        assert!(captured.leaked);
        drop(opener);

        // At a leak there is no group to end, either.
        let (mut child, opener) = kind.gated("exec 3<&0; (read go <&3) & exit 3");
        let capture = Capture::new()
            .leak_timeout(SHORT)
            .terminate_on_timeout(LONG);
        let captured = child.run(&capture).unwrap();
        assert_eq!(code(&captured), Some(3));
        assert!(captured.leaked);
        drop(opener);
    }
}

#[test]
fn child_that_may_not_be_signalled_fails_with_eperm() {
    if !is_root() {
        return skip("needs another user");
    }
    for kind in kinds() {
        let mut command = Command::new("sleep");
        command.arg("600").stdout(Stdio::piped());
        let mut child = kind.spawn(&mut command);
        let failed = thread::scope(|scope| {
            let unprivileged = scope.spawn(|| {
                drop_privileges();
                child.run(&terminate(LONG))
            });
            unprivileged.join().unwrap().unwrap_err()
        });
        assert_eq!(failed.error.raw_os_error(), Some(EPERM));
        assert!(child.pipes()[1].is_some());
        child.end();
    }
}

/// The signals to the group reach only another member.
#[test]
fn leader_that_may_not_be_signalled_fails_with_eperm() {
    if !is_root() {
        return skip("needs another user");
    }
    for kind in kinds() {
        let mut child = kind.spawn(sleep().stdout(Stdio::piped()).process_group(0));
        let group = i32::try_from(child.pid()).unwrap();
        let mut member = sleep();
        let mut member = member
            .uid(UNPRIVILEGED_UID)
            .process_group(group)
            .spawn()
            .unwrap();
        let failed = thread::scope(|scope| {
            let unprivileged = scope.spawn(|| {
                drop_privileges();
                child.run(&terminate(SHORT))
            });
            unprivileged.join().unwrap().unwrap_err()
        });
        assert_eq!(failed.error.raw_os_error(), Some(EPERM));
        assert!(!member.wait().unwrap().success());
        child.end();
    }
}

/// The signals to the group that it led do not reach it.
#[test]
fn leader_that_left_its_group_is_killed_after_the_grace() {
    for backend in backends() {
        let former = leader_that_left(pause);
        let mut spawned = PidHandle::spawn(&mut shell("exit 0")).unwrap();
        spawned.handle.wait().unwrap();
        spawned.handle = PidHandle::open_with(former, backend).unwrap();
        let captured = terminate(SHORT).run(&mut spawned).unwrap();
        assert_signalled(&captured, SIGKILL);
    }
}

#[test]
fn output_kills_at_the_timeout() {
    let capture = Capture::new().timeout(Duration::from_millis(200));
    for lead in [false, true] {
        let mut command = shell("trap '' TERM; echo $$; exec sleep 600");
        if lead {
            command.process_group(0);
        }
        let captured = capture.output(&mut command).unwrap();
        assert_signalled(&captured, SIGKILL);
        if !captured.stdout.is_empty() {
            assert!(!exists(parse_pid(&captured.stdout)), "it is reaped");
        }
    }
}

#[test]
fn output_kills_the_whole_group_at_the_timeout() {
    let capture = Capture::new().timeout(Duration::from_millis(500));
    let mut command = shell("sleep 600 & echo $!; exec sleep 600");
    let captured = capture.output(command.process_group(0)).unwrap();
    assert_signalled(&captured, SIGKILL);
    assert!(!captured.leaked, "no process of the group holds a pipe");
    if !captured.stdout.is_empty() {
        assert_ended(parse_pid(&captured.stdout));
    }
}

#[test]
fn output_terminates_with_a_grace() {
    let capture = Capture::new()
        .timeout(Duration::from_millis(300))
        .terminate_on_timeout(LONG);
    let mut command = Command::new("sleep");
    let captured = capture.output(command.arg("600")).unwrap();
    assert_signalled(&captured, SIGTERM);
}
