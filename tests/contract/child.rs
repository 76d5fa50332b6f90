//! What `ChildExt` returns, and std's own methods after it.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::ChildExt;

use crate::cases::*;
use crate::common::{
    ignoring_sigterm, reap_externally, sh, shell, sleeper, state_of, with_piped_stdout, zombie,
};
use crate::outcome::Describe;
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    vec![
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
        row("reaped by std's `wait`", "`pidfd_wait_timeout`", both("ECHILD"), || reaped_by_std().pidfd_wait_timeout(Duration::MAX).describe()),
        row("reaped by std's `wait`", "`pidfd_terminate`", both("ECHILD"), || reaped_by_std().pidfd_terminate(SHORT).describe()),
        row("reaped by std's `wait`", "`pidfd_output_timeout`", both("ECHILD"), || reaped_by_std().pidfd_output_timeout(SHORT).describe()),
        row("reaped by other code", "`pidfd_wait`", both("ECHILD"), || reaped_by_others().pidfd_wait().describe()),
        row("reaped by other code", "`pidfd_try_wait`", both("ECHILD"), || reaped_by_others().pidfd_try_wait().describe()),
        row("reaped by other code", "`pidfd_signal`", both("ECHILD"), || reaped_by_others().pidfd_signal(libc::SIGTERM).describe()),

        row("running", "`pidfd_try_wait`", both("Ok(None)"), || sleeper().pidfd_try_wait().describe()),
        row("running", "`pidfd_wait_timeout` of 2 ms", both("Ok(None)"), || sleeper().pidfd_wait_timeout(SHORT).describe()),
        row("running", "`pidfd_wait_deadline` in the past", both("Ok(None)"), || sleeper().pidfd_wait_deadline(Instant::now()).describe()),
        row("in a trace stop", "`pidfd_try_wait`", both("Ok(None)"), || trace_stopped().pidfd_try_wait().describe()),
        row("zombie", "`pidfd_try_wait`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_try_wait().describe()),
        row("zombie", "`pidfd_wait_timeout(ZERO)`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_wait_timeout(Duration::ZERO).describe()),
        row("about to exit", "`pidfd_wait_timeout(MAX)`", both("Ok(Some(exit 3))"), || sh("exit 3").pidfd_wait_timeout(Duration::MAX).describe()),
        row("killed by a real-time signal", "`pidfd_wait`", both("Ok(signal 64)"), || {
            let mut child = sleeper();
            child.pidfd_signal(libc::SIGRTMAX()).expect("signal");
            child.pidfd_wait().describe()
        }),

        row("reads until stdin closes", "`pidfd_wait`", both("Ok(exit 3)"), || reader().pidfd_wait().describe()),
        row("reads until stdin closes", "`pidfd_try_wait`; stdin still open?", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_try_wait().describe(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_wait_timeout` of 2 ms; stdin still open?", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_wait_timeout(SHORT).describe(), child.stdin.is_some())
        }),

        row("zombie", "`pidfd_signal`, `pidfd_wait`", both("Ok, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            format!("{}, {}", child.pidfd_signal(libc::SIGTERM).describe(), child.pidfd_wait().describe())
        }),
        row("no such signal", "`pidfd_signal`", both("EINVAL"), || sleeper().pidfd_signal(65).describe()),
        row("running", "`pidfd_terminate`", both("Ok(signal 15)"), || sleeper().pidfd_terminate(Duration::MAX).describe()),
        row("ignores SIGTERM", "`pidfd_terminate`", both("Ok(signal 9)"), || ignoring_sigterm().pidfd_terminate(SHORT).describe()),
        row("zombie", "`pidfd_terminate`", both("Ok(exit 3)"), || zombie("exit 3").pidfd_terminate(SHORT).describe()),
        row("zombie", "`pidfd_release`, then process state", both("Ok, still a zombie"), || {
            let child = zombie("exit 3");
            let pid = child.id();
            let result = child.pidfd_release().describe();
            format!("{result}, {}", if state_of(pid) == Some('Z') { "still a zombie" } else { "gone" })
        }),

        row("writes and exits", "`pidfd_output_timeout`", both("Ok(exit 3, \"out\")"), || {
            with_piped_stdout("printf out; exit 3").pidfd_output_timeout(Duration::MAX).describe()
        }),
        row("writes and exits, a grandchild holds the pipes", "`pidfd_output_timeout`", both("Ok(exit 3, \"out\")"), || {
            let mut command = shell("printf out; exec 3<&0; cat <&3 & exit 3");
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
            let _grandchild_reads = child.stdin.take();
            child.pidfd_output_timeout(Duration::MAX).describe()
        }),
        row("writes nothing and keeps running", "`pidfd_output_timeout` of 2 ms", both("Ok(TimedOut, \"\")"), || {
            with_piped_stdout("exec sleep 600").pidfd_output_timeout(SHORT).describe()
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
    command.stdin(Stdio::piped()).spawn().expect("sh starts")
}
