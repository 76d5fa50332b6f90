//! Timed waits of handles, on each backend, and of std's `Child`.

use std::io;
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc::{ECHILD, EINVAL};
use pidwait::{ChildExt, PidHandle, Spawned};

use crate::common::{backends, blocked_on_stdin, errno, while_asleep, Waiter};

const MILLI: Duration = Duration::from_millis(1);

/// A type with timed waits.
trait Timed: Send {
    fn timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>>;
    fn deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>>;
}

impl Timed for PidHandle {
    fn timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_timeout(timeout)
    }
    fn deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_deadline(deadline)
    }
}

impl Timed for Child {
    fn timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.pidfd_wait_timeout(timeout)
    }
    fn deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.pidfd_wait_deadline(deadline)
    }
}

/// Runs a test for each kind of handle and for `Child`. The child exits with code 3 when its pipe
/// closes.
fn each(test: impl Fn(&mut dyn Timed, u32, ChildStdin)) {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let mut handle = PidHandle::open_with(child.id(), backend).unwrap();
        test(&mut handle, child.id(), stdin);
    }
    let (mut child, stdin) = blocked_on_stdin();
    let pid = child.id();
    test(&mut child, pid, stdin);
    let (child, stdin) = blocked_on_stdin();
    let pid = child.id();
    test(&mut Spawned::from(child).handle, pid, stdin);
}

fn code(result: io::Result<Option<ExitStatus>>) -> Option<i32> {
    let status = result.expect("no error").expect("no timeout");
    status.code()
}

/// Some timeouts are not whole milliseconds, the unit of `poll`. After all of them the status is
/// still there.
#[test]
fn timeout_never_ends_early_and_loses_no_status() {
    let timeouts = [
        Duration::ZERO,
        Duration::from_nanos(1),
        MILLI,
        Duration::from_micros(1_999),
        Duration::from_micros(7_500),
    ];
    each(|child, _, stdin| {
        for timeout in timeouts {
            let start = Instant::now();
            assert_eq!(child.timeout(timeout).unwrap(), None);
            assert!(start.elapsed() >= timeout, "{timeout:?}");

            let deadline = Instant::now() + timeout;
            assert_eq!(child.deadline(deadline).unwrap(), None);
            assert!(Instant::now() >= deadline, "{timeout:?}");
        }
        drop(stdin);
        assert_eq!(code(child.timeout(Duration::MAX)), Some(3));
        assert_eq!(errno(child.timeout(MILLI)), ECHILD);
    });
}

#[test]
fn exit_ends_a_wait_with_a_huge_timeout() {
    let timeouts = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(i64::MAX.unsigned_abs()),
        Duration::from_secs(3_000_000_000),
    ];
    for timeout in timeouts {
        each(|child, _, stdin| {
            let status = while_asleep(|| child.timeout(timeout), || drop(stdin));
            assert_eq!(code(status), Some(3), "{timeout:?}");
        });
    }
    let deadline = Instant::now() + Duration::from_secs(3_000_000_000);
    each(|child, _, stdin| {
        let status = while_asleep(|| child.deadline(deadline), || drop(stdin));
        assert_eq!(code(status), Some(3));
    });
}

/// The wait ends with the status or with ECHILD, depending on which call reaps first.
#[test]
fn external_reap_ends_a_timed_wait() {
    each(|child, pid, stdin| {
        let wait = || child.timeout(Duration::MAX);
        let mut reaped_externally = 0;
        let status = while_asleep(wait, || {
            drop(stdin);
            let pid = i32::try_from(pid).unwrap();
            let result = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            reaped_externally = i32::from(result.is_ok());
        });
        match status {
            Err(error) => assert_eq!((error.raw_os_error(), reaped_externally), (Some(ECHILD), 1)),
            Ok(status) => assert_eq!((status.unwrap().code(), reaped_externally), (Some(3), 0)),
        }
    });
}

#[test]
fn one_of_eight_timed_waits_gets_the_status() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let results = std::thread::scope(|scope| {
            let wait = || handle.wait_timeout(Duration::MAX);
            let waiters = [(); 8].map(|()| Waiter::asleep(scope, wait));
            drop(stdin);
            waiters.map(Waiter::join)
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for result in lost {
            assert_eq!(errno(result), ECHILD);
        }
        assert_eq!(handle.exit_status().unwrap().code(), Some(3));
    }
}

#[test]
fn timed_wait_returns_its_status_after_release() {
    for backend in backends() {
        let (child, stdin) = blocked_on_stdin();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        let wait = || handle.wait_timeout(Duration::MAX);
        let status = while_asleep(wait, || {
            handle.release().unwrap();
            assert_eq!(errno(handle.wait_timeout(MILLI)), EINVAL);
            assert_eq!(errno(handle.wait_deadline(Instant::now())), EINVAL);
            drop(stdin);
        });
        assert_eq!(code(status), Some(3));
        assert_eq!(errno(handle.wait_timeout(MILLI)), EINVAL);
    }
}
