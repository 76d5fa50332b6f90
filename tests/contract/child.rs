//! Section 4: what `ChildExt` answers, and std beside it.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::ChildExt;

use crate::answer::Said;
use crate::cases::*;
use crate::common::{
    ignoring_sigterm, reap_externally, sh, shell, sleeper, state_of, with_piped_stdout, zombie,
};
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // A row a line, as far as that goes.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("about to exit", "`pidfd_wait`", both("Ok(exit 3)"), || sh("exit 3").pidfd_wait().said()),
        row("about to exit", "`pidfd_wait`, std's `wait`", both("Ok(exit 3), Ok(exit 3)"), || {
            let mut child = sh("exit 3");
            format!("{}, {}", child.pidfd_wait().said(), child.wait().said())
        }),
        row("our wait had the status", "`pidfd_wait`", both("ECHILD"), || by_us().pidfd_wait().said()),
        row("our wait had the status", "`pidfd_try_wait`", both("ECHILD"), || by_us().pidfd_try_wait().said()),
        row("our wait had the status", "`pidfd_signal`", both("ECHILD"), || by_us().pidfd_signal(0).said()),
        row("our wait had the status", "std's `kill`", both("Ok"), || by_us().kill().said()),
        row("std's wait had the status", "`pidfd_wait`", both("ECHILD"), || by_std().pidfd_wait().said()),
        row("std's wait had the status", "`pidfd_wait_timeout`", both("ECHILD"), || by_std().pidfd_wait_timeout(Duration::MAX).said()),
        row("std's wait had the status", "`pidfd_terminate`", both("ECHILD"), || by_std().pidfd_terminate(SHORT).said()),
        row("std's wait had the status", "`pidfd_output_timeout`", both("ECHILD"), || by_std().pidfd_output_timeout(SHORT).said()),
        row("reaped by something else", "`pidfd_wait`", both("ECHILD"), || by_others().pidfd_wait().said()),
        row("reaped by something else", "`pidfd_try_wait`", both("ECHILD"), || by_others().pidfd_try_wait().said()),
        row("reaped by something else", "`pidfd_signal`", both("ECHILD"), || by_others().pidfd_signal(libc::SIGTERM).said()),

        row("running", "`pidfd_try_wait`", both("Ok(None)"), || sleeper().pidfd_try_wait().said()),
        row("running", "`pidfd_wait_timeout` of 2 ms", both("Ok(None)"), || sleeper().pidfd_wait_timeout(SHORT).said()),
        row("running", "`pidfd_wait_deadline`, past", both("Ok(None)"), || sleeper().pidfd_wait_deadline(Instant::now()).said()),
        row("trace stop", "`pidfd_try_wait`", both("Ok(None)"), || trace_stopped().pidfd_try_wait().said()),
        row("zombie", "`pidfd_try_wait`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_try_wait().said()),
        row("zombie", "`pidfd_wait_timeout(ZERO)`", both("Ok(Some(exit 3))"), || zombie("exit 3").pidfd_wait_timeout(Duration::ZERO).said()),
        row("about to exit", "`pidfd_wait_timeout(MAX)`", both("Ok(Some(exit 3))"), || sh("exit 3").pidfd_wait_timeout(Duration::MAX).said()),
        row("killed by a real-time signal", "`pidfd_wait`", both("Ok(signal 64)"), || {
            let mut child = sleeper();
            child.pidfd_signal(libc::SIGRTMAX()).expect("a signal");
            child.pidfd_wait().said()
        }),

        row("reads until stdin closes", "`pidfd_wait`", both("Ok(exit 3)"), || reader().pidfd_wait().said()),
        row("reads until stdin closes", "`pidfd_try_wait`; stdin open", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_try_wait().said(), child.stdin.is_some())
        }),
        row("reads until stdin closes", "`pidfd_wait_timeout` of 2 ms; stdin open", both("Ok(None), true"), || {
            let mut child = reader();
            format!("{}, {}", child.pidfd_wait_timeout(SHORT).said(), child.stdin.is_some())
        }),

        row("zombie", "`pidfd_signal`, `pidfd_wait`", both("Ok, Ok(exit 3)"), || {
            let mut child = zombie("exit 3");
            format!("{}, {}", child.pidfd_signal(libc::SIGTERM).said(), child.pidfd_wait().said())
        }),
        row("no such signal", "`pidfd_signal`", both("EINVAL"), || sleeper().pidfd_signal(65).said()),
        row("running", "`pidfd_terminate`", both("Ok(signal 15)"), || sleeper().pidfd_terminate(Duration::MAX).said()),
        row("ignores SIGTERM", "`pidfd_terminate`", both("Ok(signal 9)"), || ignoring_sigterm().pidfd_terminate(SHORT).said()),
        row("zombie", "`pidfd_terminate`", both("Ok(exit 3)"), || zombie("exit 3").pidfd_terminate(SHORT).said()),
        row("zombie", "`pidfd_release`; the process", both("Ok, still a zombie"), || {
            let child = zombie("exit 3");
            let pid = child.id();
            let answer = child.pidfd_release().said();
            format!("{answer}, {}", if state_of(pid) == Some('Z') { "still a zombie" } else { "gone" })
        }),

        row("writes, and exits", "`pidfd_output_timeout`", both("Ok(exit 3, \"out\")"), || {
            with_piped_stdout("printf out; exit 3").pidfd_output_timeout(Duration::MAX).said()
        }),
        row("a grandchild holds the pipes", "`pidfd_output_timeout`", both("Ok(exit 3, \"out\")"), || {
            let mut command = shell("printf out; exec 3<&0; cat <&3 & exit 3");
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
            let _grandchild_reads = child.stdin.take();
            child.pidfd_output_timeout(Duration::MAX).said()
        }),
        row("writes nothing, and runs on", "`pidfd_output_timeout` of 2 ms", both("Ok(TimedOut, \"\")"), || {
            with_piped_stdout("exec sleep 600").pidfd_output_timeout(SHORT).said()
        }),
    ]
}

fn by_us() -> Child {
    let mut child = sh("exit 3");
    child.pidfd_wait().expect("our wait");
    child
}

fn by_std() -> Child {
    let mut child = sh("exit 3");
    child.wait().expect("std's wait");
    child
}

fn by_others() -> Child {
    let child = zombie("exit 3");
    reap_externally(child.id());
    child
}

fn reader() -> Child {
    let mut command = shell("read line; exit 3");
    command.stdin(Stdio::piped()).spawn().expect("sh starts")
}
