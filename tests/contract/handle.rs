//! What the waits, signals and `release` of a handle return.

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::PidHandle;

use crate::cases::*;
use crate::common::{self, Waiter};
use crate::outcome::{Describe, SKIPPED};
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("running", "`open`, `signal(0)`", both("Ok"), || running().signal(0).describe()),
        row("no such process", "`open`, `wait`", both("ECHILD"), || missing().wait().describe()),
        row("no such process", "`try_wait`", both("ECHILD"), || missing().try_wait().describe()),
        row("no such process", "`signal(0)`", both("ECHILD"), || missing().signal(0).describe()),
        row("no such process", "`kill`", both("ECHILD"), || missing().kill().describe()),
        row("PID 0", "`open`", both("InvalidInput"), || open_outcome(0)),
        row("PID above `i32::MAX`", "`open`", both("InvalidInput"), || open_outcome(1 << 31)),
        row("thread ID, not a PID", "`open`", ["EINVAL", "Ok"], || with_thread_id(open_outcome)),
        row("child, out of descriptors", "`open`", both("Ok"), || {
            let child = common::sleeper();
            PidHandle::open(child.id()).expect("the probe runs while there are descriptors");
            without_descriptors(|| open_outcome(child.id()))
        }),

        row("running", "`try_wait`", both("Ok(None)"), || running().try_wait().describe()),
        row("stopped", "`try_wait`", both("Ok(None)"), || stopped().try_wait().describe()),
        row("continued", "`try_wait`", both("Ok(None)"), || {
            let handle = stopped();
            common::kill(handle.id(), libc::SIGCONT);
            common::await_state(handle.id(), 'S');
            handle.try_wait().describe()
        }),
        row("in a trace stop", "`try_wait`", both("Ok(None)"), || open(trace_stopped().id()).try_wait().describe()),
        row("zombie", "`try_wait`", both("Ok(Some(exit 3))"), || exited().try_wait().describe()),
        row("about to exit", "`wait`", both("Ok(exit 3)"), || exiting().wait().describe()),
        row("zombie", "`wait`", both("Ok(exit 3)"), || exited().wait().describe()),
        row("zombie", "`wait_usage`", both("Ok(exit 3, usage)"), || exited().wait_usage().describe()),
        row("killed by SIGKILL", "`wait`", both("Ok(signal 9)"), || killed_by(libc::SIGKILL)),
        row("killed by a real-time signal", "`wait`", both("Ok(signal 64)"), || killed_by(libc::SIGRTMAX())),
        row("done", "`wait`", both("ECHILD"), || done().wait().describe()),
        row("done", "`try_wait`", both("ECHILD"), || done().try_wait().describe()),
        row("done", "`wait_timeout`", both("ECHILD"), || done().wait_timeout(SHORT).describe()),
        row("done", "`signal`", both("ECHILD"), || done().signal(libc::SIGTERM).describe()),
        row("two concurrent `wait`s", "both results, then `exit_status`", both("Ok(exit 3), ECHILD, Some(exit 3)"), concurrent_waits),

        row("non-child", "`wait`", both("ECHILD"), || non_child().wait().describe()),
        row("non-child", "`wait_timeout`", both("ECHILD"), || non_child().wait_timeout(Duration::MAX).describe()),
        row("reaped by other code", "`wait`", both("ECHILD"), || reaped_externally().wait().describe()),
        row("reaped by other code", "`wait_timeout`", both("ECHILD"), || reaped_externally().wait_timeout(Duration::MAX).describe()),
        row("reaped by other code", "`signal`", both("ECHILD"), || reaped_externally().signal(libc::SIGTERM).describe()),
        row("reaped by other code", "`exit_status`, Linux 6.15 and later", ["Some(exit 3)", "None"], || {
            with_exit_record(&reaped_externally(), |handle| handle.exit_status().describe())
        }),
        row("SIGCHLD ignored", "`wait`", both("ECHILD"), || status_discarded().wait().describe()),
        row("SIGCHLD ignored", "`wait`, `exit_status`, Linux 6.15 and later", ["ECHILD, Some(exit 3)", "ECHILD, None"], || {
            with_exit_record(&status_discarded(), |handle| format!("{}, {}", handle.wait().describe(), handle.exit_status().describe()))
        }),

        row("running", "`wait_timeout` of 2 ms", both("Ok(None)"), || running().wait_timeout(SHORT).describe()),
        row("running", "`wait_timeout(ZERO)`", both("Ok(None)"), || running().wait_timeout(Duration::ZERO).describe()),
        row("running", "`wait_deadline` in the past", both("Ok(None)"), || running().wait_deadline(Instant::now()).describe()),
        row("zombie", "`wait_deadline` in the past", both("Ok(Some(exit 3))"), || exited().wait_deadline(Instant::now()).describe()),
        row("zombie", "`wait_timeout(ZERO)`", both("Ok(Some(exit 3))"), || exited().wait_timeout(Duration::ZERO).describe()),
        row("about to exit", "`wait_timeout(MAX)`", both("Ok(Some(exit 3))"), || exiting().wait_timeout(Duration::MAX).describe()),

        row("running", "`signal`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = running();
            format!("{}, {}", handle.signal(libc::SIGTERM).describe(), handle.wait().describe())
        }),
        row("zombie", "`signal`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exited();
            format!("{}, {}", handle.signal(libc::SIGTERM).describe(), handle.wait().describe())
        }),
        row("no such signal", "`signal`", both("EINVAL"), || running().signal(65).describe()),
        row("no permission", "`signal`", both("EPERM"), signal_without_permission),

        row("running", "`release` twice", both("Ok, Ok"), || {
            let handle = running();
            format!("{}, {}", handle.release().describe(), handle.release().describe())
        }),
        row("released", "`wait`", both("EINVAL"), || released().wait().describe()),
        row("released", "`try_wait`", both("EINVAL"), || released().try_wait().describe()),
        row("released", "`wait_timeout`", both("EINVAL"), || released().wait_timeout(SHORT).describe()),
        row("released", "`signal`", both("EINVAL"), || released().signal(0).describe()),
        row("done", "`release`, `wait`, `exit_status`", both("Ok, ECHILD, Some(exit 3)"), || {
            let handle = done();
            format!("{}, {}, {}", handle.release().describe(), handle.wait().describe(), handle.exit_status().describe())
        }),
        row("released while a `wait` blocks", "that `wait`, later `try_wait`", both("Ok(exit 3), EINVAL"), release_during_wait),
        row("running", "drop, then process state", both("still running"), || {
            let child = common::sleeper();
            drop(open(child.id()));
            state_or(child.id(), &['S', 'R', 'D'], "still running")
        }),
        row("zombie", "drop, then process state", both("still a zombie"), || {
            let child = common::zombie("exit 3");
            drop(open(child.id()));
            state_or(child.id(), &['Z'], "still a zombie")
        }),
    ]
}

