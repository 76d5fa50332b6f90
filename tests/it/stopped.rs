//! Timed waits of a process that is stopped meanwhile: they end no later than when it continues.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::SIGKILL;
use pidwait::{Capture, ChildExt, PidHandle, StoppedBy, WaitSet};

use crate::common::isolated::enter_with_each_backend;
use crate::common::{ignoring_sigterm, sleep, sleeper, with_piped_stdout};

const TIMEOUT: Duration = Duration::from_secs(6);
/// The process is stopped for as long, so all timeouts are over when it continues. A wait that goes on
/// with the time that was left at the stop takes almost twice as long.
const STOPPED: &str = "sleep 0.2; kill -STOP $PPID; sleep 6; kill -CONT $PPID";
const LONGEST: Duration = Duration::from_secs(9);

fn handle() -> PidHandle {
    let child = sleeper();
    PidHandle::open(child.id()).unwrap()
}

fn wait_timeout() {
    assert!(handle().wait_timeout(TIMEOUT).unwrap().is_none());
}

fn wait_deadline() {
    let deadline = Instant::now() + TIMEOUT;
    assert!(handle().wait_deadline(deadline).unwrap().is_none());
}

fn wait_exited_timeout() {
    assert!(!handle().wait_exited_timeout(TIMEOUT).unwrap());
}

fn wait_exited_timeout_of_a_non_child() {
    let own = PidHandle::open(std::process::id()).unwrap();
    assert!(!own.wait_exited_timeout(TIMEOUT).unwrap());
}

fn pidfd_wait_timeout() {
    assert!(sleeper().pidfd_wait_timeout(TIMEOUT).unwrap().is_none());
}

fn set_wait_timeout() {
    let mut set = WaitSet::new().unwrap();
    set.insert(handle(), ()).unwrap();
    assert!(set.wait_timeout(TIMEOUT).unwrap().is_none());
}

fn wait_shared_timeout() {
    assert!(handle().wait_shared_timeout(TIMEOUT).unwrap().is_none());
}

fn group_wait_exited_timeout() {
    let leader = sleep().process_group(0).spawn().unwrap();
    let group = PidHandle::open(leader.id()).unwrap().process_group();
    assert!(!group.unwrap().wait_exited_timeout(TIMEOUT).unwrap());
}

fn grace_of_an_end() {
    let child = ignoring_sigterm();
    let handle = PidHandle::open(child.id()).unwrap();
    assert_eq!(handle.terminate(TIMEOUT).unwrap().signal(), Some(SIGKILL));
}

fn capture() {
    let mut child = with_piped_stdout("exec sleep 600");
    let captured = Capture::new().timeout(TIMEOUT).run(&mut child).unwrap();
    assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
}

#[test]
fn timed_waits_end_when_a_stopped_process_continues() {
    if !enter_with_each_backend("stopped::timed_waits_end_when_a_stopped_process_continues") {
        return;
    }
    let waits: [(&str, fn()); 10] = [
        ("wait_timeout", wait_timeout),
        ("wait_deadline", wait_deadline),
        ("wait_exited_timeout", wait_exited_timeout),
        ("… of a non-child", wait_exited_timeout_of_a_non_child),
        ("pidfd_wait_timeout", pidfd_wait_timeout),
        ("WaitSet::wait_timeout", set_wait_timeout),
        ("wait_shared_timeout", wait_shared_timeout),
        ("wait_exited_timeout of a group", group_wait_exited_timeout),
        ("the grace of an end", grace_of_an_end),
        ("Capture", capture),
    ];
    let waiters = waits.map(|(name, wait)| {
        thread::spawn(move || {
            let start = Instant::now();
            wait();
            (name, start.elapsed())
        })
    });
    let mut stopper = Command::new("sh").args(["-c", STOPPED]).spawn().unwrap();
    let times = waiters.map(|waiter| waiter.join().unwrap());
    assert!(stopper.wait().unwrap().success());
    for (name, time) in times {
        assert!(time >= TIMEOUT, "{name} ended early");
        eprintln!("{name} {time:?}");
        assert!(time < LONGEST, "{name} took {time:?}");
    }
}
