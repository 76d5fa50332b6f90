//! Section 3: how a handle waits, signals and is released.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::gettid;
use pidwait::PidHandle;

use crate::answer::{Said, NOT_HERE};
use crate::cases::*;
use crate::common::{self, Waiter};
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // A row a line, as far as that goes.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("process is there", "`open`, `signal(0)`", both("Ok"), || running().signal(0).said()),
        row("no such process", "`open`, `wait`", both("ECHILD"), || missing().wait().said()),
        row("no such process", "`try_wait`", both("ECHILD"), || missing().try_wait().said()),
        row("no such process", "`signal(0)`", both("ECHILD"), || missing().signal(0).said()),
        row("no such process", "`kill`", both("ECHILD"), || missing().kill().said()),
        row("pid 0", "`open`", both("InvalidInput"), || open_said(0)),
        row("pid above `i32::MAX`", "`open`", both("InvalidInput"), || open_said(1 << 31)),
        row("thread id that is no process", "`open`", ["EINVAL", "Ok"], a_thread),
        row("no descriptor left", "`open`", ["EMFILE", "Ok"], || {
            let child = common::sleeper();
            PidHandle::open(child.id()).expect("whatever is to be had once is had");
            without_descriptors(|| open_said(child.id()))
        }),

        row("running", "`try_wait`", both("Ok(None)"), || running().try_wait().said()),
        row("stopped", "`try_wait`", both("Ok(None)"), || stopped().try_wait().said()),
        row("continued", "`try_wait`", both("Ok(None)"), || {
            let handle = stopped();
            common::kill(handle.id(), libc::SIGCONT);
            common::await_state(handle.id(), 'S');
            handle.try_wait().said()
        }),
        row("trace stop", "`try_wait`", both("Ok(None)"), || open(trace_stopped().id()).try_wait().said()),
        row("zombie", "`try_wait`", both("Ok(Some(exit 3))"), || exited().try_wait().said()),
        row("about to exit", "`wait`", both("Ok(exit 3)"), || exiting().wait().said()),
        row("zombie", "`wait`", both("Ok(exit 3)"), || exited().wait().said()),
        row("zombie", "`wait_usage`", both("Ok(exit 3, usage)"), || exited().wait_usage().said()),
        row("killed by SIGKILL", "`wait`", both("Ok(signal 9)"), || killed_by(libc::SIGKILL)),
        row("killed by a real-time signal", "`wait`", both("Ok(signal 64)"), || killed_by(libc::SIGRTMAX())),
        row("done", "`wait`", both("ECHILD"), || done().wait().said()),
        row("done", "`try_wait`", both("ECHILD"), || done().try_wait().said()),
        row("done", "`wait_timeout`", both("ECHILD"), || done().wait_timeout(SHORT).said()),
        row("done", "`signal`", both("ECHILD"), || done().signal(libc::SIGTERM).said()),
        row("several `wait`s at once", "each, `exit_status`", both("Ok(exit 3), ECHILD, Some(exit 3)"), two_waits),

        row("not our child", "`wait`", both("ECHILD"), || non_child().wait().said()),
        row("not our child", "`wait_timeout`", both("ECHILD"), || non_child().wait_timeout(Duration::MAX).said()),
        row("reaped by somebody else", "`wait`", both("ECHILD"), || reaped_externally().wait().said()),
        row("reaped by somebody else", "`wait_timeout`", both("ECHILD"), || reaped_externally().wait_timeout(Duration::MAX).said()),
        row("reaped by somebody else", "`signal`", both("ECHILD"), || reaped_externally().signal(libc::SIGTERM).said()),
        row("reaped by somebody else", "`exit_status`, Linux 6.15", ["Some(exit 3)", "None"], || {
            on_linux_6_15(&reaped_externally(), |handle| handle.exit_status().said())
        }),
        row("SIGCHLD ignored", "`wait`", both("ECHILD"), || discarded().wait().said()),
        row("SIGCHLD ignored", "`wait`, `exit_status`, Linux 6.15", ["ECHILD, Some(exit 3)", "ECHILD, None"], || {
            on_linux_6_15(&discarded(), |handle| format!("{}, {}", handle.wait().said(), handle.exit_status().said()))
        }),

        row("running", "`wait_timeout` of 2 ms", both("Ok(None)"), || running().wait_timeout(SHORT).said()),
        row("running", "`wait_timeout(ZERO)`", both("Ok(None)"), || running().wait_timeout(Duration::ZERO).said()),
        row("running", "`wait_deadline`, past", both("Ok(None)"), || running().wait_deadline(Instant::now()).said()),
        row("zombie", "`wait_deadline`, past", both("Ok(Some(exit 3))"), || exited().wait_deadline(Instant::now()).said()),
        row("zombie", "`wait_timeout(ZERO)`", both("Ok(Some(exit 3))"), || exited().wait_timeout(Duration::ZERO).said()),
        row("about to exit", "`wait_timeout(MAX)`", both("Ok(Some(exit 3))"), || exiting().wait_timeout(Duration::MAX).said()),

        row("running", "`signal`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = running();
            format!("{}, {}", handle.signal(libc::SIGTERM).said(), handle.wait().said())
        }),
        row("zombie", "`signal`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exited();
            format!("{}, {}", handle.signal(libc::SIGTERM).said(), handle.wait().said())
        }),
        row("no such signal", "`signal`", both("EINVAL"), || running().signal(65).said()),
        row("no permission", "`signal`", both("EPERM"), forbidden),

        row("running", "`release` twice", both("Ok, Ok"), || {
            let handle = running();
            format!("{}, {}", handle.release().said(), handle.release().said())
        }),
        row("released", "`wait`", both("EINVAL"), || released().wait().said()),
        row("released", "`try_wait`", both("EINVAL"), || released().try_wait().said()),
        row("released", "`wait_timeout`", both("EINVAL"), || released().wait_timeout(SHORT).said()),
        row("released", "`signal`", both("EINVAL"), || released().signal(0).said()),
        row("done", "`release`, `wait`, `exit_status`", both("Ok, ECHILD, Some(exit 3)"), || {
            let handle = done();
            format!("{}, {}, {}", handle.release().said(), handle.wait().said(), handle.exit_status().said())
        }),
        row("`release` during a `wait`", "that `wait`, `try_wait`", both("Ok(exit 3), EINVAL"), release_during_wait),
        row("running", "drop; the process", both("runs on"), || {
            let child = common::sleeper();
            drop(open(child.id()));
            gone_or_not(child.id(), &['S', 'R', 'D'], "runs on")
        }),
        row("zombie", "drop; the process", both("stays a zombie"), || {
            let child = common::zombie("exit 3");
            drop(open(child.id()));
            gone_or_not(child.id(), &['Z'], "stays a zombie")
        }),
    ]
}

