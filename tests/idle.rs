//! Waits that have nothing to do but wait do nothing: no stop, no trace stop, and no zombie that a
//! tracer holds ends one or makes it spin.
//!
//! A binary of its own, because it measures the CPU time of the whole process: watchers count.

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

/// One test at a time, or one would measure the other.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const BUSY: Duration = Duration::from_millis(60);
const QUIET: Duration = Duration::from_millis(20);

/// Keeps this thread busy for a while, and says what CPU time all others together used meanwhile.
/// Measured by what this one got, not by the clock: on a busy machine a loop that spins gets no
/// more than its share either, but no less.
fn used_by_others() -> Duration {
    let (all, mine) = (process_time(), thread_time());
    while thread_time() - mine < BUSY {}
    (process_time() - all).saturating_sub(BUSY)
}

/// What the others use at their quietest. A virtual CPU that its host takes away is charged to the
/// thread that happened to be on it, now and then; what spins spins each time.
fn used_at_least() -> Duration {
    let mut used = used_by_others();
    for _ in 0..5 {
        if used >= QUIET {
            used = used.min(used_by_others());
        }
    }
    used
}

/// Asserts that a wait uses next to no CPU time until `end` brings it to its own. (Asserted only after
/// that, or a failure would wait for ever.)
fn idle_until<T: Send>(
    what: &str,
    wait: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
    end: impl FnOnce(),
) -> T {
    let mut used = Duration::ZERO;
    let said = while_asleep(wait, || {
        meanwhile();
        used = used_at_least();
        end();
    });
    assert!(used < QUIET, "{what}: {used:?} beside {BUSY:?}");
    said
}

type Waited = io::Result<Option<ExitStatus>>;

/// A way to wait, for a child of its own.
struct Way {
    pid: u32,
    name: String,
    limit: Option<Duration>,
    wait: Box<dyn FnMut(Option<Duration>) -> Waited + Send>,
}

/// Every way: by each kind of handle and by std's `Child`, with a limit and without.
fn each(test: impl Fn(Way)) {
    for limit in [Some(Duration::from_secs(600)), None] {
        let way = |pid, name: &str, wait| Way {
            pid,
            name: format!("{name}, {limit:?}"),
            limit,
            wait,
        };
        for backend in backends() {
            let pid = traceable_sleeper().id();
            let handle = PidHandle::open_with(pid, backend).unwrap();
            test(way(pid, &format!("{backend}"), by_handle(handle)));
            if backend == Backend::Pidfd {
                let pid = traceable_sleeper().id();
                let pidfd = pidfd_open(pid, O_NONBLOCK.unsigned_abs()).unwrap();
                let handle = PidHandle::from_pidfd(pidfd).unwrap();
                test(way(pid, "non-blocking", by_handle(handle)));
            }
        }
        let mut child = traceable_sleeper();
        let pid = child.id();
        let wait = move |limit| match limit {
            Some(limit) => child.pidfd_wait_timeout(limit),
            None => child.pidfd_wait().map(Some),
        };
        test(way(pid, "std's Child", Box::new(wait)));
    }
}

fn by_handle(handle: PidHandle) -> Box<dyn FnMut(Option<Duration>) -> Waited + Send> {
    Box::new(move |limit| match limit {
        Some(limit) => handle.wait_timeout(limit),
        None => handle.wait().map(Some),
    })
}

impl Way {
    /// A limit passes, and no wait ends before its time.
    fn expires(&mut self) {
        for limit in [Duration::ZERO, Duration::from_millis(3)] {
            assert_eq!((self.wait)(Some(limit)).unwrap(), None, "{}", self.name);
        }
    }

    /// The wait is idle after what happens meanwhile, until the `end`, which kills the child.
    fn idles(mut self, meanwhile: impl FnOnce(), end: impl FnOnce()) {
        let wait = || (self.wait)(self.limit);
        let status = idle_until(&self.name, wait, meanwhile, end);
        assert!(killed(status), "{}", self.name);
    }
}

