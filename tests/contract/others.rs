//! What all other calls of a handle return, and those of a `WaitSet`.

use std::time::{Duration, Instant};

use nix::libc;
use pidwait::{Escalation, PidHandle, Spawned, WaitKey, WaitSet};

use crate::cases::*;
#[cfg(target_os = "linux")]
use crate::common::pidfd_open;
use crate::common::{self, readable, LONG};
use crate::outcome::Describe;
#[cfg(target_os = "linux")]
use crate::outcome::SKIPPED;
use crate::{both, recorded, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // One row a line where it fits.
pub(crate) fn rows() -> Vec<Row> {
    Vec::from([
        row("reaped by std's `wait`", "`Spawned::from`; `wait`, `try_wait`, `signal(0)`, `has_exited`, `exit_status`", both("ECHILD, ECHILD, ECHILD, Ok(true), None"), || {
            finished(|child| _ = child.wait().expect("std's wait"))
        }),
        row("reaped by other code", "`Spawned::from`; `wait`, `try_wait`, `signal(0)`, `has_exited`, `exit_status`", both("ECHILD, ECHILD, ECHILD, Ok(true), None"), || {
            finished(|child| _ = common::reap_externally(child.id()))
        }),
        row("reaped by std's `wait`", "`Spawned::from`, `release`, `wait`", both("Ok, ECHILD"), || {
            let mut child = common::sh("exit 3");
            child.wait().expect("std's wait");
            let handle = Spawned::from(child).handle;
            [handle.release().describe(), handle.wait().describe()].join(", ")
        }),
        row("running", "`Spawned::from`, `signal`, `wait`, `wait`", both("Ok, Ok(signal 15), ECHILD"), || {
            let handle = Spawned::from(common::sleeper()).handle;
            [handle.signal(libc::SIGTERM).describe(), handle.wait().describe(), handle.wait().describe()].join(", ")
        }),
        row("running, or a zombie", "`Spawned::from`, `backend`", ["pidfd, pidfd", "waitpid, waitpid"], || {
            [common::sleeper(), common::zombie("exit 3")].map(|child| {
                let pid = child.id();
                let handle = Spawned::from(child).handle;
                assert_eq!(handle.id(), pid);
                handle.backend().to_string()
            }).join(", ")
        }),
        row("stopped", "`Spawned::from`, `try_wait`, then process state", both("Ok(None), still stopped"), || {
            let child = common::sleeper();
            common::stop(child.id());
            let handle = Spawned::from(child).handle;
            [handle.try_wait().describe(), state(handle.id())].join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("in a trace stop", "`Spawned::from`, `try_wait`; once it is detached: `wait`", both("Ok(None), Ok(exit 3)"), || {
            let child = trace_stopped();
            let handle = Spawned::from(child).handle;
            let stopped = handle.try_wait().describe();
            common::detach(handle.id());
            [stopped, handle.wait().describe()].join(", ")
        }),
        row("zombie", "`Spawned::from`, then process state; `try_wait`, `wait`", both("gone, Ok(Some(exit 3)), ECHILD"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            [state(handle.id()), handle.try_wait().describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`Spawned::from`, `wait_shared` twice, `release`, `wait`", both("Ok(exit 3), Ok(exit 3), Ok, ECHILD"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            let waits = [handle.wait_shared().describe(), handle.wait_shared().describe()].join(", ");
            [waits, handle.release().describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`Spawned::from`; `signal` of no such signal, `kill`, `has_exited`, `wait_exited`", both("EINVAL, Ok, Ok(true), Ok"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            let sent = [unknown_signals(|signal| handle.signal(signal)), handle.kill().describe()].join(", ");
            [sent, handle.has_exited().describe(), handle.wait_exited().describe()].join(", ")
        }),
        row("running", "`Spawned::from`, `try_wait`", both("Ok(None)"), || {
            Spawned::from(common::sleeper()).handle.try_wait().describe()
        }),
        row("zombie", "`Spawned::from`, `signal`, `exit_fd` readable?, `wait`", both("Ok, true, Ok(exit 3)"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            let sent = handle.signal(libc::SIGTERM).describe();
            let readable = readable(&handle.exit_fd().expect("exit_fd"), LONG).describe();
            format!("{sent}, {readable}, {}", handle.wait().describe())
        }),
        row("zombie", "`Spawned::from`, `wait_usage`", both("Ok(exit 3, usage)"), || {
            Spawned::from(common::zombie("exit 3")).handle.wait_usage().describe()
        }),
        row("zombie", "`Spawned::from`, `exit_status`, `wait`", both("Some(exit 3), Ok(exit 3)"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            format!("{}, {}", handle.exit_status().describe(), handle.wait().describe())
        }),
        row("zombie", "`Spawned::from`, `release`; `wait`, `try_wait`, `signal(0)`, `wait_shared`, `exit_status`", both("Ok, EINVAL, EINVAL, EINVAL, EINVAL, None"), || {
            let handle = Spawned::from(common::zombie("exit 3")).handle;
            let released = handle.release().describe();
            let waits = [handle.wait().describe(), handle.try_wait().describe(), handle.signal(0).describe()].join(", ");
            [released, waits, handle.wait_shared().describe(), handle.exit_status().describe()].join(", ")
        }),
        row("child, out of descriptors", "`Spawned::from`, `backend`, `wait` after `kill`", both("waitpid, Ok(signal 9)"), || {
            let child = common::sleeper();
            let handle = without_descriptors(|| Spawned::from(child).handle);
            handle.kill().expect("kill");
            format!("{}, {}", handle.backend(), handle.wait().describe())
        }),

        row("running", "`has_exited`", both("Ok(false)"), || running().has_exited().describe()),
        row("zombie", "`has_exited`", both("Ok(true)"), || exited().has_exited().describe()),
        row("done", "`has_exited`", both("Ok(true)"), || done().has_exited().describe()),
        row("no such process", "`has_exited`", both("Ok(true)"), || missing().has_exited().describe()),
        row("released", "`has_exited`", both("EINVAL"), || released().has_exited().describe()),
        row("non-child, running", "`has_exited`", both("Ok(false)"), || non_child().has_exited().describe()),
        row("non-child, zombie", "`has_exited`", ["Ok(true)", "Ok(false)"], || non_child_zombie().has_exited().describe()),
        row("non-child, zombie", "`wait`", both("ECHILD"), || non_child_zombie().wait().describe()),
        row("non-child, zombie", "`wait_exited_timeout` of 2 ms", ["Ok(true)", "Ok(false)"], || non_child_zombie().wait_exited_timeout(SHORT).describe()),
        row("reaped by other code", "`has_exited`", both("Ok(true)"), || reaped_externally().has_exited().describe()),
        row("non-child that its parent has reaped", "`has_exited`, `wait_exited`", both("Ok(true), Ok"), || {
            let handle = non_child_reaped();
            [handle.has_exited().describe(), handle.wait_exited().describe()].join(", ")
        }),
        row("reaped by other code", "`wait_exited`, `wait_exited_timeout(MAX)`", both("Ok, Ok(true)"), || {
            [reaped_externally().wait_exited().describe(), reaped_externally().wait_exited_timeout(Duration::MAX).describe()].join(", ")
        }),
        row("no such process", "`wait_exited`, `wait_exited_timeout(MAX)`, `exit_status`", both("Ok, Ok(true), None"), || {
            let handle = missing();
            [handle.wait_exited().describe(), handle.wait_exited_timeout(Duration::MAX).describe(), handle.exit_status().describe()].join(", ")
        }),
        row("released", "`wait_exited`, `wait_exited_timeout(MAX)`", both("EINVAL, EINVAL"), || {
            [released().wait_exited().describe(), released().wait_exited_timeout(Duration::MAX).describe()].join(", ")
        }),
        row("done", "`release`, `has_exited`", both("Ok, Ok(true)"), || {
            let handle = done();
            [handle.release().describe(), handle.has_exited().describe()].join(", ")
        }),
        row("running", "`wait_exited_timeout` of 2 ms", both("Ok(false)"), || running().wait_exited_timeout(SHORT).describe()),
        row("non-child, running", "`wait_exited_timeout` of 2 ms", both("Ok(false)"), || non_child().wait_exited_timeout(SHORT).describe()),
        row("about to exit", "`wait_exited`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exiting();
            format!("{}, {}", handle.wait_exited().describe(), handle.wait().describe())
        }),
        row("running", "`wait_exited_deadline` in the past", both("Ok(false)"), || running().wait_exited_deadline(Instant::now()).describe()),
        row("done", "`wait_exited_deadline` in the past", both("Ok(true)"), || done().wait_exited_deadline(Instant::now()).describe()),
        row("done", "`wait_exited`", both("Ok"), || done().wait_exited().describe()),

        row("running", "`exit_status`", both("None"), || running().exit_status().describe()),
        row("zombie", "`exit_status`", both("Some(exit 3)"), || exited().exit_status().describe()),
        row("done", "`exit_status`", both("Some(exit 3)"), || done().exit_status().describe()),
        row("released", "`exit_status`", both("None"), || released().exit_status().describe()),

        row("non-child, running or zombie", "`exit_status`", both("None, None"), || {
            [non_child(), non_child_zombie()].map(|handle| handle.exit_status().describe()).join(", ")
        }),
        recorded("non-child that its parent has reaped", "`exit_status`, Linux 6.15 and later", ["Some(exit 7)", "None"], || non_child_reaped().exit_status().describe()),

        row("running", "`exit_fd` readable?", both("false"), || readable(&running().exit_fd().expect("exit_fd"), 0).describe()),
        row("reaped, then released and dropped", "`exit_fd` readable?", both("true"), || {
            let handle = exiting();
            let exit = handle.exit_fd().expect("exit_fd");
            handle.wait().expect("the status");
            handle.release().expect("release");
            drop(handle);
            readable(&exit, LONG).describe()
        }),
        row("reaped by other code", "`exit_fd` from before readable? And a later one?", both("true, true"), || {
            let handle = exited();
            let before = handle.exit_fd().expect("exit_fd");
            common::reap_externally(handle.id());
            let later = handle.exit_fd().expect("exit_fd");
            [readable(&before, LONG).describe(), readable(&later, LONG).describe()].join(", ")
        }),
        row("done", "`exit_fd` readable?", both("true"), || readable(&done().exit_fd().expect("exit_fd"), 0).describe()),
        row("no such process", "`exit_fd` readable?", both("true"), || readable(&missing().exit_fd().expect("exit_fd"), 0).describe()),
        row("released", "`exit_fd`", both("EINVAL"), || released().exit_fd().map(drop).describe()),

        row("zombie", "`terminate`", both("Ok(exit 3)"), || exited().terminate(Duration::MAX).describe()),
        row("running", "`terminate`", both("Ok(signal 15)"), || running().terminate(Duration::MAX).describe()),
        row("stopped", "`terminate`", both("Ok(signal 15)"), || stopped().terminate(Duration::MAX).describe()),
        row("ignores SIGTERM", "`terminate`", both("Ok(signal 9)"), || open(common::ignoring_sigterm().id()).terminate(SHORT).describe()),
        row("handles SIGTERM", "`terminate`", both("Ok(exit 3)"), || open(handling_sigterm().id()).terminate(Duration::MAX).describe()),
        row("handles SIGTERM, stopped", "`terminate`", both("Ok(exit 3)"), || open(handling_sigterm_stopped().id()).terminate(Duration::MAX).describe()),
        row("handles SIGTERM", "`Spawned::from`, `terminate`", both("Ok(exit 3)"), || Spawned::from(handling_sigterm()).handle.terminate(Duration::MAX).describe()),
        row("zombie", "`Spawned::from`, `terminate`", both("Ok(exit 3)"), || Spawned::from(common::zombie("exit 3")).handle.terminate(Duration::MAX).describe()),
        row("non-child", "`terminate`; how its parent saw it end", both("ECHILD, exit 7"), || {
            let mut non_child = common::NonChild::new();
            let terminated = open(non_child.pid).terminate(Duration::MAX).describe();
            format!("{terminated}, exit {}", non_child.finish().expect("its parent exits"))
        }),
        recorded("killed and reaped by other code", "`terminate`, `wait`, Linux 6.15 and later", ["Ok(signal 9), ECHILD", "ECHILD, ECHILD"], || {
            let handle = killed_and_reaped();
            [handle.terminate(Duration::MAX).describe(), handle.wait().describe()].join(", ")
        }),
        row("done", "`terminate`", both("Ok(exit 3)"), || done().terminate(SHORT).describe()),
        row("released", "`terminate`, then `wait` of another handle", both("EINVAL, Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            handle.release().expect("release cannot fail");
            let terminated = handle.terminate(SHORT).describe();
            drop(stdin);
            format!("{terminated}, {}", open(handle.id()).wait().describe())
        }),
        #[cfg(target_os = "linux")]
        row("running", "`terminate` with SIGUSR1", both("Ok(signal 10)"), || running().terminate(Escalation::new(libc::SIGUSR1, Duration::MAX)).describe()),
        row("no such signal in the second step", "`terminate`, `terminate_unreaped`, `terminate_in_background`, `try_wait`", both("EINVAL, EINVAL, EINVAL, Ok(None)"), || {
            let handle = running();
            let unknown = Escalation::from(SHORT).then(1000, SHORT);
            let ends = format!("{}, {}", handle.terminate(&unknown).describe(), handle.terminate_unreaped(&unknown).describe());
            format!("{ends}, {}, {}", handle.terminate_in_background(&unknown).describe(), handle.try_wait().describe())
        }),
        row("no such process; no such signal in the second step", "`terminate`", both("EINVAL"), || {
            missing().terminate(Escalation::from(SHORT).then(1000, SHORT)).describe()
        }),
        row("signal 0", "`terminate`, `try_wait`", both("EINVAL, Ok(None)"), || {
            let handle = running();
            format!("{}, {}", handle.terminate(Escalation::new(0, SHORT)).describe(), handle.try_wait().describe())
        }),
        row("exits when its input ends", "`terminate` with `wait_first`", both("Ok(exit 3)"), || {
            let (handle, stdin) = until_stdin_closes();
            drop(stdin);
            handle.terminate(Escalation::kill().wait_first(Duration::MAX)).describe()
        }),
        row("running", "`terminate_unreaped`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = running();
            format!("{}, {}", handle.terminate_unreaped(Duration::MAX).describe(), handle.wait().describe())
        }),
        row("ignores SIGTERM", "`terminate_unreaped`, `wait`", both("Ok, Ok(signal 9)"), || {
            let handle = open(common::ignoring_sigterm().id());
            [handle.terminate_unreaped(SHORT).describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`terminate_unreaped`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exited();
            [handle.terminate_unreaped(SHORT).describe(), handle.wait().describe()].join(", ")
        }),
        row("zombie", "`terminate_in_background`; once it is gone: `wait_shared`", both("Ok, Ok(exit 3)"), || {
            let handle = exited();
            let begun = handle.terminate_in_background(Duration::ZERO).describe();
            common::await_gone(handle.id());
            format!("{begun}, {}", handle.wait_shared().describe())
        }),
        row("non-child that its parent has reaped", "`terminate_unreaped`", both("Ok"), || non_child_reaped().terminate_unreaped(Duration::MAX).describe()),
        row("non-child, running", "`terminate_unreaped`; how its parent saw it end", both("Ok, signal 15"), || {
            let mut non_child = common::NonChild::new();
            let ended = open(non_child.pid).terminate_unreaped(Duration::MAX).describe();
            let code = non_child.finish().expect("its parent exits");
            format!("{ended}, signal {}", code - 128)
        }),
        row("done", "`terminate_unreaped`, `terminate_in_background`", both("Ok, Ok"), || {
            format!("{}, {}", done().terminate_unreaped(SHORT).describe(), done().terminate_in_background(SHORT).describe())
        }),
        row("no such process", "`terminate`, `terminate_unreaped`, `terminate_in_background`", both("ECHILD, Ok, Ok"), || {
            let ends = format!("{}, {}", missing().terminate(SHORT).describe(), missing().terminate_unreaped(SHORT).describe());
            format!("{ends}, {}", missing().terminate_in_background(SHORT).describe())
        }),
        row("released", "`terminate_unreaped`, `terminate_in_background`", both("EINVAL, EINVAL"), || {
            let handle = released();
            format!("{}, {}", handle.terminate_unreaped(SHORT).describe(), handle.terminate_in_background(SHORT).describe())
        }),
        row("running", "`terminate_in_background`, `wait_shared`", both("Ok, Ok(signal 15)"), || {
            let handle = running();
            format!("{}, {}", handle.terminate_in_background(Duration::MAX).describe(), handle.wait_shared().describe())
        }),
        #[cfg(target_os = "linux")]
        row("a tracer holds it", "`terminate` with `kill_timeout`, `try_wait`", both("TimedOut, Ok(None)"), || {
            let child = common::traceable_sleeper();
            let Some(_tracer) = common::Tracer::attach(child.id()) else {
                return SKIPPED.to_owned();
            };
            let handle = open(child.id());
            let end = Escalation::kill().kill_timeout(SHORT);
            format!("{}, {}", handle.terminate(end).describe(), handle.try_wait().describe())
        }),

        #[cfg(target_os = "linux")]
        row("not a pidfd", "`from_pidfd`", both("InvalidInput"), || {
            let file = std::fs::File::open("/dev/null").expect("/dev/null");
            PidHandle::from_pidfd(file.into()).map(drop).describe()
        }),
        #[cfg(target_os = "linux")]
        row("already reaped", "`from_pidfd`, and of a non-blocking pidfd", both("ECHILD, ECHILD"), || {
            [0, libc::O_NONBLOCK.unsigned_abs()].map(|flags| {
                let child = common::zombie("exit 3");
                let fd = pidfd_open(child.id(), flags).expect("a pidfd");
                common::reap_externally(child.id());
                PidHandle::from_pidfd(fd).map(drop).describe()
            }).join(", ")
        }),
        #[cfg(target_os = "linux")]
        row("non-blocking pidfd", "`from_pidfd`, `try_wait`, `wait`", both("Ok(None), Ok(signal 9)"), || {
            let fd = pidfd_open(common::sleeper().id(), libc::O_NONBLOCK.unsigned_abs()).expect("a pidfd");
            let handle = PidHandle::from_pidfd(fd).expect("from_pidfd");
            let running = handle.try_wait().describe();
            handle.kill().expect("kill");
            format!("{running}, {}", handle.wait().describe())
        }),

        row("empty set", "`WaitSet::wait`", both("Ok(None)"), || {
            let exited = WaitSet::<()>::new().expect("a set").wait();
            exited.map(|exited| exited.map(|exited| exited.status)).describe()
        }),
        row("empty set", "`WaitSet::wait_timeout(MAX)`", both("Ok(None)"), || {
            let exited = WaitSet::<()>::new().expect("a set").wait_timeout(Duration::MAX);
            exited.map(|exited| exited.map(|exited| exited.status)).describe()
        }),
        row("running member", "`WaitSet::wait_timeout` of 2 ms", both("Ok(None)"), || reported(running(), |_| {}, SHORT)),
        row("running member", "`WaitSet::wait_deadline`, `wait_exited_deadline` in the past", both("Ok(None), Ok(None)"), || {
            let mut set = set_of(running()).0;
            let past = Instant::now();
            let waited = set.wait_deadline(past).map(|exited| exited.map(drop));
            let peeked = set.wait_exited_deadline(past).map(|exited| exited.map(drop));
            format!("{}, {}", waited.describe(), peeked.describe())
        }),
        row("member about to exit", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(Some(exit 3)))"), || reported(exiting(), |_| {}, Duration::MAX)),
        row("member reaped by its own `wait`", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(Some(exit 3)))"), || {
            reported(exiting(), |handle| drop(handle.wait()), Duration::MAX)
        }),
        row("member killed through the set", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(Some(signal 9)))"), || {
            reported(running(), |handle| handle.kill().expect("it runs"), Duration::MAX)
        }),
        recorded("member reaped by other code", "`WaitSet::wait_timeout(MAX)`, Linux 6.15 and later", ["Ok(Some(Some(exit 3)))", "Ok(Some(None))"], || {
            reported(exited(), |handle| _ = common::reap_externally(handle.id()), Duration::MAX)
        }),
        row("member released in the set", "`WaitSet::wait_timeout(MAX)`, then process state", both("Ok(Some(None)), still a zombie"), || {
            let handle = exited();
            let pid = handle.id();
            let reported = reported(handle, |handle| drop(handle.release()), Duration::MAX);
            format!("{reported}, {}", state(pid))
        }),
        row("member that was given to `Spawned::from` as a zombie", "`WaitSet::wait`, `wait` of its handle", both("Some(exit 3), ECHILD"), || {
            let exited = set_of(Spawned::from(common::zombie("exit 3")).handle).0.wait().expect("wait").expect("a report");
            format!("{}, {}", exited.status.describe(), exited.handle.wait().describe())
        }),
        row("member that was given to `Spawned::from` as a zombie", "`WaitSet::wait_exited`, `wait` of its handle twice", both("Some(exit 3), Ok(exit 3), ECHILD"), || {
            let exited = set_of(Spawned::from(common::zombie("exit 3")).handle).0.wait_exited().expect("wait").expect("a report");
            [exited.status.describe(), exited.handle.wait().describe(), exited.handle.wait().describe()].join(", ")
        }),
        row("empty set", "`WaitSet::wait_exited`", both("Ok(None)"), || {
            let exited = WaitSet::<()>::new().expect("a set").wait_exited();
            exited.map(|exited| exited.map(|exited| exited.status)).describe()
        }),
        row("running member", "`WaitSet::wait_exited_timeout` of 2 ms", both("Ok(None)"), || {
            let mut set = set_of(running()).0;
            set.wait_exited_timeout(SHORT).map(|exited| exited.map(|exited| exited.status)).describe()
        }),
        row("member about to exit", "`WaitSet::wait_exited`, `wait_usage` of its handle", both("Ok(Some(None)), Ok(exit 3, usage)"), || {
            let exited = set_of(exiting()).0.wait_exited();
            let usage = exited.as_ref().ok().and_then(Option::as_ref).map(|exited| exited.handle.wait_usage());
            let reported = exited.map(|exited| exited.map(|exited| exited.status)).describe();
            format!("{reported}, {}", usage.expect("a report").describe())
        }),
        #[cfg(all(target_os = "linux", not(pidwait_poll)))]
        row("member about to exit", "`WaitSet::ready_fd` readable? And after the report?", both("true, false"), || {
            let mut set = set_of(exiting()).0;
            let before = is_ready(&set, LONG);
            set.wait().expect("wait").expect("a report");
            format!("{before}, {}", is_ready(&set, 0))
        }),
        row("key of another set", "`WaitSet::get`, `WaitSet::remove`", both("None, None"), || {
            let (_one, key) = set_of(running());
            let mut other = set_of(running()).0;
            let found = other.get(key).map(|_| ()).describe();
            format!("{found}, {}", other.remove(key).map(|_| ()).describe())
        }),
        row("zombie", "`WaitSet::wait_exited`, `wait` of its handle", both("None, Ok(exit 3)"), || {
            let mut set = WaitSet::new().expect("a set");
            set.insert(exited(), ()).expect("insert");
            let exited = set.wait_exited().expect("no error").expect("an exit");
            format!("{}, {}", exited.status.describe(), exited.handle.wait().describe())
        }),
        row("zombie", "`WaitSet::remove`, `wait_timeout` with a running member, `wait` of its handle", both("Ok(None), Ok(exit 3)"), || {
            let mut set = set_of(running()).0;
            let key = set.insert(exited(), ()).expect("insert");
            let (handle, ()) = set.remove(key).expect("it is a member");
            let next = set.wait_timeout(SHORT).map(|exited| exited.map(|exited| exited.status));
            format!("{}, {}", next.describe(), handle.wait().describe())
        }),
        #[cfg(all(target_os = "linux", not(pidwait_poll)))]
        row("empty set, running member, zombie", "`WaitSet::ready_fd` readable?", both("false, false, true"), || {
            let mut set = WaitSet::new().expect("a set");
            let mut seen = vec![is_ready(&set, 0)];
            for (handle, millis) in [(running(), 0), (exited(), LONG)] {
                set.insert(handle, ()).expect("insert");
                seen.push(is_ready(&set, millis));
            }
            seen.join(", ")
        }),
        row("a clone is a member", "`WaitSet::insert`; and once the clone is removed", both("EEXIST, Ok"), || {
            let handle = running();
            let (mut set, key) = set_of(handle.clone());
            let refused = set.insert(handle.clone(), ()).map(drop).map_err(std::io::Error::from).describe();
            set.remove(key).expect("only the first is a member");
            assert!(set.is_empty());
            format!("{refused}, {}", set.insert(handle, ()).map(drop).map_err(std::io::Error::from).describe())
        }),
        row("done", "`WaitSet::insert`", both("ECHILD"), || inserted(done())),
        row("no such process", "`WaitSet::insert`", both("ECHILD"), || inserted(missing())),
        row("released", "`WaitSet::insert`", both("EINVAL"), || inserted(released())),
    ])
}

