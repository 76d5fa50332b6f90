//! `wait_timeout`, and waits that sleep instead of spinning.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use pidwait::WaitSet;

#[cfg(target_os = "linux")]
use super::traced_child;
use super::{code, handle, next, own_process};
use crate::common::{assert_idle, backends, sleeper, state_of, with_interruptions, zombie};
use nix::libc::SIGKILL;

const LONG: Duration = Duration::from_millis(500);

#[test]
fn timeout_never_ends_early() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(handle(sleeper(), backend), ()).unwrap();
        for micros in [1, 999, 1_001, 12_345, 30_000] {
            let timeout = Duration::from_micros(micros);
            let start = Instant::now();
            assert!(set.wait_timeout(timeout).unwrap().is_none());
            assert!(start.elapsed() >= timeout, "{timeout:?} ended early");
        }
        let (_, child, ()) = set.iter().next().unwrap();
        child.kill().unwrap();
        assert_eq!(next(&mut set).status.unwrap().signal(), Some(SIGKILL));
    }
}

#[test]
fn deadlines_are_as_the_timeouts() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(handle(sleeper(), backend), 0).unwrap();
        for wait in [WaitSet::wait_deadline, WaitSet::wait_exited_deadline] {
            let start = Instant::now();
            assert!(wait(&mut set, start).unwrap().is_none());
            let deadline = start + Duration::from_millis(30);
            assert!(wait(&mut set, deadline).unwrap().is_none());
            assert!(Instant::now() >= deadline, "it ended early");
        }
        let far = Instant::now() + Duration::from_secs(600);
        for code in [3, 4] {
            set.insert(handle(zombie(&format!("exit {code}")), backend), code)
                .unwrap();
        }
        let peeked = set.wait_exited_deadline(far).unwrap().unwrap();
        assert_eq!(peeked.handle.wait().unwrap().code(), Some(peeked.value));
        let reaped = set.wait_deadline(far).unwrap().unwrap();
        assert_eq!(code(&reaped), Some(reaped.value));
    }
}

#[test]
fn deadline_in_the_past_reports_an_exit() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let past = Instant::now();
        set.insert(handle(zombie("exit 3"), backend), 3).unwrap();
        // On the waitpid backend the watcher may need some time to see the exit.
        let exited = loop {
            if let Some(exited) = set.wait_deadline(past).unwrap() {
                break exited;
            }
        };
        assert_eq!(code(&exited), Some(3));
    }
}

#[test]
fn zero_timeout_reports_an_exit() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(handle(sleeper(), backend), 0).unwrap();
        assert!(set.wait_timeout(Duration::ZERO).unwrap().is_none());
        set.insert(handle(zombie("exit 3"), backend), 3).unwrap();
        // On the waitpid backend the watcher may need some time to see the exit.
        let exited = loop {
            if let Some(exited) = set.wait_timeout(Duration::ZERO).unwrap() {
                break exited;
            }
        };
        assert_eq!((exited.value, code(&exited)), (3, Some(3)));
    }
}

/// The exit descriptors stay readable after the report and the removal, but must not wake the set
/// any more.
#[test]
fn exit_fd_kept_after_its_report_wakes_no_wait() {
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        let key = set.insert(handle(sleeper(), backend), ()).unwrap();
        let (child, ()) = set.get(key).unwrap();
        let kept = child.exit_fd().unwrap();
        child.kill().unwrap();
        let exited = next(&mut set);
        let removed = handle(zombie("exit 3"), backend);
        let also_kept = removed.exit_fd().unwrap();
        let key = set.insert(removed, ()).unwrap();
        let (removed, ()) = set.remove(key).unwrap();
        set.insert(own_process(backend), ()).unwrap();
        assert_idle(|| assert!(set.wait_timeout(LONG).unwrap().is_none()));
        drop((exited, kept, removed, also_kept));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn wait_sleeps_while_tracer_holds_zombie() {
    for backend in backends() {
        let Some((child, tracer)) = traced_child(backend) else {
            return;
        };
        let mut set = WaitSet::new().unwrap();
        set.insert(child.clone(), ()).unwrap();
        child.kill().unwrap();
        while state_of(child.id()) != Some('Z') {
            assert!(set
                .wait_timeout(Duration::from_millis(1))
                .unwrap()
                .is_none());
        }
        assert_idle(|| assert!(set.wait_timeout(LONG).unwrap().is_none()));
        tracer.end();
        let exited = next(&mut set);
        assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
    }
}

/// If each signal restarted the timeout, the wait would never end.
#[test]
fn interrupted_wait_keeps_its_timeout() {
    let timeout = Duration::from_millis(200);
    for backend in backends() {
        let mut set = WaitSet::new().unwrap();
        set.insert(own_process(backend), ()).unwrap();
        let start = Instant::now();
        with_interruptions(|| assert!(set.wait_timeout(timeout).unwrap().is_none()));
        assert!(start.elapsed() >= timeout);
    }
}

#[test]
#[cfg(any(not(any(target_os = "linux", target_os = "android")), pidwait_poll))]
fn ready_fd_is_unsupported_without_epoll() {
    let error = WaitSet::<()>::new().unwrap().ready_fd().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}
