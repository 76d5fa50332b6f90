//! One child: what it costs to ask for it, to signal it, to wait for it and to end it.
//!
//! All contenders start the same programs. Only what the name of the question says is timed.

use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::libc;

use crate::child::{make_zombie, sleeper, Process, Running, Start, CONTENDERS, LONG};
use crate::counts::{path_of_this_program, per_call, time};
use crate::harness::{Bench, Sample};
use crate::{raw, sigchld};

/// The samples of a contender, if it can do this.
pub(crate) type Task = fn(Start) -> Option<Sample<'static>>;

/// The name of each question, its rounds and its samples in each of them.
const QUESTIONS: &[(&str, Task, usize, usize)] = &[
    ("call/try_wait", try_wait, 40, 5),
    ("call/signal", signal, 40, 5),
    ("wait/exited", wait, 40, 15),
    ("wait/latency", latency, 40, 15),
    ("wait/late", late, 30, 5),
    ("spawn/wait", spawn_and_wait, 50, 20),
    ("group/end", end_group, 40, 9),
];

pub(crate) fn ask(bench: &Bench) {
    for (name, task, rounds, samples) in QUESTIONS {
        let Some(mut question) = bench.question(*name, *rounds, *samples) else {
            continue;
        };
        for (contender, start) in CONTENDERS {
            // wait-timeout returns up to a millisecond early.
            if *name == "wait/late" && *contender == "wait-timeout" {
                continue;
            }
            if let Some(sample) = sigchld::with_own_handler(contender, || task(*start)) {
                question.add(contender, sample);
            }
        }
        question.run();
    }
}

pub(crate) fn try_wait(start: Start) -> Option<Sample<'static>> {
    let mut child = Running::start(start);
    child.0.try_wait()?;
    Some(Box::new(move || {
        per_call(|| assert_eq!(child.0.try_wait(), Some(false)))
    }))
}

/// A signal that is ignored by default, and is not even queued: the child continues to sleep.
pub(crate) fn signal(start: Start) -> Option<Sample<'static>> {
    let mut child = Running::start(start);
    child.0.signal(libc::SIGURG)?;
    Some(Box::new(move || {
        per_call(|| child.0.signal(libc::SIGURG).expect("it is sent"))
    }))
}

fn exited(start: Start) -> Box<dyn Process> {
    let child = start(sleeper());
    make_zombie(child.pid());
    child
}

pub(crate) fn wait(start: Start) -> Option<Sample<'static>> {
    Some(Box::new(move || {
        let mut child = exited(start);
        time(|| child.wait())
    }))
}

pub(crate) fn wait_timeout(start: Start) -> Option<Sample<'static>> {
    Running::start(start).0.wait_timeout(Duration::ZERO)?;
    Some(Box::new(move || {
        let mut child = exited(start);
        time(|| assert_eq!(child.wait_timeout(LONG), Some(true)))
    }))
}

/// How late a timeout is.
pub(crate) fn late(start: Start) -> Option<Sample<'static>> {
    const TIMEOUT: Duration = Duration::from_millis(5);
    let mut child = Running::start(start);
    child.0.wait_timeout(Duration::ZERO)?;
    Some(Box::new(move || {
        time(|| assert_eq!(child.0.wait_timeout(TIMEOUT), Some(false))) - TIMEOUT.as_nanos() as f64
    }))
}

pub(crate) fn spawn_and_wait(start: Start) -> Option<Sample<'static>> {
    Some(Box::new(move || {
        time(|| start(Command::new("true")).wait())
    }))
}

/// From the first signal until the call returns.
pub(crate) fn end_group(start: Start) -> Option<Sample<'static>> {
    let leader = move || {
        let mut command = sleeper();
        command.process_group(0);
        start(command)
    };
    let mut probe = leader();
    if probe.end_group().is_none() {
        drop(Running(probe));
        return None;
    }
    Some(Box::new(move || {
        let mut leader = leader();
        thread::sleep(Duration::from_millis(2)); // Until the program has started.
        time(|| leader.end_group().expect("the group ends"))
    }))
}

/// The first argument that makes this program the child of `latency`; the second is its socket.
pub(crate) const EXIT_WHEN_TOLD: &str = "exit-when-told";

/// From the child's last action until a wait with a timeout returns.
fn latency(start: Start) -> Option<Sample<'static>> {
    Running::start(start).0.wait_timeout(Duration::ZERO)?;
    Some(Box::new(move || {
        let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
        let mut command = Command::new(path_of_this_program());
        let socket = raw::inheritable(&theirs).to_string();
        command.args([EXIT_WHEN_TOLD, socket.as_str()]);
        let mut child = start(command);
        drop(theirs);
        ours.read_exact(&mut [0]).expect("the child is ready");
        ours.write_all(&[0]).expect("the child reads its input");
        assert_eq!(child.wait_timeout(LONG), Some(true));
        let returned = raw::nanoseconds(libc::CLOCK_MONOTONIC);
        let mut exited = [0; 8];
        ours.read_exact(&mut exited).expect("the time of the exit");
        (returned - u64::from_ne_bytes(exited)) as f64
    }))
}

pub(crate) fn exit_when_told(socket: &str) -> ! {
    let socket = socket.parse().expect("a descriptor");
    // SAFETY: the parent has passed this descriptor to be owned here.
    let mut parent = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
    parent.write_all(&[0]).expect("the parent reads");
    parent.read_exact(&mut [0]).expect("the parent writes");
    // By then the parent is blocked in its wait.
    thread::sleep(Duration::from_micros(500));
    let now = raw::nanoseconds(libc::CLOCK_MONOTONIC);
    parent
        .write_all(&now.to_ne_bytes())
        .expect("room for 8 bytes");
    raw::exit_now()
}
