//! Section 3: what else handles and sets of them do.

use std::time::Duration;

use nix::libc;
use pidwait::{PidHandle, WaitSet};

use crate::answer::Said;
use crate::cases::*;
use crate::common::{self, pidfd_open, readable, LONG};
use crate::{both, row, Row};

const SHORT: Duration = Duration::from_millis(2);

#[rustfmt::skip] // A row a line, as far as that goes.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("std has the status", "`From<Child>`, `wait`", both("ECHILD"), || {
            let mut child = common::sh("exit 3");
            child.wait().expect("std's wait");
            PidHandle::from(child).wait().said()
        }),
        row("running", "`From<Child>`, `try_wait`", both("Ok(None)"), || {
            PidHandle::from(common::sleeper()).try_wait().said()
        }),
        row("zombie", "`From<Child>`, `signal`, `exit_fd` readable, `wait`", both("Ok, true, Ok(exit 3)"), || {
            let handle = PidHandle::from(common::zombie("exit 3"));
            let sent = handle.signal(libc::SIGTERM).said();
            let readable = readable(&handle.exit_fd().expect("exit_fd"), LONG).said();
            format!("{sent}, {readable}, {}", handle.wait().said())
        }),
        row("zombie", "`From<Child>`, `wait_usage`", both("Ok(exit 3, usage)"), || {
            PidHandle::from(common::zombie("exit 3")).wait_usage().said()
        }),
        row("no descriptor left", "`From<Child>`: backend, `wait`", both("waitpid, Ok(signal 9)"), || {
            let child = common::sleeper();
            let handle = without_descriptors(|| PidHandle::from(child));
            handle.kill().expect("kill");
            format!("{}, {}", handle.backend(), handle.wait().said())
        }),

        row("running", "`has_exited`", both("Ok(false)"), || running().has_exited().said()),
        row("zombie", "`has_exited`", both("Ok(true)"), || exited().has_exited().said()),
        row("done", "`has_exited`", both("Ok(true)"), || done().has_exited().said()),
        row("no such process", "`has_exited`", both("Ok(true)"), || missing().has_exited().said()),
        row("released", "`has_exited`", both("EINVAL"), || released().has_exited().said()),
        row("not our child, running", "`has_exited`", both("Ok(false)"), || non_child().has_exited().said()),
        row("not our child, a zombie", "`has_exited`", ["Ok(true)", "Ok(false)"], || zombie_of_another().has_exited().said()),
        row("reaped by somebody else", "`has_exited`", both("Ok(true)"), || reaped_externally().has_exited().said()),
        row("running", "`wait_exited_timeout` of 2 ms", both("Ok(false)"), || running().wait_exited_timeout(SHORT).said()),
        row("not our child, running", "`wait_exited_timeout` of 2 ms", both("Ok(false)"), || non_child().wait_exited_timeout(SHORT).said()),
        row("about to exit", "`wait_exited`, `wait`", both("Ok, Ok(exit 3)"), || {
            let handle = exiting();
            format!("{}, {}", handle.wait_exited().said(), handle.wait().said())
        }),
        row("done", "`wait_exited`", both("Ok"), || done().wait_exited().said()),

        row("running", "`exit_status`", both("None"), || running().exit_status().said()),
        row("zombie", "`exit_status`", both("None"), || exited().exit_status().said()),
        row("done", "`exit_status`", both("Some(exit 3)"), || done().exit_status().said()),
        row("released", "`exit_status`", both("None"), || released().exit_status().said()),

        row("running", "`exit_fd` readable", both("false"), || readable(&running().exit_fd().expect("exit_fd"), 0).said()),
        row("waited for, released, dropped", "`exit_fd` readable", both("true"), || {
            let handle = exiting();
            let exit = handle.exit_fd().expect("exit_fd");
            handle.wait().expect("the status");
            handle.release().expect("release");
            drop(handle);
            readable(&exit, LONG).said()
        }),
        row("done", "`exit_fd`", both("ECHILD"), || done().exit_fd().map(drop).said()),
        row("released", "`exit_fd`", both("EINVAL"), || released().exit_fd().map(drop).said()),

        row("leads a group", "`signal_group`, `wait`", both("Ok, Ok(signal 15)"), || {
            let handle = leader();
            format!("{}, {}", handle.signal_group(libc::SIGTERM).said(), handle.wait().said())
        }),
        row("leads a group, a zombie", "`signal_group`", both("Ok"), || {
            let handle = leader();
            handle.kill().expect("kill");
            handle.wait_exited().expect("it exits");
            handle.signal_group(libc::SIGTERM).said()
        }),
        row("leads no group", "`signal_group`", both("EINVAL"), || running().signal_group(libc::SIGTERM).said()),
        row("done", "`signal_group`", both("ECHILD"), || done().signal_group(libc::SIGTERM).said()),
        row("released", "`signal_group`", both("EINVAL"), || released().signal_group(libc::SIGTERM).said()),

        row("zombie", "`terminate`", both("Ok(exit 3)"), || exited().terminate(Duration::MAX).said()),
        row("running", "`terminate`", both("Ok(signal 15)"), || running().terminate(Duration::MAX).said()),
        row("stopped", "`terminate`", both("Ok(signal 15)"), || stopped().terminate(Duration::MAX).said()),
        row("ignores SIGTERM", "`terminate`", both("Ok(signal 9)"), || open(common::ignoring_sigterm().id()).terminate(SHORT).said()),
        row("not our child", "`terminate`", both("ECHILD"), || {
            // Somebody else's, and nobody to be sorry for, should it be signalled.
            zombie_of_another().terminate(SHORT).said()
        }),
        row("done", "`terminate`", both("ECHILD"), || done().terminate(SHORT).said()),

        row("no pidfd", "`from_pidfd`", both("InvalidInput"), || {
            let file = std::fs::File::open("/dev/null").expect("/dev/null");
            PidHandle::from_pidfd(file.into()).map(drop).said()
        }),
        row("reaped already", "`from_pidfd`", both("ECHILD"), || {
            let child = common::zombie("exit 3");
            let fd = pidfd_open(child.id(), 0).expect("a pidfd");
            common::reap_externally(child.id());
            PidHandle::from_pidfd(fd).map(drop).said()
        }),
        row("non-blocking pidfd", "`from_pidfd`, `try_wait`, `wait`", both("Ok(None), Ok(signal 9)"), || {
            let fd = pidfd_open(common::sleeper().id(), libc::O_NONBLOCK.unsigned_abs()).expect("a pidfd");
            let handle = PidHandle::from_pidfd(fd).expect("from_pidfd");
            let first = handle.try_wait().said();
            handle.kill().expect("kill");
            format!("{first}, {}", handle.wait().said())
        }),

        row("empty", "`WaitSet::wait`", both("Ok(None)"), || {
            let exited = WaitSet::<()>::new().expect("a set").wait();
            exited.map(|exited| exited.map(|exited| exited.status)).said()
        }),
        row("running", "`WaitSet::wait_timeout` of 2 ms", both("Ok(None)"), || reported(running(), |_| {}, SHORT)),
        row("about to exit", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(Some(exit 3)))"), || reported(exiting(), |_| {}, Duration::MAX)),
        row("waited for meanwhile", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(Some(exit 3)))"), || {
            reported(exiting(), |handle| drop(handle.wait()), Duration::MAX)
        }),
        row("released meanwhile", "`WaitSet::wait_timeout(MAX)`", both("Ok(Some(None))"), || {
            reported(exited(), |handle| drop(handle.release()), Duration::MAX)
        }),
        row("done", "`WaitSet::insert`", both("ECHILD"), || inserted(done())),
        row("released", "`WaitSet::insert`", both("EINVAL"), || inserted(released())),
    ]
}

/// What a set says of a handle to which something has happened while it was in there.
fn reported(handle: PidHandle, meanwhile: fn(&PidHandle), limit: Duration) -> String {
    let mut set = WaitSet::new().expect("a set");
    let key = set.insert(handle, ()).expect("a place in it");
    let (handle, ()) = set.get(key).expect("it is in there");
    meanwhile(handle);
    let exited = set.wait_timeout(limit);
    exited
        .map(|exited| exited.map(|exited| exited.status))
        .said()
}

/// What a set says to a handle that is over, having given it back.
fn inserted(handle: PidHandle) -> String {
    let pid = handle.id();
    let mut set = WaitSet::new().expect("a set");
    let refused = set.insert(handle, "value").expect_err("a refusal");
    assert_eq!((refused.handle.id(), refused.value), (pid, "value"));
    assert!(set.is_empty());
    std::io::Result::<()>::Err(refused.error).said()
}
