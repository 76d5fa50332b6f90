//! A blocked wait uses no CPU time. A stop, a trace stop or a zombie held by a tracer neither ends the
//! wait nor makes it spin.
//!
//! A separate binary, because it measures the CPU time of the whole process, watcher threads included.

mod common;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::{
    await_change, await_state, backends, kill, pidfd_open, process_time, ptrace, readable, skip,
    stop, thread_time, traceable_sleeper, while_asleep, NonChild, Trace, Tracer, LONG,
};
use nix::libc::{O_NONBLOCK, SIGCONT, SIGKILL, WCONTINUED};
use pidwait::{Backend, ChildExt, PidHandle};

/// Runs the tests one at a time, so that none measures another.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const BUSY: Duration = Duration::from_millis(60);
const QUIET: Duration = Duration::from_millis(20);

/// Keeps this thread busy for `BUSY` of CPU time, and returns the CPU time that all other threads used
/// meanwhile. Not measured against the clock: on a busy machine a spinning thread gets only its share,
/// but that is as much as this thread gets.
fn used_by_others() -> Duration {
    let (all, mine) = (process_time(), thread_time());
    while thread_time() - mine < BUSY {}
    (process_time() - all).saturating_sub(BUSY)
}

/// The minimum of several measurements. When a host preempts a virtual CPU, that time is charged to the
/// thread on it, so a single measurement can be too high. A spinning thread is high in every one.
fn least_used_by_others() -> Duration {
    let mut used = used_by_others();
    for _ in 0..5 {
        if used >= QUIET {
            used = used.min(used_by_others());
        }
    }
    used
}

/// Asserts that a wait uses almost no CPU time until `end` ends it. The assertion comes after `end`,
/// otherwise a failing test would never finish.
fn idle_until<T: Send>(
    what: &str,
    wait: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
    end: impl FnOnce(),
) -> T {
    let mut used = Duration::ZERO;
    let result = while_asleep(wait, || {
        meanwhile();
        used = least_used_by_others();
        end();
    });
    assert!(
        used < QUIET,
        "{what}: {used:?} during {BUSY:?} of another thread"
    );
    result
}

type Waited = io::Result<Option<ExitStatus>>;

/// A way to wait for a new child.
struct WaitMethod {
    pid: u32,
    name: String,
    timeout: Option<Duration>,
    wait: Box<dyn FnMut(Option<Duration>) -> Waited + Send>,
}

/// Calls `test` with every method: each kind of handle and std's `Child`, with and without timeout.
fn for_each_method(test: impl Fn(WaitMethod)) {
    for timeout in [Some(Duration::from_secs(600)), None] {
        let method = |pid, name: &str, wait| WaitMethod {
            pid,
            name: format!("{name}, {timeout:?}"),
            timeout,
            wait,
        };
        for backend in backends() {
            let pid = traceable_sleeper().id();
            let handle = PidHandle::open_with(pid, backend).unwrap();
            test(method(pid, &format!("{backend}"), wait_by_handle(handle)));
            if backend == Backend::Pidfd {
                let pid = traceable_sleeper().id();
                let pidfd = pidfd_open(pid, O_NONBLOCK.unsigned_abs()).unwrap();
                let handle = PidHandle::from_pidfd(pidfd).unwrap();
                test(method(pid, "non-blocking", wait_by_handle(handle)));
            }
        }
        let mut child = traceable_sleeper();
        let pid = child.id();
        let wait = move |timeout| match timeout {
            Some(timeout) => child.pidfd_wait_timeout(timeout),
            None => child.pidfd_wait().map(Some),
        };
        test(method(pid, "std's Child", Box::new(wait)));
    }
}

fn wait_by_handle(handle: PidHandle) -> Box<dyn FnMut(Option<Duration>) -> Waited + Send> {
    Box::new(move |timeout| match timeout {
        Some(timeout) => handle.wait_timeout(timeout),
        None => handle.wait().map(Some),
    })
}

impl WaitMethod {
    /// Asserts that short timeouts expire without a status.
    fn assert_times_out(&mut self) {
        for timeout in [Duration::ZERO, Duration::from_millis(3)] {
            assert_eq!((self.wait)(Some(timeout)).unwrap(), None, "{}", self.name);
        }
    }

    /// Asserts that the wait stays idle after `meanwhile`, until `end` kills the child.
    fn assert_idle(mut self, meanwhile: impl FnOnce(), end: impl FnOnce()) {
        let wait = || (self.wait)(self.timeout);
        let status = idle_until(&self.name, wait, meanwhile, end);
        assert!(is_killed(status), "{}", self.name);
    }
}

