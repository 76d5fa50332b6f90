//! Ending the child, or its group, when the time runs out.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::subject::Driver;
use super::{both_piped, code, kinds, kinds_of_spawned, Kind, Subject, DRIVERS, LONG, SHORT};
use crate::common::isolated::enter;
use crate::common::{
    at_once, await_state, backends, drop_privileges, eventually, exists, is_root, kill,
    longer_each_time, pause, set_action, shell, skip, sleep, state_of, UNPRIVILEGED_UID,
};
#[cfg(target_os = "linux")]
use crate::common::{traceable, Tracer};
use crate::process_group::leader_that_left;
use nix::libc::{ECHILD, EPERM, SIGCHLD, SIGKILL, SIGTERM, SIG_DFL, SIG_IGN};
use pidwait::{Capture, Captured, Escalation, PidHandle, StoppedBy};

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
    assert!(captured.stopped_by.is_some(), "{captured:?}");
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
        assert!(captured.stopped_by.is_none() && !captured.leaked);
    }
}

#[test]
fn child_that_ignores_sigterm_is_killed_after_the_grace() {
    at_once(kinds(), |kind| {
        for grace in [Duration::ZERO, SHORT] {
            let mut child = kind.script("trap '' TERM; echo ready; exec sleep 600");
            await_ready(&mut child);
            let captured = child.run(&terminate(grace)).unwrap();
            assert_signalled(&captured, SIGKILL);
            assert!(!captured.leaked);
        }
    });
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
        assert!(captured.stopped_by.is_some() && !captured.leaked);
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
    at_once(kinds(), |kind| {
        // With and without a pipe that tells.
        for close in ["", r#"2>"$0""#] {
            let file =
                std::env::temp_dir().join(format!("pidwait-saved-{}-{kind:?}", std::process::id()));
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
    });
}

/// The child has exited in time, so the run was not stopped, and the status is the child's own.
#[test]
fn group_that_leaks_is_ended() {
    at_once(kinds(), |kind| {
        for (trap, grace, leak) in [
            ("", LONG, SHORT),
            ("", LONG, Duration::ZERO),
            ("trap '' TERM;", SHORT, SHORT),
        ] {
            let mut child = group(kind, &format!("{trap} sleep 600 & echo $!; exit 3"));
            let capture = Capture::new().leak_timeout(leak).terminate_on_leak(grace);
            let captured = child.run(&capture).unwrap();
            assert_eq!(code(&captured), Some(3));
            assert!(
                captured.leaked && captured.stopped_by.is_none(),
                "{captured:?}"
            );
            assert_ended(parse_pid(&captured.stdout));
        }
    });
}

/// A script starts a server on purpose.
#[test]
fn group_that_leaks_runs_on_without_terminate_on_leak() {
    for kind in kinds() {
        let mut child = group(kind, "sleep 600 & echo $!; exit 3");
        let capture = Capture::new()
            .leak_timeout(SHORT)
            .terminate_on_timeout(SHORT);
        let captured = child.run(&capture).unwrap();
        assert!(captured.leaked, "{captured:?}");
        let server = parse_pid(&captured.stdout);
        assert!(!matches!(state_of(server), None | Some('Z' | 'X')));
        kill(server, SIGKILL);
        assert_ended(server);
    }
}

/// It handles SIGTERM only when it continues.
#[test]
fn stopped_member_that_leaks_is_ended() {
    for kind in kinds() {
        let mut child = group(kind, "sleep 600 & echo $!; kill -STOP $!; exit 3");
        let capture = Capture::new().leak_timeout(SHORT).terminate_on_leak(LONG);
        let captured = child.run(&capture).unwrap();
        assert_eq!(code(&captured), Some(3));
        assert_ended(parse_pid(&captured.stdout));
    }
}

/// Another wait of the handle takes the leader's status: the number of the group stays its own.
#[test]
fn group_is_ended_while_another_wait_has_the_status_of_the_leader() {
    at_once(kinds_of_spawned(), |kind| {
        for wait in [
            |handle: &PidHandle| handle.reap_in_background(),
            |handle: &PidHandle| {
                let handle = handle.clone();
                drop(thread::spawn(move || handle.wait()));
            },
        ] {
            // It holds no pipe, and ignores SIGTERM.
            let worker = "(trap '' TERM; exec >&- 2>&-; while :; do sleep 0.05; done) & echo $!;";
            let mut child = group(kind, &format!("{worker} exec sleep 600"));
            let worker = read_pid(&mut child);
            wait(&child.spawned().handle);
            let captured = child.run(&terminate(Duration::from_millis(200))).unwrap();
            assert!(captured.stopped_by.is_some() && captured.status.is_some());
            assert_ended(worker);
        }
    });
}

/// As far as the kernel allows: the members were seen before SIGTERM.
#[test]
fn group_is_ended_while_sigchld_is_ignored() {
    if !enter("capture::terminate::group_is_ended_while_sigchld_is_ignored") {
        return;
    }
    let stdout_of = |driver: &Driver, timeout| {
        let mut command = shell("(trap '' TERM; sleep 600) & echo $!; exec sleep 600");
        let capture = Capture::new().timeout(timeout);
        let capture = capture.terminate_on_timeout(Duration::from_millis(100));
        set_action(SIGCHLD, SIG_IGN);
        let run = driver.output(&capture, command.process_group(0));
        set_action(SIGCHLD, SIG_DFL);
        match run {
            Ok(captured) => captured.stdout, // From the kernel's record.
            Err(failed) => {
                assert_eq!(failed.error.raw_os_error(), Some(ECHILD));
                failed.stdout
            }
        }
    };
    for driver in DRIVERS {
        let mut outputs =
            longer_each_time(Duration::from_millis(300)).map(|timeout| stdout_of(driver, timeout));
        let stdout = outputs.find(|stdout| !stdout.is_empty()).unwrap();
        assert_ended(parse_pid(&stdout));
    }
}

/// A tracer keeps the zombie.
#[cfg(target_os = "linux")]
#[test]
fn kill_timeout_leaves_a_child_that_does_not_end() {
    let kill = || Escalation::kill().kill_timeout(SHORT);
    for kind in kinds() {
        let mut command = both_piped("echo ready; exec sleep 600");
        let mut child = kind.spawn(traceable(&mut command));
        await_ready(&mut child);
        let Some(tracer) = Tracer::attach(child.pid()) else {
            return;
        };
        let capture = Capture::new().timeout(SHORT).terminate_on_timeout(kill());
        let captured = child.run(&capture).unwrap();
        assert_eq!(captured.status, None);
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
        assert_eq!(
            captured.into_output().unwrap_err().kind(),
            std::io::ErrorKind::TimedOut
        );
        tracer.end();
        let captured = child.exited(LONG);
        assert_eq!(captured.status.unwrap().signal(), Some(SIGKILL));
    }
}

/// It has left the group, so it is not ended, and has the pipe open.
#[test]
fn outsider_is_read_for_the_leak_timeout() {
    if Command::new("setsid").arg("true").status().is_err() {
        return skip("there is no setsid");
    }
    let outsider = "exec 3<&0; setsid sh -c 'echo ready; read go <&3' & ";
    at_once(kinds(), |kind| {
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
            let capture = capture.terminate_on_timeout(LONG).terminate_on_leak(LONG);
            let captured = child.run(&capture).unwrap();
            assert!(captured.status.is_some() && captured.leaked);
            assert_eq!(captured.stopped_by.is_some(), timed_out);
            drop(opener);
        }
    });
}