fn open_said(pid: u32) -> String {
    PidHandle::open(pid).map(drop).said()
}

fn a_thread() -> String {
    let (stay, staying) = mpsc::channel::<()>();
    let (say, hear) = mpsc::channel();
    thread::spawn(move || {
        say.send(gettid().as_raw()).expect("somebody listens");
        staying.recv()
    });
    let answer = open_said(hear.recv().expect("a thread id").unsigned_abs());
    drop(stay);
    answer
}

fn killed_by(signal: i32) -> String {
    let handle = running();
    common::kill(handle.id(), signal);
    handle.wait().said()
}

fn two_waits() -> String {
    let (handle, opener) = waiting();
    let mut answers = thread::scope(|scope| {
        let waits = [(); 2].map(|()| Waiter::start(scope, || handle.wait().said()));
        drop(opener);
        waits.map(Waiter::join)
    });
    answers.sort();
    let [nothing, status] = answers;
    format!("{status}, {nothing}, {}", handle.exit_status().said())
}

fn release_during_wait() -> String {
    let (handle, opener) = waiting();
    thread::scope(|scope| {
        let wait = Waiter::start(scope, || handle.wait().said());
        handle.release().expect("release cannot fail");
        let later = handle.try_wait().said();
        drop(opener);
        format!("{}, {later}", wait.join())
    })
}

/// Only root can make a process that may not signal its own child.
fn forbidden() -> String {
    if !common::is_root() {
        common::skip("EPERM in the table of answers: needs root");
        return NOT_HERE.to_owned();
    }
    let handle = running();
    thread::scope(|scope| {
        let nobody = scope.spawn(|| {
            common::drop_privileges();
            handle.signal(0).said()
        });
        nobody.join().expect("no panic")
    })
}

fn gone_or_not(pid: u32, states: &[char], word: &str) -> String {
    match common::state_of(pid) {
        Some(state) if states.contains(&state) => word.to_owned(),
        other => format!("{other:?}"),
    }
}