fn is_killed(status: Waited) -> bool {
    status.unwrap().and_then(|status| status.signal()) == Some(SIGKILL)
}

fn kill_and_await_zombie(pid: u32) {
    kill(pid, SIGKILL);
    await_state(pid, 'Z');
}

#[test]
fn a_wait_is_idle_across_stops_and_continues() {
    let _lock = one_at_a_time();
    for_each_method(|mut method| {
        let pid = method.pid;
        stop(pid);
        method.assert_times_out();
        kill(pid, SIGCONT);
        await_change(pid, WCONTINUED);
        method.assert_times_out();
        let meanwhile = || {
            stop(pid);
            kill(pid, SIGCONT);
            await_change(pid, WCONTINUED);
            stop(pid);
        };
        method.assert_idle(meanwhile, || kill(pid, SIGKILL));
    });
}

/// The tracer is this process: `waitid` reports trace stops to a tracer even if it did not ask for them.
#[test]
fn a_wait_is_idle_in_a_trace_stop() {
    let _lock = one_at_a_time();
    let begin = |method: &WaitMethod| {
        let seized = ptrace(Trace::Seize, method.pid);
        seized.map_err(|error| skip(&format!("ptrace: {error}")))
    };
    let enter_trace_stop = |pid| {
        ptrace(Trace::Interrupt, pid).unwrap();
        await_state(pid, 't');
    };
    for_each_method(|mut method| {
        let pid = method.pid;
        if begin(&method).is_err() {
            return;
        }
        enter_trace_stop(pid);
        method.assert_times_out();
        ptrace(Trace::Continue, pid).unwrap();
        method.assert_times_out();
        method.assert_idle(|| enter_trace_stop(pid), || kill(pid, SIGKILL));
    });
    // The same for waits that begin during a trace stop that no wait has reported yet.
    for_each_method(|method| {
        let pid = method.pid;
        if begin(&method).is_err() {
            return;
        }
        enter_trace_stop(pid);
        method.assert_idle(|| (), || kill(pid, SIGKILL));
    });
}

/// The pidfd is readable, but the child cannot be reaped until its tracer ends.
#[test]
fn a_wait_is_idle_while_a_tracer_holds_the_zombie() {
    let _lock = one_at_a_time();
    for exits_before in [false, true] {
        for_each_method(|mut method| {
            let pid = method.pid;
            let Some(tracer) = Tracer::attach(pid) else {
                return;
            };
            if exits_before {
                kill_and_await_zombie(pid);
                method.assert_times_out();
            }
            let meanwhile = || {
                if !exits_before {
                    kill_and_await_zombie(pid)
                }
            };
            method.assert_idle(meanwhile, || tracer.end());
        });
    }
}

/// `has_exited` and `exit_fd` see such a zombie with pidfds. By PID it looks alive.
#[test]
fn only_a_pidfd_sees_the_exit_of_a_zombie_held_by_a_tracer() {
    let _lock = one_at_a_time();
    for backend in backends() {
        let child = traceable_sleeper();
        let pid = child.id();
        let handle = PidHandle::open_with(pid, backend).unwrap();
        let Some(tracer) = Tracer::attach(pid) else {
            return;
        };
        kill_and_await_zombie(pid);
        let visible = backend == Backend::Pidfd;
        let exit = handle.exit_fd().unwrap();
        assert_eq!(handle.has_exited().unwrap(), visible);
        assert_eq!(readable(&exit, 20), visible);
        assert_eq!(handle.try_wait().unwrap(), None);
        let end_tracer = || tracer.end();
        idle_until("wait_exited", || handle.wait_exited(), || (), end_tracer).unwrap();
        assert!(readable(&exit, LONG));
        assert!(is_killed(handle.wait().map(Some)));
    }
}

/// Without pidfds a wait for a non-child polls, but rarely.
#[test]
fn a_wait_for_a_non_child_is_almost_idle() {
    let _lock = one_at_a_time();
    for backend in backends() {
        for timeout in [Duration::from_secs(600), Duration::MAX] {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            let wait = || handle.wait_exited_timeout(timeout);
            let end = || assert_eq!(non_child.finish(), Some(7));
            let exited = idle_until("wait_exited_timeout", wait, || (), end);
            assert!(readable(&exit, LONG));
            assert!(exited.unwrap());
        }
    }
}
