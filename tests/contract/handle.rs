//! What the waits, signals and `release` of a handle return.

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use pidwait::PidHandle;

use crate::cases::*;
use crate::common::{self, Waiter};
use crate::outcome::Describe;
#[cfg(target_os = "linux")]
use crate::outcome::SKIPPED;
use crate::{both, recorded, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    Vec::from([
        row("running", "`open`, `signal(0)`", both("Ok"), || running().signal(0).describe()),
        row("no such process", "`open`, `wait`", both("ECHILD"), || missing().wait().describe()),
        row("no such process", "`try_wait`", both("ECHILD"), || missing().try_wait().describe()),
        row("no such process", "`signal(0)`", both("ECHILD"), || missing().signal(0).describe()),
        row("no such process", "`kill`", both("ECHILD"), || missing().kill().describe()),
        row("PID 0", "`open`", both("InvalidInput"), || open_outcome(0)),
        row("PID above `i32::MAX`", "`open`", both("InvalidInput"), || open_outcome(1 << 31)),
        row("no such process", "`release`, `wait`, `exit_status`", both("Ok, ECHILD, None"), || {
            let handle = missing();
            [handle.release().describe(), handle.wait().describe(), handle.exit_status().describe()].join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("thread ID, not a PID", "`open`", ["EINVAL", "Ok"], || with_thread_id(open_outcome)),
        #[cfg(target_os = "linux")]
        row("thread ID, not a PID", "`open`, `wait`", ["EINVAL", "ECHILD"], || {
            with_thread_id(|tid| PidHandle::open(tid).and_then(|handle| handle.wait()).describe())
        }),
        #[cfg(target_os = "linux")]
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
        #[cfg(target_os = "linux")]
        row("in a trace stop", "`try_wait`", both("Ok(None)"), || open(trace_stopped().id()).try_wait().describe()),
        row("zombie", "`try_wait`", both("Ok(Some(exit 3))"), || exited().try_wait().describe()),
        row("zombie", "`try_wait` twice, `exit_status`", both("Ok(Some(exit 3)), ECHILD, Some(exit 3)"), || {
            let handle = exited();
            [handle.try_wait().describe(), handle.try_wait().describe(), handle.exit_status().describe()].join(", ")
        }),
        row("about to exit", "`wait`", both("Ok(exit 3)"), || exiting().wait().describe()),
        row("zombie", "`wait`", both("Ok(exit 3)"), || exited().wait().describe()),
        row("zombie", "`wait_usage`", both("Ok(exit 3, usage)"), || exited().wait_usage().describe()),
        row("exits with 0, 1, 127, 128 or 255", "`wait`", both("Ok(exit 0), Ok(exit 1), Ok(exit 127), Ok(exit 128), Ok(exit 255)"), || {
            [0, 1, 127, 128, 255].map(|code| open(common::sh(&format!("exit {code}")).id()).wait().describe()).join(", ")
        }),
        row("killed by SIGKILL", "`wait`", both("Ok(signal 9)"), || killed_by(libc::SIGKILL).wait().describe()),
        #[cfg(target_os = "linux")]
        row("killed by a real-time signal", "`wait`", both("Ok(signal 64)"), || killed_by(libc::SIGRTMAX()).wait().describe()),
        #[cfg(target_os = "linux")]
        row("killed by a real-time signal", "`wait_timeout`", both("Ok(Some(signal 64))"), || {
            killed_by(libc::SIGRTMAX()).wait_timeout(Duration::MAX).describe()
        }),
        row("done", "`wait`", both("ECHILD"), || done().wait().describe()),
        row("done", "`try_wait`", both("ECHILD"), || done().try_wait().describe()),
        row("done", "`wait_timeout`", both("ECHILD"), || done().wait_timeout(SHORT).describe()),
        row("done", "`wait_usage`", both("ECHILD"), || done().wait_usage().describe()),
        row("done", "`signal`", both("ECHILD"), || done().signal(libc::SIGTERM).describe()),
        row("two concurrent `wait`s", "both results, then `exit_status`", both("Ok(exit 3), ECHILD, Some(exit 3)"), concurrent_waits),

        row("non-child", "`wait`", both("ECHILD"), || non_child().wait().describe()),
        row("non-child", "`try_wait`", both("ECHILD"), || non_child().try_wait().describe()),
        row("non-child", "`wait_usage`", both("ECHILD"), || non_child().wait_usage().describe()),
        row("non-child", "`wait_timeout`", both("ECHILD"), || non_child().wait_timeout(Duration::MAX).describe()),
        row("non-child", "`kill`; how its parent saw it end; `wait`, `signal(0)`", both("Ok, signal 9, ECHILD, ECHILD"), || {
            let mut non_child = common::NonChild::new();
            let handle = open(non_child.pid);
            let killed = handle.kill().describe();
            let code = non_child.finish().expect("its parent exits");
            format!("{killed}, signal {}, {}, {}", code - 128, handle.wait().describe(), handle.signal(0).describe())
        }),
        row("non-child that its parent has reaped", "`wait_timeout`, `signal(0)`", both("ECHILD, ECHILD"), || {
            let handle = non_child_reaped();
            [handle.wait_timeout(Duration::MAX).describe(), handle.signal(0).describe()].join(", ")
        }),
        row("this process", "`has_exited`, `wait`, `exit_status`", both("Ok(false), ECHILD, None"), || {
            let handle = open(std::process::id());
            [handle.has_exited().describe(), handle.wait().describe(), handle.exit_status().describe()].join(", ")
        }),
        row("reaped by other code", "`wait`", both("ECHILD"), || reaped_externally().wait().describe()),
        row("reaped by other code", "`wait_timeout`", both("ECHILD"), || reaped_externally().wait_timeout(Duration::MAX).describe()),
        row("reaped by other code", "`signal`", both("ECHILD"), || reaped_externally().signal(libc::SIGTERM).describe()),
        row("reaped by other code", "`try_wait`, `wait_usage`, `wait_deadline` in the past", both("ECHILD, ECHILD, ECHILD"), || {
            [reaped_externally().try_wait().describe(), reaped_externally().wait_usage().describe(), reaped_externally().wait_deadline(Instant::now()).describe()].join(", ")
        }),
        row("reaped by other code", "`wait`, `release`, `wait`", ["ECHILD, Ok, EINVAL", "ECHILD, Ok, ECHILD"], || {
            let handle = reaped_externally();
            [handle.wait().describe(), handle.release().describe(), handle.wait().describe()].join(", ")
        }),
        row("another handle has reaped it", "`has_exited`, `wait`", both("Ok(true), ECHILD"), || {
            let handle = reaped_by_another_handle();
            [handle.has_exited().describe(), handle.wait().describe()].join(", ")
        }),
        recorded("another handle has reaped it", "`exit_status`, Linux 6.15 and later", ["Some(exit 3)", "None"], || reaped_by_another_handle().exit_status().describe()),
        recorded("reaped by other code", "`exit_status`, Linux 6.15 and later", ["Some(exit 3)", "None"], || reaped_externally().exit_status().describe()),
        recorded("killed and reaped by other code", "`exit_status`, `wait`, `exit_status`, Linux 6.15 and later", ["Some(signal 9), ECHILD, Some(signal 9)", "None, ECHILD, None"], || {
            let handle = killed_and_reaped();
            [handle.exit_status().describe(), handle.wait().describe(), handle.exit_status().describe()].join(", ")
        }),
        row("SIGCHLD ignored", "`wait`", both("ECHILD"), || status_discarded().wait().describe()),
        recorded("SIGCHLD ignored", "`wait`, `exit_status`, Linux 6.15 and later", ["ECHILD, Some(exit 3)", "ECHILD, None"], || {
            let handle = status_discarded();
            [handle.wait().describe(), handle.exit_status().describe()].join(", ")
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
        row("running", "`kill`, `wait`", both("Ok, Ok(signal 9)"), || {
            let handle = running();
            [handle.kill().describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`signal(0)`, `kill`, `wait`", both("Ok, Ok, Ok(exit 3)"), || {
            let handle = exited();
            [handle.signal(0).describe(), handle.kill().describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`signal`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exited();
            format!("{}, {}", handle.signal(libc::SIGTERM).describe(), handle.wait().describe())
        }),
        row("no such signal", "`signal`", both("EINVAL"), || running().signal(common::last_signal() + 1).describe()),
        row("no such signal", "`signal`, then `kill` and `wait`", both("EINVAL, Ok, Ok(signal 9)"), || {
            let handle = running();
            [unknown_signals(|signal| handle.signal(signal)), handle.kill().describe(), handle.wait().describe()].join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("no permission", "`signal`", both("EPERM"), signal_without_permission),

        row("running", "`release` twice", both("Ok, Ok"), || {
            let handle = running();
            format!("{}, {}", handle.release().describe(), handle.release().describe())
        }),
        row("released", "`wait`", both("EINVAL"), || released().wait().describe()),
        row("released", "`try_wait`", both("EINVAL"), || released().try_wait().describe()),
        row("released", "`wait_timeout`", both("EINVAL"), || released().wait_timeout(SHORT).describe()),
        row("released", "`wait_deadline` in the past", both("EINVAL"), || released().wait_deadline(Instant::now()).describe()),
        row("released", "`wait_usage`", both("EINVAL"), || released().wait_usage().describe()),
        row("released", "`signal`", both("EINVAL"), || released().signal(0).describe()),
        row("released", "`kill`", both("EINVAL"), || released().kill().describe()),
        row("released, then reaped by other code", "`exit_status`", both("None"), || {
            let handle = exited();
            handle.release().expect("release cannot fail");
            common::reap_externally(handle.id());
            handle.exit_status().describe()
        }),
        row("done", "`release`, `wait`, `exit_status`", both("Ok, ECHILD, Some(exit 3)"), || {
            let handle = done();
            format!("{}, {}, {}", handle.release().describe(), handle.wait().describe(), handle.exit_status().describe())
        }),
        row("released while a `wait` blocks", "that `wait`, later `try_wait`", both("Ok(exit 3), EINVAL"), release_during_wait),
        row("running", "drop, then `wait` of another handle", both("Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            let other = open(handle.id());
            drop(handle);
            drop(stdin);
            other.wait().describe()
        }),
        row("running", "`release`, then `wait` of another handle", both("Ok, Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            let released = handle.release().describe();
            drop(stdin);
            format!("{released}, {}", open(handle.id()).wait().describe())
        }),
        row("zombie", "drop, then process state", both("still a zombie"), || {
            let child = common::zombie("exit 3");
            drop(open(child.id()));
            state(child.id())
        }),
        row("zombie", "`release`, then process state", both("Ok, still a zombie"), || {
            let handle = exited();
            format!("{}, {}", handle.release().describe(), state(handle.id()))
        }),
    ])
}

fn open_outcome(pid: u32) -> String {
    PidHandle::open(pid).map(drop).describe()
}

fn killed_by(signal: i32) -> PidHandle {
    let handle = running();
    common::kill(handle.id(), signal);
    handle
}

fn reaped_by_another_handle() -> PidHandle {
    let handle = exited();
    open(handle.id()).wait().expect("the status");
    handle
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
#[cfg(target_os = "linux")]
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