/// What the calls return of a handle for a child that was reaped before the conversion.
fn finished(reap: fn(&mut std::process::Child)) -> String {
    let mut child = common::zombie("exit 3");
    reap(&mut child);
    let pid = child.id();
    let handle = Spawned::from(child).handle;
    assert_eq!(handle.id(), pid);
    let calls = [
        handle.wait().describe(),
        handle.try_wait().describe(),
        handle.signal(0).describe(),
    ]
    .join(", ");
    [
        calls,
        handle.has_exited().describe(),
        handle.exit_status().describe(),
    ]
    .join(", ")
}

fn set_of(handle: PidHandle) -> (WaitSet<()>, WaitKey) {
    let mut set = WaitSet::new().expect("a set");
    let key = set.insert(handle, ()).expect("insert");
    (set, key)
}

fn is_ready<T>(set: &WaitSet<T>, timeout: u16) -> String {
    readable(&set.ready_fd().expect("ready_fd"), timeout).describe()
}

/// What a set reports about a handle after `meanwhile` was called on it as a member. It is reported once.
fn reported(handle: PidHandle, meanwhile: fn(&PidHandle), timeout: Duration) -> String {
    let (mut set, key) = set_of(handle);
    meanwhile(set.get(key).expect("it is a member").0);
    let exited = set.wait_timeout(timeout);
    if let Ok(Some(exited)) = &exited {
        assert_eq!(exited.key, key);
        assert_eq!(exited.status, exited.handle.exit_status());
        assert!(set.get(key).is_none());
        assert!(set.wait().expect("wait").is_none());
    }
    exited
        .map(|exited| exited.map(|exited| exited.status))
        .describe()
}

/// The error of an insert that must fail and give handle and value back.
fn inserted(handle: PidHandle) -> String {
    let pid = handle.id();
    let mut set = WaitSet::new().expect("a set");
    let refused = set.insert(handle, "value").expect_err("insert must fail");
    assert_eq!((refused.handle.id(), refused.value), (pid, "value"));
    assert!(set.is_empty());
    std::io::Result::<()>::Err(refused.error).describe()
}