/// After SIGTERM, and after SIGKILL. It writes once the child has exited.
#[test]
fn outsider_that_writes_after_the_end_is_read() {
    at_once(kinds(), |kind| {
        for (trap, grace) in [("", LONG), ("trap '' TERM;", SHORT)] {
            let late = "exec 3<&0; (read go <&3; echo late) &";
            let script = format!("{late} {trap} echo ready; exec sleep 600");
            let (mut child, opener) = kind.gated(&script);
            await_ready(&mut child);
            let pid = child.pid();
            let captured = thread::scope(|scope| {
                scope.spawn(move || {
                    assert_ended(pid);
                    drop(opener);
                });
                child.run(&terminate(grace).leak_timeout(LONG)).unwrap()
            });
            assert_eq!(captured.stdout, b"late\n");
            assert!(captured.stopped_by.is_some() && !captured.leaked);
        }
    });
}

/// It leads no group.
#[test]
fn child_alone_is_ended_without_a_group() {
    at_once(kinds(), |kind| {
        let script = "exec 3<&0; (read go <&3) & echo ready; exec sleep 600";
        let (mut child, opener) = kind.gated(script);
        await_ready(&mut child);
        let captured = child.run(&terminate(LONG).leak_timeout(SHORT)).unwrap();
        assert_signalled(&captured, SIGTERM);
        assert!(captured.leaked);
        drop(opener);

        // At a leak there is no group to end, either.
        let (mut child, opener) = kind.gated("exec 3<&0; (read go <&3) & exit 3");
        let capture = Capture::new().leak_timeout(SHORT).terminate_on_leak(LONG);
        let captured = child.run(&capture).unwrap();
        assert_eq!(code(&captured), Some(3));
        assert!(captured.leaked);
        drop(opener);
    });
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
    at_once(kinds(), |kind| {
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
    });
}