fn open_outcome(pid: u32) -> String {
    PidHandle::open(pid).map(drop).describe()
}

fn killed_by(signal: i32) -> String {
    let handle = running();
    common::kill(handle.id(), signal);
    handle.wait().describe()
}

fn concurrent_waits() -> String {
    let (handle, stdin) = until_stdin_closes();
    let mut outcomes = thread::scope(|scope| {
        let waits = [(); 2].map(|()| Waiter::start(scope, || handle.wait().describe()));
        drop(stdin);
        waits.map(Waiter::join)
    });
    outcomes.sort();
    let [echild, status] = outcomes;
    format!("{status}, {echild}, {}", handle.exit_status().describe())
}

fn release_during_wait() -> String {
    let (handle, stdin) = until_stdin_closes();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || handle.wait().describe());
        handle.release().expect("release cannot fail");
        let later = handle.try_wait().describe();
        drop(stdin);
        format!("{}, {later}", waiter.join())
    })
}

/// Needs root: only root can give up the right to signal its own child.
fn signal_without_permission() -> String {
    if !common::is_root() {
        common::skip("the EPERM row: needs root");
        return SKIPPED.to_owned();
    }
    let handle = running();
    thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            common::drop_privileges();
            handle.signal(0).describe()
        });
        unprivileged.join().expect("no panic")
    })
}

/// `word` if the process is in one of these states, else its state.
fn state_or(pid: u32, states: &[char], word: &str) -> String {
    match common::state_of(pid) {
        Some(state) if states.contains(&state) => word.to_owned(),
        other => format!("{other:?}"),
    }
}