fn killed(status: Waited) -> bool {
    status.unwrap().and_then(|status| status.signal()) == Some(SIGKILL)
}

fn die(pid: u32) {
    kill(pid, SIGKILL);
    await_state(pid, 'Z');
}

#[test]
fn stopped_and_continued() {
    let _alone = alone();
    each(|mut way| {
        let pid = way.pid;
        stop(pid);
        way.expires();
        kill(pid, SIGCONT);
        await_change(pid, WCONTINUED);
        way.expires();
        let meanwhile = || {
            stop(pid);
            kill(pid, SIGCONT);
            await_change(pid, WCONTINUED);
            stop(pid);
        };
        way.idles(meanwhile, || kill(pid, SIGKILL));
    });
}

/// By this process, whose `waitid` reports trace stops however little it asks for them.
#[test]
fn traced() {
    let _alone = alone();
    let begin = |way: &Way| {
        let seized = ptrace(Trace::Seize, way.pid);
        seized.map_err(|error| skip(&format!("ptrace: {error}")))
    };
    let trap = |pid| {
        ptrace(Trace::Interrupt, pid).unwrap();
        await_state(pid, 't');
    };
    each(|mut way| {
        let pid = way.pid;
        if begin(&way).is_err() {
            return;
        }
        trap(pid);
        way.expires();
        ptrace(Trace::Continue, pid).unwrap();
        way.expires();
        way.idles(|| trap(pid), || kill(pid, SIGKILL));
    });
    // And waits that begin in a trace stop that nobody has seen yet.
    each(|way| {
        let pid = way.pid;
        if begin(&way).is_err() {
            return;
        }
        trap(pid);
        way.idles(|| (), || kill(pid, SIGKILL));
    });
}

/// A pidfd says that it has exited, and yet there is nothing to reap until the tracer is gone.
#[test]
fn a_zombie_that_a_tracer_holds() {
    let _alone = alone();
    for before in [false, true] {
        each(|mut way| {
            let pid = way.pid;
            let Some(tracer) = Tracer::attach(pid) else {
                return;
            };
            if before {
                die(pid);
                way.expires();
            }
            let meanwhile = || {
                if !before {
                    die(pid)
                }
            };
            way.idles(meanwhile, || tracer.end());
        });
    }
}

/// The same one, for those who only ask whether it has exited: by pid it looks alive.
#[test]
fn whether_that_zombie_has_exited() {
    let _alone = alone();
    for backend in backends() {
        let child = traceable_sleeper();
        let pid = child.id();
        let handle = PidHandle::open_with(pid, backend).unwrap();
        let Some(tracer) = Tracer::attach(pid) else {
            return;
        };
        die(pid);
        let by_pidfd = backend == Backend::Pidfd;
        let exit = handle.exit_fd().unwrap();
        assert_eq!(handle.has_exited().unwrap(), by_pidfd);
        assert_eq!(readable(&exit, 20), by_pidfd);
        assert_eq!(handle.try_wait().unwrap(), None);
        let end_tracer = || tracer.end();
        idle_until("wait_exited", || handle.wait_exited(), || (), end_tracer).unwrap();
        assert!(readable(&exit, LONG));
        assert!(killed(handle.wait().map(Some)));
    }
}

/// A process that is no child is looked at again and again where there are no pidfds, not often.
#[test]
fn a_non_child() {
    let _alone = alone();
    for backend in backends() {
        for limit in [Duration::from_secs(600), Duration::MAX] {
            let mut non_child = NonChild::new();
            let handle = PidHandle::open_with(non_child.pid, backend).unwrap();
            let exit = handle.exit_fd().unwrap();
            let wait = || handle.wait_exited_timeout(limit);
            let end = || assert_eq!(non_child.finish(), Some(7));
            let exited = idle_until("wait_exited_timeout", wait, || (), end);
            assert!(readable(&exit, LONG));
            assert!(exited.unwrap());
        }
    }
}