/// The signals to the group that it led do not reach it.
#[test]
fn leader_that_left_its_group_is_killed_after_the_grace() {
    for backend in backends() {
        for driver in DRIVERS {
            let former = leader_that_left(pause);
            let mut spawned = PidHandle::spawn(&mut shell("exit 0")).unwrap();
            spawned.handle.wait().unwrap();
            spawned.handle = PidHandle::open_with(former, backend).unwrap();
            let captured = driver.run(&terminate(SHORT), &mut spawned).unwrap();
            assert_signalled(&captured, SIGKILL);
        }
    }
}

#[test]
fn output_kills_at_the_timeout() {
    let capture = Capture::new().timeout(Duration::from_millis(200));
    for driver in DRIVERS {
        for lead in [false, true] {
            let mut command = shell("trap '' TERM; echo $$; exec sleep 600");
            if lead {
                command.process_group(0);
            }
            let captured = driver.output(&capture, &mut command).unwrap();
            assert_signalled(&captured, SIGKILL);
            if !captured.stdout.is_empty() {
                assert!(!exists(parse_pid(&captured.stdout)), "it is reaped");
            }
        }
    }
}

#[test]
fn output_kills_the_whole_group_at_the_timeout() {
    let capture = Capture::new().timeout(Duration::from_millis(500));
    for driver in DRIVERS {
        let mut command = shell("sleep 600 & echo $!; exec sleep 600");
        let captured = driver.output(&capture, command.process_group(0)).unwrap();
        assert_signalled(&captured, SIGKILL);
        assert!(!captured.leaked, "no process of the group holds a pipe");
        if !captured.stdout.is_empty() {
            assert_ended(parse_pid(&captured.stdout));
        }
    }
}

#[test]
fn output_terminates_with_a_grace() {
    let capture = Capture::new()
        .timeout(Duration::from_millis(300))
        .terminate_on_timeout(LONG);
    for driver in DRIVERS {
        let mut command = Command::new("sleep");
        let captured = driver.output(&capture, command.arg("600")).unwrap();
        assert_signalled(&captured, SIGTERM);
    }
}

/// No child is left behind.
#[test]
fn output_whose_sink_fails_kills_the_group() {
    for driver in DRIVERS {
        let mut command = shell("sleep 600 & echo $!; exec sleep 600");
        let mut member = Vec::new();
        let failed = driver.output_with(&Capture::new(), command.process_group(0), |_, bytes| {
            member.extend_from_slice(bytes);
            Err(std::io::ErrorKind::BrokenPipe.into())
        });
        assert_eq!(failed.unwrap_err().stdout, member);
        assert_ended(parse_pid(&member));
    }
}
