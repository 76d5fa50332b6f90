//! Each kind of wait for a leader, in one thread, beside each kind of end, in another: the end leaves no
//! member of the group alive, and both have the status.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "async-io")]
use pidwait::{AsyncIo, AsyncPidHandle};
use pidwait::{Capture, Escalation, KillOnDrop, PidHandle, ProcessGroup, Spawned, WaitSet};

use crate::common::isolated::enter_with_each_backend;
use crate::common::{
    at_once, await_gone, eventually, has_living_member, line_of, rounds, shell, state_of,
};

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(60);

/// A wait on a clone of the handle. One that another wait was faster than fails with ECHILD, except the
/// shared ones.
type Wait = fn(PidHandle) -> io::Result<ExitStatus>;

/// How the status is known to a wait that another one was faster than.
const WAITS: &[(&str, Wait)] = &[
    ("wait", |handle| {
        handle.wait().or_else(|error| known(&handle, error))
    }),
    ("wait_timeout", |handle| {
        let waited = handle.wait_timeout(LONG);
        waited.map(in_time).or_else(|error| known(&handle, error))
    }),
    ("wait_deadline", |handle| {
        let waited = handle.wait_deadline(Instant::now() + LONG);
        waited.map(in_time).or_else(|error| known(&handle, error))
    }),
    ("wait_usage", |handle| {
        let waited = handle.wait_usage().map(|(status, _)| status);
        waited.or_else(|error| known(&handle, error))
    }),
    ("try_wait", |handle| loop {
        match handle.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => thread::yield_now(),
            Err(error) => return known(&handle, error),
        }
    }),
    ("wait_shared", |handle| handle.wait_shared()),
    ("wait_shared_timeout", |handle| {
        handle.wait_shared_timeout(LONG).map(in_time)
    }),
    ("try_wait_shared", |handle| loop {
        match handle.try_wait_shared()? {
            Some(status) => return Ok(status),
            None => thread::yield_now(),
        }
    }),
    ("wait_exited and exit_status", |handle| {
        handle.wait_exited()?;
        Ok(handle.exit_status().expect("it has exited"))
    }),
    ("WaitSet", |handle| {
        let mut set = WaitSet::new()?;
        match set.insert(handle.clone(), ()) {
            Ok(_) => {}
            Err(refused) => return known(&handle, refused.error),
        }
        let exited = set.wait_timeout(LONG)?.expect("no timeout");
        Ok(exited.status.expect("a child"))
    }),
    ("reap_in_background", |handle| {
        handle.reap_in_background();
        handle.wait_shared()
    }),
    #[cfg(feature = "async-io")]
    ("a future", |handle| {
        let waited = async { AsyncPidHandle::<AsyncIo>::new(&handle)?.wait().await };
        async_io::block_on(waited).or_else(|error| known(&handle, error))
    }),
];

fn in_time(status: Option<ExitStatus>) -> ExitStatus {
    status.expect("no timeout")
}

/// The status that another wait got.
fn known(handle: &PidHandle, error: io::Error) -> io::Result<ExitStatus> {
    assert!(pidwait::is_echild(&error), "{error}");
    handle.exit_status().ok_or(error)
}

type End = fn(Spawned) -> io::Result<ExitStatus>;

/// Ends of the leader alone.
const ENDS_OF_LEADER: &[(&str, End)] = &[
    ("terminate", |child| child.handle.terminate(SHORT)),
    ("terminate_unreaped", |child| {
        child.handle.terminate_unreaped(SHORT)?;
        Ok(child.handle.exit_status().expect("it has exited"))
    }),
    ("terminate_in_background", |child| {
        child.handle.terminate_in_background(SHORT)?;
        child.handle.wait_shared()
    }),
    ("drop of a guard", |child| {
        drop(KillOnDrop::with_escalation(child.handle.clone(), SHORT));
        child.handle.wait_shared()
    }),
    #[cfg(feature = "async-io")]
    ("terminate as a future", |child| {
        let ended = async {
            AsyncPidHandle::<AsyncIo>::new(&child.handle)?
                .terminate(SHORT)
                .await
        };
        async_io::block_on(ended)
    }),
];

