//! Timed waits of a process that is stopped meanwhile: they end no later than when it continues.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::SIGKILL;
use pidwait::{Capture, ChildExt, PidHandle, StoppedBy, WaitSet};

use crate::common::isolated::enter_with_each_backend;
use crate::common::{
    ignoring_sigterm, longer_each_time, sleep, sleeper, with_piped_stdout, Waiter,
};

/// A wait of a process that is there already.
type Wait = Box<dyn FnOnce() + Send>;

fn handle() -> PidHandle {
    PidHandle::open(sleeper().id()).unwrap()
}

fn wait_timeout(timeout: Duration) -> Wait {
    let handle = handle();
    Box::new(move || assert!(handle.wait_timeout(timeout).unwrap().is_none()))
}

fn wait_deadline(timeout: Duration) -> Wait {
    let handle = handle();
    Box::new(move || {
        let deadline = Instant::now() + timeout;
        assert!(handle.wait_deadline(deadline).unwrap().is_none());
    })
}

fn wait_exited_timeout(timeout: Duration) -> Wait {
    let handle = handle();
    Box::new(move || assert!(!handle.wait_exited_timeout(timeout).unwrap()))
}

fn wait_exited_timeout_of_a_non_child(timeout: Duration) -> Wait {
    let own = PidHandle::open(std::process::id()).unwrap();
    Box::new(move || assert!(!own.wait_exited_timeout(timeout).unwrap()))
}

fn pidfd_wait_timeout(timeout: Duration) -> Wait {
    let mut child = sleeper();
    Box::new(move || assert!(child.pidfd_wait_timeout(timeout).unwrap().is_none()))
}

fn set_wait_timeout(timeout: Duration) -> Wait {
    let mut set = WaitSet::new().unwrap();
    set.insert(handle(), ()).unwrap();
    Box::new(move || assert!(set.wait_timeout(timeout).unwrap().is_none()))
}

fn wait_shared_timeout(timeout: Duration) -> Wait {
    let handle = handle();
    Box::new(move || assert!(handle.wait_shared_timeout(timeout).unwrap().is_none()))
}

fn group_wait_exited_timeout(timeout: Duration) -> Wait {
    let leader = sleep().process_group(0).spawn().unwrap();
    let group = PidHandle::open(leader.id()).unwrap().process_group();
    let group = group.unwrap();
    Box::new(move || assert!(!group.wait_exited_timeout(timeout).unwrap()))
}

fn grace_of_an_end(timeout: Duration) -> Wait {
    let handle = PidHandle::open(ignoring_sigterm().id()).unwrap();
    Box::new(move || assert_eq!(handle.terminate(timeout).unwrap().signal(), Some(SIGKILL)))
}

fn capture(timeout: Duration) -> Wait {
    let mut child = with_piped_stdout("exec sleep 600");
    Box::new(move || {
        let captured = Capture::new().timeout(timeout).run(&mut child).unwrap();
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
    })
}

#[test]
fn timed_waits_end_when_a_stopped_process_continues() {
    if enter_with_each_backend("stopped::timed_waits_end_when_a_stopped_process_continues") {
        longer_each_time(Duration::from_secs(1)).find(|timeout| all_end_in_time(*timeout));
    }
}

/// Stops this process for as long as the timeouts, so they are over when it continues. A wait that goes on
/// with the time that was left at the stop takes almost twice as long.
fn all_end_in_time(timeout: Duration) -> bool {
    let waits: [(&str, Wait); 10] = [
        ("wait_timeout", wait_timeout(timeout)),
        ("wait_deadline", wait_deadline(timeout)),
        ("wait_exited_timeout", wait_exited_timeout(timeout)),
        (
            "… of a non-child",
            wait_exited_timeout_of_a_non_child(timeout),
        ),
        ("pidfd_wait_timeout", pidfd_wait_timeout(timeout)),
        ("WaitSet::wait_timeout", set_wait_timeout(timeout)),
        ("wait_shared_timeout", wait_shared_timeout(timeout)),
        (
            "wait_exited_timeout of a group",
            group_wait_exited_timeout(timeout),
        ),
        ("the grace of an end", grace_of_an_end(timeout)),
        ("Capture", capture(timeout)),
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
        let script = format!(
            "kill -STOP $PPID; sleep {}; kill -CONT $PPID",
            timeout.as_secs()
        );
        let mut stopper = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let times = waiters.map(|(name, waiter)| (name, waiter.join()));
        assert!(stopper.wait().unwrap().success());
        eprintln!("{times:?}");
        for (name, time) in times {
            assert!(time >= timeout, "{name} ended early");
        }
        times.iter().all(|(_, time)| *time < timeout * 3 / 2)
    })
}
