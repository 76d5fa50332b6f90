//! Timed waits of a process that is stopped meanwhile: they end no later than when it continues.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::SIGKILL;
use pidwait::{Capture, ChildExt, PidHandle, StoppedBy, WaitSet};

use crate::common::isolated::enter_with_each_backend;
use crate::common::{ignoring_sigterm, sleep, sleeper, with_piped_stdout, Waiter};

const TIMEOUT: Duration = Duration::from_secs(6);
/// The process is stopped for as long, so all timeouts are over when it continues. A wait that goes on
/// with the time that was left at the stop takes almost twice as long.
const STOPPED: &str = "kill -STOP $PPID; sleep 6; kill -CONT $PPID";
const LONGEST: Duration = Duration::from_secs(9);

/// A wait of a process that is there already.
type Wait = Box<dyn FnOnce() + Send>;

fn handle() -> PidHandle {
    PidHandle::open(sleeper().id()).unwrap()
}

fn wait_timeout() -> Wait {
    let handle = handle();
    Box::new(move || assert!(handle.wait_timeout(TIMEOUT).unwrap().is_none()))
}

fn wait_deadline() -> Wait {
    let handle = handle();
    Box::new(move || {
        let deadline = Instant::now() + TIMEOUT;
        assert!(handle.wait_deadline(deadline).unwrap().is_none());
    })
}

fn wait_exited_timeout() -> Wait {
    let handle = handle();
    Box::new(move || assert!(!handle.wait_exited_timeout(TIMEOUT).unwrap()))
}

fn wait_exited_timeout_of_a_non_child() -> Wait {
    let own = PidHandle::open(std::process::id()).unwrap();
    Box::new(move || assert!(!own.wait_exited_timeout(TIMEOUT).unwrap()))
}

fn pidfd_wait_timeout() -> Wait {
    let mut child = sleeper();
    Box::new(move || assert!(child.pidfd_wait_timeout(TIMEOUT).unwrap().is_none()))
}

fn set_wait_timeout() -> Wait {
    let mut set = WaitSet::new().unwrap();
    set.insert(handle(), ()).unwrap();
    Box::new(move || assert!(set.wait_timeout(TIMEOUT).unwrap().is_none()))
}

fn wait_shared_timeout() -> Wait {
    let handle = handle();
    Box::new(move || assert!(handle.wait_shared_timeout(TIMEOUT).unwrap().is_none()))
}

fn group_wait_exited_timeout() -> Wait {
    let leader = sleep().process_group(0).spawn().unwrap();
    let group = PidHandle::open(leader.id()).unwrap().process_group();
    let group = group.unwrap();
    Box::new(move || assert!(!group.wait_exited_timeout(TIMEOUT).unwrap()))
}

fn grace_of_an_end() -> Wait {
    let handle = PidHandle::open(ignoring_sigterm().id()).unwrap();
    Box::new(move || assert_eq!(handle.terminate(TIMEOUT).unwrap().signal(), Some(SIGKILL)))
}

fn capture() -> Wait {
    let mut child = with_piped_stdout("exec sleep 600");
    Box::new(move || {
        let captured = Capture::new().timeout(TIMEOUT).run(&mut child).unwrap();
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
    })
}

#[test]
fn timed_waits_end_when_a_stopped_process_continues() {
    if !enter_with_each_backend("stopped::timed_waits_end_when_a_stopped_process_continues") {
        return;
    }
    let waits: [(&str, Wait); 10] = [
        ("wait_timeout", wait_timeout()),
        ("wait_deadline", wait_deadline()),
        ("wait_exited_timeout", wait_exited_timeout()),
        ("… of a non-child", wait_exited_timeout_of_a_non_child()),
        ("pidfd_wait_timeout", pidfd_wait_timeout()),
        ("WaitSet::wait_timeout", set_wait_timeout()),
        ("wait_shared_timeout", wait_shared_timeout()),
        (
            "wait_exited_timeout of a group",
            group_wait_exited_timeout(),
        ),
        ("the grace of an end", grace_of_an_end()),
        ("Capture", capture()),
    ];
    thread::scope(|scope| {
        // All sleep before the process is stopped.
        let waiters = waits.map(|(name, wait)| {
            let waiter = Waiter::asleep(scope, || {
                let start = Instant::now();
                wait();
                start.elapsed()
            });
            (name, waiter)
        });
        let mut stopper = Command::new("sh").args(["-c", STOPPED]).spawn().unwrap();
        let times = waiters.map(|(name, waiter)| (name, waiter.join()));
        assert!(stopper.wait().unwrap().success());
        for (name, time) in times {
            eprintln!("{name} {time:?}");
            assert!(time >= TIMEOUT, "{name} ended early");
            assert!(time < LONGEST, "{name} took {time:?}");
        }
    });
}