const ENDS_OF_GROUP: &[(&str, End)] = &[
    ("terminate of the group", |child| {
        group_of(&child).terminate(SHORT)
    }),
    ("terminate_unreaped of the group", |child| {
        group_of(&child).terminate_unreaped(SHORT)?;
        Ok(child.handle.exit_status().expect("it has exited"))
    }),
    ("terminate_in_background of the group", |child| {
        let group = group_of(&child);
        group.terminate_in_background(SHORT)?;
        group.wait_exited()?;
        child.handle.wait_shared()
    }),
    ("kill of the group", |child| {
        group_of(&child).kill()?;
        group_of(&child).wait_exited()?;
        child.handle.wait_shared()
    }),
    ("drop of a guard for the group", |child| {
        let group = group_of(&child).clone();
        drop(KillOnDrop::with_escalation(group, SHORT));
        child.handle.wait_shared()
    }),
    ("drop of a guarded Spawned", |child| {
        let handle = child.handle.clone();
        drop(KillOnDrop::new(child));
        handle.wait_shared()
    }),
    ("stop of a capture", |mut child| {
        let end = Escalation::from(SHORT);
        let capture = Capture::new().timeout(Duration::from_millis(1));
        let captured = capture
            .terminate_on_timeout(&end)
            .terminate_on_leak(&end)
            .run(&mut child)?;
        group_of(&child).terminate_unreaped(Escalation::kill())?;
        Ok(captured.status.expect("it was ended"))
    }),
    #[cfg(feature = "async-io")]
    ("terminate of the group as a future", |child| {
        let ended = async {
            let leader = AsyncPidHandle::<AsyncIo>::new(&child.handle)?;
            leader.process_group()?.terminate(SHORT).await
        };
        async_io::block_on(ended)
    }),
    #[cfg(feature = "async-io")]
    ("a capture as a future", |mut child| {
        let end = Escalation::from(SHORT);
        let capture = Capture::new().timeout(Duration::from_millis(1));
        let capture = capture.terminate_on_timeout(&end).terminate_on_leak(&end);
        let captured = async_io::block_on(capture.on(AsyncIo).run(&mut child))?;
        group_of(&child).terminate_unreaped(Escalation::kill())?;
        Ok(captured.status.expect("it was ended"))
    }),
];

fn group_of(child: &Spawned) -> &ProcessGroup {
    child.group.as_ref().expect("it leads a group")
}

/// Starts a leader that a member outlives, which ignores SIGTERM and has no pipe. The leader exits with 3
/// when its input ends.
fn start() -> Spawned {
    let worker = "trap \"\" TERM; echo ready; exec sleep 600 >/dev/null";
    let mut command = shell(&format!("sh -c '{worker}' </dev/null & read x; exit 3"));
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = PidHandle::spawn(&mut command).unwrap();
    assert_eq!(line_of(child.stdout.as_mut().unwrap()), "ready");
    child
}

/// Runs both at the same time. `exits`: the leader exits by itself at that moment.
fn run(wait: Wait, end: End, exits: bool, of_group: bool, what: &str) {
    let mut child = start();
    let (handle, group) = (child.handle.clone(), group_of(&child).clone());
    let stdin = child.stdin.take();
    let barrier = Barrier::new(3);
    let (waited, ended) = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            barrier.wait();
            wait(handle.clone())
        });
        let ender = scope.spawn(|| {
            barrier.wait();
            end(child)
        });
        barrier.wait();
        let stdin = stdin.filter(|_| !exits);
        let results = (waiter.join().unwrap(), ender.join().unwrap());
        drop(stdin);
        results
    });
    let status = handle.exit_status();
    assert!(status.is_some(), "{what}");
    assert_eq!(
        waited.map_err(|error| error.to_string()).ok(),
        status,
        "{what}"
    );
    assert_eq!(
        ended.map_err(|error| error.to_string()).ok(),
        status,
        "{what}"
    );
    let pid = handle.id();
    assert_eq!(
        state_of(pid),
        Some('Z'),
        "{what}: the group keeps the leader"
    );
    if of_group {
        // A guard waits for at most 100 ms after SIGKILL.
        eventually(what, || !has_living_member(pid));
    } else {
        assert!(has_living_member(pid), "{what}");
    }
    assert_eq!(group.terminate(Duration::ZERO).ok(), status, "{what}");
    assert!(!has_living_member(pid), "{what}");
    drop(group);
    drop(handle);
    await_gone(pid);
}

fn run_all(ends: &[(&str, End)], of_group: bool) {
    // At least one.
    for _ in 0..rounds(20) / 2 {
        at_once(ends, |(end_name, end)| {
            for (wait_name, wait) in WAITS.iter().copied() {
                for exits in [false, true] {
                    let what = format!("{wait_name} beside {end_name}, exits: {exits}");
                    run(wait, *end, exits, of_group, &what);
                }
            }
        });
    }
}

#[test]
fn each_wait_beside_each_end_of_the_leader() {
    if enter_with_each_backend("together::each_wait_beside_each_end_of_the_leader") {
        run_all(ENDS_OF_LEADER, false);
    }
}

#[test]
fn each_wait_beside_each_end_of_the_group() {
    if enter_with_each_backend("together::each_wait_beside_each_end_of_the_group") {
        run_all(ENDS_OF_GROUP, true);
    }
}
