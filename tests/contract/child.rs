//! What `ChildExt` returns, and std's own methods after it.

use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::{Capture, ChildExt, Escalation};

use crate::cases::*;
#[cfg(target_os = "linux")]
use crate::common::has_living_member;
use crate::common::{
    await_gone, await_state, await_zombie, eventually, ignoring_sigterm, kill, reap_externally, sh,
    shell, sleep, sleeper, stop, with_piped_stdout, zombie,
};
use crate::outcome::Describe;
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

pub(crate) fn rows() -> Vec<Row> {
    #[allow(unused_mut)] // Other systems have fewer rows.
    let mut rows = calls();
    #[cfg(target_os = "linux")]
    rows.extend(groups_and_captures());
    rows
}

#[rustfmt::skip] // One row a line where it fits.
fn calls() -> Vec<Row> {
    Vec::from([
        row("about to exit", "`pidfd_wait`", both("Ok(exit 3)"), || sh("exit 3").pidfd_wait().describe()),
        row("about to exit", "`pidfd_wait`, std's `wait`", both("Ok(exit 3), Ok(exit 3)"), || {
            let mut child = sh("exit 3");
            format!("{}, {}", child.pidfd_wait().describe(), child.wait().describe())
        }),
        row("reaped by `pidfd_wait`", "`pidfd_wait`", both("ECHILD"), || reaped_by_us().pidfd_wait().describe()),
        row("reaped by `pidfd_wait`", "`pidfd_try_wait`", both("ECHILD"), || reaped_by_us().pidfd_try_wait().describe()),
        row("reaped by `pidfd_wait`", "`pidfd_signal`", both("ECHILD"), || reaped_by_us().pidfd_signal(0).describe()),
        row("reaped by `pidfd_wait`", "std's `kill`", both("Ok"), || reaped_by_us().kill().describe()),
        row("reaped by std's `wait`", "`pidfd_wait`", both("ECHILD"), || reaped_by_std().pidfd_wait().describe()),
        row("reaped by std's `wait`", "`pidfd_try_wait`, `pidfd_signal`", both("ECHILD, ECHILD"), || {
            [reaped_by_std().pidfd_try_wait().describe(), reaped_by_std().pidfd_signal(0).describe()].join(", ")
        }),
        row("reaped by std's `wait`", "`pidfd_wait_timeout`", both("ECHILD"), || reaped_by_std().pidfd_wait_timeout(Duration::MAX).describe()),
        row("reaped by std's `wait`", "`pidfd_terminate`", both("ECHILD"), || reaped_by_std().pidfd_terminate(SHORT).describe()),
        #[cfg(target_os = "linux")]
        row("reaped by std's `wait`", "`pidfd_output_timeout`", both("Ok(exit 3, \"\")"), || reaped_by_std().pidfd_output_timeout(SHORT).describe()),
        row("reaped by other code", "`pidfd_wait`", both("ECHILD"), || reaped_by_others().pidfd_wait().describe()),
        row("reaped by other code", "`pidfd_try_wait`", both("ECHILD"), || reaped_by_others().pidfd_try_wait().describe()),
        row("reaped by other code", "`pidfd_signal`", both("ECHILD"), || reaped_by_others().pidfd_signal(libc::SIGTERM).describe()),
        row("reaped by other code", "`pidfd_wait_timeout(MAX)`, `pidfd_wait_deadline` in the past", both("ECHILD, ECHILD"), || {
            [reaped_by_others().pidfd_wait_timeout(Duration::MAX).describe(), reaped_by_others().pidfd_wait_deadline(Instant::now()).describe()].join(", ")
        }),
        row("reaped by other code", "`pidfd_terminate`", both("ECHILD"), || reaped_by_others().pidfd_terminate(Duration::MAX).describe()),
        row("reaped by `pidfd_wait`", "`pidfd_terminate`, `pidfd_wait_timeout(MAX)`", both("ECHILD, ECHILD"), || {
            [reaped_by_us().pidfd_terminate(Duration::MAX).describe(), reaped_by_us().pidfd_wait_timeout(Duration::MAX).describe()].join(", ")
        }),

        row("running", "`pidfd_try_wait`", both("Ok(None)"), || sleeper().pidfd_try_wait().describe()),
        row("stopped, then continued", "`pidfd_try_wait` of each", both("Ok(None), Ok(None)"), || {
            let mut child = sleeper();
            stop(child.id());
            let stopped = child.pidfd_try_wait().describe();
            kill(child.id(), libc::SIGCONT);
            await_state(child.id(), 'S');
            [stopped, child.pidfd_try_wait().describe()].join(", ")
        }),
        row("running", "`pidfd_wait_timeout(ZERO)`", both("Ok(None)"), || sleeper().pidfd_wait_timeout(Duration::ZERO).describe()),
        row("running", "`pidfd_wait_timeout` of 2 ms", both("Ok(None)"), || sleeper().pidfd_wait_timeout(SHORT).describe()),
        row("running", "`pidfd_wait_deadline` in the past", both("Ok(None)"), || sleeper().pidfd_wait_deadline(Instant::now()).describe()),
        #[cfg(target_os = "linux")]
        row("in a trace stop", "`pidfd_try_wait`", both("Ok(None)"), || trace_stopped().pidfd_try_wait().describe()),
        row("zombie", "`pidfd_try_wait`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_try_wait().describe()),
        row("zombie", "`pidfd_wait_deadline` in the past", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_wait_deadline(Instant::now()).describe()),
        row("zombie", "`pidfd_try_wait` twice, std's `try_wait`", both("Ok(Some(exit 3)), ECHILD, Ok(Some(exit 3))"), || {
            let mut child = zombie("exit 3");
            [child.pidfd_try_wait().describe(), child.pidfd_try_wait().describe(), child.try_wait().describe()].join(", ")
        }),
        row("zombie", "`pidfd_wait_timeout` twice, std's `kill` and `wait`", both("Ok(Some(exit 3)), ECHILD, Ok, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            let waits = [child.pidfd_wait_timeout(SHORT).describe(), child.pidfd_wait_timeout(SHORT).describe()].join(", ");
            [waits, child.kill().describe(), child.wait().describe()].join(", ")
        }),
        row("zombie", "`pidfd_wait_timeout(ZERO)`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_wait_timeout(Duration::ZERO).describe()),
        row("about to exit", "`pidfd_wait_timeout(MAX)`", both("Ok(Some(exit 3))"), || sh("exit 3").pidfd_wait_timeout(Duration::MAX).describe()),
        row("about to exit", "`pidfd_wait_usage`, std's `wait`", both("Ok(exit 3, usage), Ok(exit 3)"), || {
            let mut child = sh("exit 3");
            format!("{}, {}", child.pidfd_wait_usage().describe(), child.wait().describe())
        }),
        row("zombie", "`pidfd_wait_usage` twice, std's `wait`", both("Ok(exit 3, usage), ECHILD, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            [child.pidfd_wait_usage().describe(), child.pidfd_wait_usage().describe(), child.wait().describe()].join(", ")
        }),
        row("reaped by `pidfd_wait`", "`pidfd_wait_usage`", both("ECHILD"), || reaped_by_us().pidfd_wait_usage().describe()),
        row("running", "`pidfd_wait_exited_timeout` of 2 ms", both("Ok(false)"), || sleeper().pidfd_wait_exited_timeout(SHORT).describe()),
        row("zombie", "`pidfd_wait_exited_timeout`, `pidfd_wait`", both("Ok(true), Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            format!("{}, {}", child.pidfd_wait_exited_timeout(SHORT).describe(), child.pidfd_wait().describe())
        }),
        #[cfg(target_os = "linux")]
        row("in a trace stop", "`pidfd_wait_exited_timeout` of 2 ms", both("Ok(false)"), || trace_stopped().pidfd_wait_exited_timeout(SHORT).describe()),
        row("reaped by std's `wait`", "`pidfd_wait_exited_timeout`", both("ECHILD"), || reaped_by_std().pidfd_wait_exited_timeout(SHORT).describe()),
        #[cfg(target_os = "linux")]
        row("killed by a real-time signal", "`pidfd_wait`", both("Ok(signal 64)"), || {
            let mut child = sleeper();
            child.pidfd_signal(libc::SIGRTMAX()).expect("signal");
            child.pidfd_wait().describe()
        }),
        #[cfg(target_os = "linux")]
        row("killed by a real-time signal", "`pidfd_wait_timeout(MAX)`", both("Ok(Some(signal 64))"), || {
            let mut child = sleeper();
            child.pidfd_signal(libc::SIGRTMAX()).expect("signal");
            child.pidfd_wait_timeout(Duration::MAX).describe()
        }),

        row("reads until stdin closes", "`pidfd_wait`; stdin, stdout still open?", both("Ok(exit 3), false, true"), || {
            let mut child = reader();
            format!("{}, {}, {}", child.pidfd_wait().describe(), child.stdin.is_some(), child.stdout.is_some())
        }),
        row("reads until stdin closes", "`pidfd_wait_usage`; stdin still open?", both("Ok(exit 3, usage), false"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_wait_usage().describe(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_try_wait`; stdin still open?", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_try_wait().describe(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_wait_timeout` of 2 ms; stdin still open?", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_wait_timeout(SHORT).describe(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_wait_deadline` in the past; stdin still open?", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_wait_deadline(Instant::now()).describe(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_try_wait`; once stdin is closed: `pidfd_wait`", both("Ok(None), Ok(exit 3)"), || {
            let mut child = reader();
            let running = child.pidfd_try_wait().describe();
            drop(child.stdin.take());
            format!("{running}, {}", child.pidfd_wait().describe())
        }),

        row("zombie", "`pidfd_signal`, `pidfd_wait`", both("Ok, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            format!("{}, {}", child.pidfd_signal(libc::SIGTERM).describe(), child.pidfd_wait().describe())
        }),
        row("zombie", "`pidfd_signal(0)`, `pidfd_signal` of SIGKILL, `pidfd_wait`", both("Ok, Ok, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            [child.pidfd_signal(0).describe(), child.pidfd_signal(libc::SIGKILL).describe(), child.pidfd_wait().describe()].join(", ")
        }),
        row("no such signal", "`pidfd_signal`, std's `try_wait`", both("EINVAL, Ok(None)"), || {
            let mut child = sleeper();
            [unknown_signals(|signal| child.pidfd_signal(signal)), child.try_wait().describe()].join(", ")
        }),
        row("running", "`pidfd_terminate`", both("Ok(signal 15)"), || sleeper().pidfd_terminate(Duration::MAX).describe()),
        #[cfg(target_os = "linux")]
        row("running", "`pidfd_terminate` with SIGUSR1", both("Ok(signal 10)"), || sleeper().pidfd_terminate(Escalation::new(libc::SIGUSR1, Duration::MAX)).describe()),
        row("no such signal in the second step", "`pidfd_terminate`, `pidfd_try_wait`", both("EINVAL, Ok(None)"), || {
            let mut child = sleeper();
            format!("{}, {}", child.pidfd_terminate(Escalation::from(SHORT).then(1000, SHORT)).describe(), child.pidfd_try_wait().describe())
        }),
        row("ignores SIGTERM", "`pidfd_terminate`; stdin still open? std's `wait` and `kill`", both("Ok(signal 9), true, Ok(signal 9), Ok"), || {
            let mut child = ignoring_sigterm();
            let ended = format!("{}, {}", child.pidfd_terminate(SHORT).describe(), child.stdin.is_some());
            [ended, child.wait().describe(), child.kill().describe()].join(", ")
        }),
        row("handles SIGTERM", "`pidfd_terminate`", both("Ok(exit 3)"), || handling_sigterm().pidfd_terminate(Duration::MAX).describe()),
        row("handles SIGTERM, stopped", "`pidfd_terminate`", both("Ok(exit 3)"), || handling_sigterm_stopped().pidfd_terminate(Duration::MAX).describe()),
        row("zombie", "`pidfd_terminate`", both("Ok(exit 3)"), || zombie("exit 3").pidfd_terminate(SHORT).describe()),
        row("zombie", "`pidfd_release`, then process state", both("Ok, still a zombie"), || {
            let child = zombie("exit 3");
            let pid = child.id();
            [child.pidfd_release().describe(), state(pid)].join(", ")
        }),
        row("reads until stdin closes", "`pidfd_release`; how it ends", both("Ok, Ok(exit 3)"), || {
            let child = reader();
            let handle = open(child.id());
            [child.pidfd_release().describe(), handle.wait().describe()].join(", ")
        }),
        row("running", "`pidfd_release`, `signal` and `wait` by a handle", both("Ok, Ok, Ok(signal 15)"), || {
            let child = sleeper();
            let handle = open(child.id());
            [child.pidfd_release().describe(), handle.signal(libc::SIGTERM).describe(), handle.wait().describe()].join(", ")
        }),

        row("running", "`pidfd_reap_in_background`; once it was killed: is it reaped?", both("true"), || {
            let child = sleeper();
            let pid = child.id();
            child.pidfd_reap_in_background();
            kill(pid, libc::SIGKILL);
            await_gone(pid);
            true.describe()
        }),
        row("zombie", "`pidfd_reap_in_background`, then process state", both("gone"), || {
            let child = zombie("exit 3");
            let pid = child.id();
            child.pidfd_reap_in_background();
            state(pid)
        }),
    ])
}

#[cfg(target_os = "linux")]
#[rustfmt::skip] // One row a line where it fits.
fn groups_and_captures() -> Vec<Row> {
    vec![
        row("group leader", "`pidfd_signal_process_group`, `pidfd_wait`", both("Ok, Ok(signal 15)"), || {
            let mut child = lead(&mut sleep());
            format!("{}, {}", child.pidfd_signal_process_group(libc::SIGTERM).describe(), child.pidfd_wait().describe())
        }),
        row("leader is a zombie, a member runs", "`pidfd_signal_process_group`; is the member alive? `pidfd_wait`", both("Ok, false, Ok(exit 3)"), || {
            let mut child = lead(&mut shell("sleep 600 & exit 3"));
            await_zombie(child.id());
            let sent = child.pidfd_signal_process_group(libc::SIGKILL).describe();
            eventually("the member is gone", || !has_living_member(child.id()));
            format!("{sent}, false, {}", child.pidfd_wait().describe())
        }),
        row("not a group leader", "`pidfd_signal_process_group`", both("InvalidInput"), || sleeper().pidfd_signal_process_group(libc::SIGTERM).describe()),
        row("reaped by `pidfd_wait`", "`pidfd_signal_process_group`", both("ECHILD"), || reaped_by_us().pidfd_signal_process_group(0).describe()),
        row("group leader", "`pidfd_terminate_process_group`, std's `wait`", both("Ok(signal 15), Ok(signal 15)"), || {
            let mut child = lead(&mut sleep());
            format!("{}, {}", child.pidfd_terminate_process_group(Duration::MAX).describe(), child.wait().describe())
        }),
        row("not a group leader", "`pidfd_terminate_process_group`, `pidfd_try_wait`", both("InvalidInput, Ok(None)"), || {
            let mut child = sleeper();
            format!("{}, {}", child.pidfd_terminate_process_group(SHORT).describe(), child.pidfd_try_wait().describe())
        }),
        row("reaped by std's `wait`", "`pidfd_terminate_process_group`", both("ECHILD"), || reaped_by_std().pidfd_terminate_process_group(SHORT).describe()),
        row("reaped by `pidfd_wait`", "`pidfd_terminate_process_group`", both("ECHILD"), || reaped_by_us().pidfd_terminate_process_group(SHORT).describe()),

        row("writes and exits", "`pidfd_output_timeout`", both("Ok(exit 3, \"out\")"), || {
            with_piped_stdout("printf out; exit 3").pidfd_output_timeout(Duration::MAX).describe()
        }),
        row("writes nothing and keeps running", "`pidfd_output_timeout` of 2 ms, std's `try_wait`", both("Ok(None, Timeout, \"\"), Ok(None)"), || {
            let mut child = with_piped_stdout("exec sleep 600");
            format!("{}, {}", child.pidfd_output_timeout(SHORT).describe(), child.try_wait().describe())
        }),
        row("writes and exits, a grandchild writes and exits later", "`Capture::run`", both("Ok(exit 3, \"outlate\")"), || {
            let mut child = with_piped_stdout("printf out; (sleep 0.1; printf late) & exit 3");
            Capture::new().leak_timeout(Duration::MAX).run(&mut child).describe()
        }),
        row("writes and exits, a grandchild holds the pipes", "`Capture::run`, timeout 50 ms", both("Ok(exit 3, leaked, \"out\")"), || {
            let (mut child, _grandchild_reads) = leaking();
            await_zombie(child.id());
            Capture::new().timeout(Duration::from_millis(50)).leak_timeout(Duration::MAX).run(&mut child).describe()
        }),
        row("keeps running", "`Capture::run` with `terminate_on_timeout`", both("Ok(signal 15, Timeout, \"\")"), || {
            let capture = Capture::new().timeout(SHORT).terminate_on_timeout(Duration::MAX);
            capture.run(&mut with_piped_stdout("exec sleep 600")).describe()
        }),
        row("keeps running", "`Capture::output`, timeout 2 ms", both("Ok(signal 9, Timeout, \"\")"), || {
            Capture::new().timeout(SHORT).output(&mut sleep()).describe()
        }),
        row("writes nothing for 2 ms", "`Capture::output`, idle timeout 2 ms", both("Ok(signal 9, IdleTimeout, \"\")"), || {
            Capture::new().idle_timeout(SHORT).output(&mut sleep()).describe()
        }),
        row("prints that it is ready", "`Capture::run_until`; stdout still open?", both("Ok(None, Condition, \"ready\"), true"), || {
            let mut child = with_piped_stdout("printf ready; exec sleep 600");
            let captured = Capture::new().run_until(&mut child, |stdout, _| stdout == b"ready");
            format!("{}, {}", captured.describe(), child.stdout.is_some())
        }),
        row("writes more than `tail_bytes`", "`Capture::run`", both("Ok(exit 3, 2 discarded, \"t\")"), || {
            Capture::new().tail_bytes(1).run(&mut with_piped_stdout("printf out; exit 3")).describe()
        }),
        row("writes and exits, a grandchild holds the pipes", "`Capture::run`, leak timeout 2 ms; stdout still open?", both("Ok(exit 3, leaked, \"out\"), true"), || {
            let (mut child, _grandchild_reads) = leaking();
            let captured = Capture::new().leak_timeout(SHORT).run(&mut child);
            format!("{}, {}", captured.describe(), child.stdout.is_some())
        }),
        row("writes more than `max_bytes`", "`Capture::run`", both("Ok(exit 3, 2 discarded, \"o\")"), || {
            Capture::new().max_bytes(1).run(&mut with_piped_stdout("printf out; exit 3")).describe()
        }),
        row("writes and exits", "`Capture::run_with`; what the sink got", both("Ok(exit 3, \"\"), \"out\""), || {
            let mut got = Vec::new();
            let captured = Capture::new().run_with(&mut with_piped_stdout("printf out; exit 3"), |_, bytes| {
                got.extend(bytes);
                Ok(())
            });
            format!("{}, {:?}", captured.describe(), String::from_utf8_lossy(&got))
        }),
        row("writes, and the sink fails with EIO", "`Capture::run_with`; stdout still open?", both("EIO, \"out\", true"), || {
            let mut child = with_piped_stdout("printf out; exec sleep 600");
            let failed = Capture::new().run_with(&mut child, |_, _| Err(std::io::Error::from_raw_os_error(libc::EIO)));
            format!("{}, {}", failed.describe(), child.stdout.is_some())
        }),
        row("keeps running", "`Capture::run`, timeout 2 ms, then `into_output`", both("TimedOut"), || {
            let capture = Capture::new().timeout(SHORT);
            let captured = capture.run(&mut with_piped_stdout("exec sleep 600")).expect("no error");
            captured.into_output().map(drop).describe()
        }),
        row("exits with 0 after the timeout", "`Capture::output`, timeout 2 ms, then `into_output`", both("TimedOut"), || {
            let capture = Capture::new().timeout(SHORT).terminate_on_timeout(Duration::MAX);
            let captured = capture.output(&mut shell("trap 'exit 0' TERM; while :; do sleep 0.01; done"));
            captured.expect("no error").into_output().map(drop).describe()
        }),
        row("stdin is not piped", "`Capture::run` with input", both("InvalidInput"), || {
            Capture::new().input("in").run(&mut sleeper()).describe()
        }),
        row("closes stdin early", "`Capture::output` with input", both("Ok(exit 3, \"out\")"), || {
            Capture::new().input(vec![0; 1 << 20]).output(&mut shell("exec <&-; printf out; exit 3")).describe()
        }),
        row("reaped by other code", "`Capture::run`", both("ECHILD, \"out\""), || {
            let mut child = with_piped_stdout("printf out");
            reap_externally(child.id());
            Capture::new().run(&mut child).describe()
        }),
    ]
}

fn reaped_by_us() -> Child {
    let mut child = sh("exit 3");
    child.pidfd_wait().expect("our wait");
    child
}

fn reaped_by_std() -> Child {
    let mut child = sh("exit 3");
    child.wait().expect("std's wait");
    child
}

fn reaped_by_others() -> Child {
    let child = zombie("exit 3");
    reap_externally(child.id());
    child
}

fn reader() -> Child {
    let mut command = shell("read line; exit 3");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts")
}

/// A child that exits and leaves a process behind, which has its output pipe until the returned pipe
/// is closed.
fn leaking() -> (Child, ChildStdin) {
    let mut command = shell("printf out; exec 3<&0; cat <&3 & exit 3");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sh starts");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}
