//! What programs do with the crate. A fault can happen in what runs inside [`during`].

#[cfg(any(feature = "tokio", feature = "async-io"))]
mod on_reactors;

use std::fmt::Debug;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{EAGAIN, EINTR, SIGTERM};
use pidwait::{
    reap_orphans, Backend, Capture, ChildExt, KillOnDrop, PidHandle, ProcessGroup, Spawned,
    StoppedBy, WaitSet,
};

use crate::common::{
    await_gone, errno, eventually, is_blocking, readable, state_of, zombie, NonChild, LONG,
};
use crate::libc::{self, observe};

pub(crate) type Flow = (&'static str, fn());

/// The background thread and its two descriptors, and those of the reactors.
pub(crate) const MOST_LEFT: (usize, usize) = (8, 2);

pub(crate) const FLOWS: &[Flow] = &[
    ("wait", wait),
    ("wait_timeout", wait_timeout),
    ("wait_timeout of a sleeper", wait_timeout_of_a_sleeper),
    ("try_wait, wait_deadline", wait_deadline),
    ("wait_shared in two threads", wait_shared),
    ("wait_usage", wait_usage),
    ("wait_exited, exit_status", wait_exited),
    (
        "wait_exited_timeout of a non-child",
        wait_exited_of_a_non_child,
    ),
    ("signal", signal),
    ("terminate", terminate),
    ("terminate_unreaped", terminate_unreaped),
    (
        "terminate_unreaped of a non-child",
        terminate_unreaped_non_child,
    ),
    ("terminate_in_background", terminate_in_background),
    ("reap_in_background", reap_in_background),
    ("spawn with pipes", spawn),
    ("Spawned::from", from_children),
    ("exit_fd", exit_fd),
    ("exit_fd of a non-child", exit_fd_of_a_non_child),
    ("group: signal, wait_exited", group_signal),
    ("group: members, has_exited", group_members),
    ("group: wait_exited_timeout", group_wait_timeout),
    ("group: terminate", group_terminate),
    ("group: terminate_unreaped", group_terminate_unreaped),
    (
        "group: terminate_in_background",
        group_terminate_in_background,
    ),
    ("group: wait, then terminate", group_wait_then_terminate),
    ("ChildExt: waits", child_waits),
    ("ChildExt: pidfd_wait_usage", child_usage),
    ("ChildExt: pidfd_terminate", child_terminate),
    (
        "ChildExt: pidfd_terminate_process_group",
        child_terminate_group,
    ),
    ("ChildExt: pidfd_output_timeout", child_output),
    ("ChildExt: pidfd_reap_in_background", child_background),
    ("WaitSet", wait_set),
    ("WaitSet of non-children", wait_set_of_non_children),
    ("KillOnDrop", kill_on_drop),
    ("KillOnDrop of a group", kill_group_on_drop),
    ("Identity", identity),
    ("reap_orphans", orphans),
    ("Capture: output", capture_output),
    ("Capture: run with input", capture_run),
    ("Capture: a timeout, of a group", capture_timeout),
    ("Capture: run_until", capture_until),
    #[cfg(feature = "tokio")]
    ("tokio: wait", on_reactors::wait::<on_reactors::OnTokio>),
    #[cfg(feature = "tokio")]
    (
        "tokio: terminate",
        on_reactors::terminate::<on_reactors::OnTokio>,
    ),
    #[cfg(feature = "tokio")]
    (
        "tokio: terminate a group",
        on_reactors::terminate_group::<on_reactors::OnTokio>,
    ),
    #[cfg(feature = "tokio")]
    (
        "tokio: Capture",
        on_reactors::capture::<on_reactors::OnTokio>,
    ),
    #[cfg(feature = "tokio")]
    (
        "tokio: Capture with a timeout",
        on_reactors::capture_timeout::<on_reactors::OnTokio>,
    ),
    #[cfg(feature = "async-io")]
    (
        "async-io: wait",
        on_reactors::wait::<on_reactors::OnAsyncIo>,
    ),
    #[cfg(feature = "async-io")]
    (
        "async-io: terminate",
        on_reactors::terminate::<on_reactors::OnAsyncIo>,
    ),
    #[cfg(feature = "async-io")]
    (
        "async-io: terminate a group",
        on_reactors::terminate_group::<on_reactors::OnAsyncIo>,
    ),
    #[cfg(feature = "async-io")]
    (
        "async-io: Capture",
        on_reactors::capture::<on_reactors::OnAsyncIo>,
    ),
    #[cfg(feature = "async-io")]
    (
        "async-io: Capture with a timeout",
        on_reactors::capture_timeout::<on_reactors::OnAsyncIo>,
    ),
];

/// Whether the kernel, libc or a sandbox could fail in this way, and std or the runtime survives it.
pub(crate) fn is_possible(flow: &str, function: &str, errno: i32) -> bool {
    match function {
        // tokio panics.
        "epoll_wait" if flow.starts_with("tokio") => errno == EINTR,
        "write" if flow.starts_with("tokio") => false,
        // async-io panics.
        "pthread_create" if flow.starts_with("async-io") => false,
        "futex" => matches!(errno, EINTR | EAGAIN),
        // std panics, or falls back to a file that it keeps open.
        "getrandom" => errno == EINTR,
        // An edge-triggered reactor would wait for an edge that has been.
        "read" | "readv" | "recv" | "write" | "writev" => errno != EAGAIN || !is_async(flow),
        _ => true,
    }
}

fn is_async(flow: &str) -> bool {
    flow.starts_with("tokio") || flow.starts_with("async-io")
}

/// Runs calls of which one may fail.
fn during<T>(call: impl FnOnce() -> T) -> T {
    libc::arm();
    let result = call();
    libc::disarm();
    result
}

/// The value, or `None` after the error that was injected.
#[track_caller]
fn unless_fault<T: Debug>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let fault = libc::fired();
            let is_expected =
                error.raw_os_error() == fault || error.kind() == io::ErrorKind::Unsupported;
            assert!(fault.is_some() && is_expected, "{error:?}");
            None
        }
    }
}

/// Asserts that the status was returned, or that a wait still returns it.
#[track_caller]
fn settle(handle: &PidHandle, returned: Option<ExitStatus>) {
    let status = returned.unwrap_or_else(|| {
        handle.kill().expect("it is not reaped");
        handle.wait().expect("the status is not lost")
    });
    assert_right(status);
    assert_eq!(errno(handle.wait()), nix::libc::ECHILD);
}

#[track_caller]
fn assert_right(status: ExitStatus) {
    let killed = std::os::unix::process::ExitStatusExt::signal(&status);
    assert!(status.code() == Some(3) || killed.is_some(), "{status}");
}

/// A command without a `pre_exec`, after which std forks and panics where that fails.
fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    // What is left of a failed run would keep the pipes of the test open.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn exits_soon() -> Child {
    sh("sleep 0.02; exit 3").spawn().expect("sh starts")
}

fn sleeper() -> Child {
    sh("exec sleep 60").spawn().expect("sh starts")
}

/// By PID, if the fault has hit the probe for pidfds.
fn open(child: &Child) -> PidHandle {
    PidHandle::open(child.id())
        .or_else(|_| PidHandle::open_with(child.id(), Backend::Waitpid))
        .expect("open")
}

const SECONDS: Duration = Duration::from_secs(20);
/// If the first signal fails, a flow waits this long before the second.
const GRACE: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_millis(5);

fn wait() {
    let handle = open(&exits_soon());
    let result = during(|| handle.wait());
    settle(&handle, unless_fault(result));
}

fn wait_timeout() {
    let child = exits_soon();
    let result = during(|| PidHandle::open(child.id())?.wait_timeout(SECONDS));
    match unless_fault(result) {
        Some(status) => assert_right(status.expect("it has exited")),
        None => settle(&open(&child), None),
    }
}

fn wait_timeout_of_a_sleeper() {
    let handle = open(&sleeper());
    let result = during(|| handle.wait_timeout(SHORT));
    assert_eq!(unless_fault(result).flatten(), None);
    settle(&handle, None);
}

fn wait_deadline() {
    let handle = open(&exits_soon());
    let result = during(|| {
        if let Some(status) = handle.try_wait()? {
            return Ok(Some(status));
        }
        handle.wait_deadline(Instant::now() + SECONDS)
    });
    settle(
        &handle,
        unless_fault(result).map(|status| status.expect("it has exited")),
    );
}

fn wait_shared() {
    let handle = open(&exits_soon());
    let results = during(|| {
        thread::scope(|scope| {
            let other = thread::Builder::new().spawn_scoped(scope, || handle.wait_shared());
            let own = handle.wait_shared_timeout(SECONDS);
            let other = other.map(|other| other.join().expect("no panic"));
            [
                own.map(|it| it.expect("it has exited")),
                other.and_then(|it| it),
            ]
        })
    });
    let [own, other] = results.map(unless_fault);
    if let Some(status) = own.or(other) {
        assert_right(status);
        assert_eq!(handle.wait_shared().expect("it is stored"), status);
    } else {
        settle(&handle, None);
    }
}

fn wait_usage() {
    let handle = open(&exits_soon());
    let result = during(|| handle.wait_usage());
    settle(&handle, unless_fault(result).map(|(status, _)| status));
}

fn wait_exited() {
    let handle = open(&exits_soon());
    let result = during(|| handle.wait_exited());
    if unless_fault(result).is_some() {
        assert!(
            handle.has_exited().expect("no fault"),
            "it was reported too early"
        );
        assert!(handle.exit_status().is_some());
        let status = handle.try_wait().expect("nothing was reaped");
        assert_right(status.expect("it has exited"));
    } else {
        settle(&handle, None);
    }
}

fn wait_exited_of_a_non_child() {
    let mut non_child = NonChild::new();
    let handle = PidHandle::open(non_child.pid).expect("open");
    let result = during(|| {
        assert!(!handle.wait_exited_timeout(SHORT)?, "it runs");
        non_child.let_exit();
        handle.wait_exited_timeout(SECONDS)
    });
    assert_ne!(unless_fault(result), Some(false), "it has exited");
    assert_eq!(non_child.finish(), Some(7));
    assert!(handle.wait_exited_timeout(SECONDS).expect("no fault"));
}

fn signal() {
    let handle = open(&sleeper());
    let result = during(|| handle.signal(SIGTERM));
    unless_fault(result);
    settle(&handle, None);
}

fn terminate() {
    let script = "trap '' TERM; while :; do sleep 0.01; done";
    let handle = open(&sh(script).spawn().expect("sh starts"));
    let result = during(|| handle.terminate(SHORT));
    settle(&handle, unless_fault(result));
}

fn terminate_unreaped() {
    let handle = open(&sleeper());
    let result = during(|| handle.terminate_unreaped(GRACE));
    if unless_fault(result).is_some() {
        assert!(handle.has_exited().expect("no fault"), "it runs");
    }
    settle(&handle, None);
}

fn terminate_unreaped_non_child() {
    let mut non_child = NonChild::new();
    let handle = PidHandle::open(non_child.pid).expect("open");
    let result = during(|| handle.terminate_unreaped(SECONDS));
    let is_ended = unless_fault(result).is_some();
    let code = non_child.finish();
    assert!(!is_ended || code == Some(128 + SIGTERM), "{code:?}");
}

fn terminate_in_background() {
    let handle = open(&sleeper());
    let result = during(|| {
        handle.terminate_in_background(GRACE)?;
        handle.wait_shared_timeout(SECONDS)
    });
    match unless_fault(result) {
        Some(status) => assert_right(status.expect("it was ended")),
        None => {
            let _ = handle.kill(); // ECHILD, if it was reaped.
            handle.reap_in_background();
            await_reaped(&handle);
        }
    }
}

fn reap_in_background() {
    let handle = open(&exits_soon());
    during(|| {
        handle.reap_in_background();
        observe(|| await_exit(handle.id()));
    });
    await_reaped(&handle);
}

/// Returns some time after the exit, in which the background thread reaps, if nothing fails.
fn await_exit(pid: u32) {
    eventually("it exits", || {
        state_of(pid).map_or(true, |state| state == 'Z')
    });
    thread::sleep(SHORT);
}

/// Asserts that the background thread reaps it. If that could not be started, the next call for any child
/// starts it.
fn await_reaped(handle: &PidHandle) {
    reap_one_in_background();
    await_gone(handle.id());
    assert_right(handle.wait_shared().expect("the status is not lost"));
}

pub(crate) fn reap_one_in_background() {
    // It runs at the call, which would reap it otherwise.
    let handle = open(&sleeper());
    handle.reap_in_background();
    handle.kill().expect("it runs");
    await_gone(handle.id());
}

fn spawn() {
    let mut command = sh("cat; exit 3");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.process_group(0);
    let result = during(|| PidHandle::spawn(&mut command));
    if let Some(mut spawned) = unless_fault(result) {
        drop(spawned.stdin.take());
        let status = spawned.handle.wait().expect("no fault");
        assert_eq!(status.code(), Some(3));
        drop(spawned.group);
        await_gone(spawned.handle.id());
    }
}

fn from_children() {
    let (zombie, running) = (zombie("exit 3"), sleeper());
    let [zombie, running] = during(|| [Spawned::from(zombie), Spawned::from(running)]);
    settle(&running.handle, None);
    let status = zombie.handle.wait().expect("the status is not lost");
    assert_eq!(status.code(), Some(3));
}

fn exit_fd() {
    let handle = open(&exits_soon());
    let result = during(|| {
        let fd = handle.exit_fd()?;
        observe(|| {
            assert!(readable(&fd, LONG), "it has exited");
            assert_eq!(
                state_of(handle.id()),
                Some('Z'),
                "it was reported too early"
            );
        });
        handle.try_wait()
    });
    settle(
        &handle,
        unless_fault(result).map(|status| status.expect("it has exited")),
    );
}

fn exit_fd_of_a_non_child() {
    let mut non_child = NonChild::new();
    let handle = PidHandle::open(non_child.pid).expect("open");
    let result = during(|| {
        let fd = handle.exit_fd()?;
        observe(|| assert!(!readable(&fd, 3), "it runs"));
        Ok(fd)
    });
    let fd = unless_fault(result.map(Some)).flatten();
    assert_eq!(non_child.finish(), Some(7));
    if let Some(fd) = fd {
        assert!(readable(&fd, LONG), "it has exited");
    }
    handle.wait_exited().expect("no fault");
}

/// A leader with a member, which both run until they are killed.
fn group() -> ProcessGroup {
    let mut command = sh("sleep 60 & exec sleep 60");
    let child = command.process_group(0).spawn().expect("sh starts");
    let group = open(&child).process_group().expect("it leads a group");
    eventually("it has a member", || {
        group.members().expect("/proc").len() == 2
    });
    group
}

#[track_caller]
fn settle_group(group: ProcessGroup, returned: Option<ExitStatus>) {
    if returned.is_some() {
        assert!(group.has_exited().expect("no fault"), "a member is alive");
    }
    group.kill().expect("kill");
    group.wait_exited().expect("no fault");
    let leader = group.leader().clone();
    assert_right(leader.wait_shared().expect("the status is not lost"));
    drop(group);
    // If the end was left to the background.
    await_gone(leader.id());
}

fn group_signal() {
    let group = group();
    let result = during(|| {
        group.signal(SIGTERM)?;
        group.wait_exited()
    });
    if unless_fault(result).is_some() {
        assert!(group.has_exited().expect("no fault"));
    }
    settle_group(group, None);
}

fn group_members() {
    let group = group();
    let result = during(|| Ok((group.members()?, group.has_exited()?)));
    if let Some((members, has_exited)) = unless_fault(result) {
        assert!(!has_exited && members.contains(&group.id()), "{members:?}");
    }
    settle_group(group, None);
}

fn group_wait_timeout() {
    let group = group();
    let result = during(|| group.wait_exited_timeout(SHORT));
    assert_ne!(unless_fault(result), Some(true), "it runs");
    settle_group(group, None);
}

fn group_terminate() {
    let group = group();
    let result = during(|| group.terminate(GRACE));
    settle_group(group, unless_fault(result));
}

fn group_terminate_unreaped() {
    let group = group();
    let result = during(|| group.terminate_unreaped(GRACE));
    if unless_fault(result).is_some() {
        assert!(group.has_exited().expect("no fault"));
    }
    settle_group(group, None);
}

fn group_terminate_in_background() {
    let group = group();
    let leader = group.leader().clone();
    let result = during(|| {
        group.terminate_in_background(GRACE)?;
        leader.wait_shared_timeout(SECONDS)
    });
    if let Some(status) = unless_fault(result) {
        assert_right(status.expect("it was ended"));
        eventually("all are gone", || group.has_exited().expect("no fault"));
    }
    settle_group(group, None);
}

fn group_wait_then_terminate() {
    let mut command = sh("sleep 60 & exit 3");
    let child = command.process_group(0).spawn().expect("sh starts");
    let spawned = during(|| Spawned::from(child));
    // `None`, if it exited before, or if its group could not be looked up.
    let Some(group) = spawned.group else {
        let status = spawned.handle.wait().expect("the status is not lost");
        return assert_right(status);
    };
    let waited = unless_fault(during(|| spawned.handle.wait()));
    let ended = unless_fault(during(|| group.terminate(GRACE)));
    let status = waited.or(ended);
    if waited.is_none() || ended.is_none() {
        assert_eq!(group.terminate(GRACE).ok(), status.or(waited).or(ended));
    }
    settle_group(group, ended);
}

/// Asserts that std has the status, or gets it now.
#[track_caller]
fn collect(mut child: Child) {
    child.kill().expect("std kills");
    assert_right(child.wait().expect("the status is not lost"));
}

fn child_waits() {
    let mut child = exits_soon();
    let result = during(|| {
        if let Some(status) = child.pidfd_try_wait()? {
            return Ok(status);
        }
        if child.pidfd_wait_exited_timeout(SHORT)? {
            return child.pidfd_wait();
        }
        match child.pidfd_wait_timeout(Duration::from_millis(10))? {
            Some(status) => Ok(status),
            None => child.pidfd_wait(),
        }
    });
    if let Some(status) = unless_fault(result) {
        assert_right(status);
    }
    collect(child);
}

fn child_usage() {
    let mut child = exits_soon();
    let result = during(|| child.pidfd_wait_usage());
    if let Some((status, _)) = unless_fault(result) {
        assert_right(status);
    }
    collect(child);
}

fn child_terminate() {
    let mut child = sleeper();
    let result = during(|| {
        child.pidfd_signal(0)?;
        child.pidfd_terminate(GRACE)
    });
    if let Some(status) = unless_fault(result) {
        assert_right(status);
    }
    collect(child);
}

fn child_terminate_group() {
    let mut command = sh("sleep 60 & exec sleep 60");
    let mut child = command.process_group(0).spawn().expect("sh starts");
    let result = during(|| child.pidfd_terminate_process_group(GRACE));
    match unless_fault(result) {
        Some(status) => assert_right(status),
        None => drop(
            child
                .pidfd_terminate_process_group(GRACE)
                .expect("no fault"),
        ),
    }
    collect(child);
}

fn with_output(script: &str) -> Command {
    let mut command = sh(script);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn child_output() {
    let mut child = with_output("echo out; exit 3").spawn().expect("sh starts");
    let result = during(|| child.pidfd_output_timeout(SECONDS));
    if let Some(captured) = unless_fault(result.map_err(io::Error::from)) {
        assert_eq!(captured.stdout, b"out\n");
        assert_right(captured.status.expect("it has exited"));
    }
    assert_blocking(&child.stdout);
    assert_blocking(&child.stderr);
    collect(child);
}

#[track_caller]
fn assert_blocking(pipe: &Option<impl std::os::fd::AsRawFd>) {
    assert!(
        pipe.as_ref().map_or(true, is_blocking),
        "a pipe is left in non-blocking mode"
    );
}

fn child_background() {
    let child = exits_soon();
    let pid = child.id();
    during(|| {
        child.pidfd_reap_in_background();
        observe(|| await_exit(pid));
    });
    // If the thread could not be started, the next call starts it.
    reap_one_in_background();
    await_gone(pid);
}

fn wait_set() {
    let children = [exits_soon(), exits_soon(), exits_soon()];
    let mut handles: Vec<PidHandle> = children.iter().map(open).collect();
    let mut set = during(WaitSet::new).unwrap_or_else(|error| {
        unless_fault::<()>(Err(error));
        WaitSet::new().expect("no fault")
    });
    let mut reported = Vec::new();
    let result = during(|| {
        for handle in &handles {
            set.insert(handle.clone(), ())
                .map_err(|rejected| rejected.error)?;
        }
        while let Some(exited) = set.wait_timeout(SECONDS)? {
            reported.push(exited.status);
        }
        Ok(())
    });
    let inserted = set.len() + reported.len();
    unless_fault(result);
    while let Some(exited) = set.wait().expect("no fault") {
        reported.push(exited.status);
    }
    assert_eq!(reported.len(), inserted, "each is reported once");
    reported
        .into_iter()
        .for_each(|status| assert_right(status.expect("it is a child")));
    for handle in handles.drain(inserted..) {
        settle(&handle, None);
    }
}

fn wait_set_of_non_children() {
    let mut non_children = [NonChild::new(), NonChild::new()];
    let handles = [0, 1].map(|it| PidHandle::open(non_children[it].pid).expect("open"));
    let mut set = WaitSet::new().expect("no fault");
    let mut reported = 0;
    let result = during(|| {
        for handle in &handles {
            set.insert(handle.clone(), ())
                .map_err(|rejected| rejected.error)?;
        }
        assert!(set.wait_timeout(SHORT)?.is_none(), "they run");
        non_children[0].let_exit();
        reported += usize::from(set.wait_timeout(SECONDS)?.is_some());
        Ok(())
    });
    let inserted = set.len() + reported;
    unless_fault(result);
    non_children
        .iter_mut()
        .for_each(|it| assert_eq!(it.finish(), Some(7)));
    while set.wait().expect("no fault").is_some() {
        reported += 1;
    }
    assert_eq!(reported, inserted, "each is reported once");
}

fn kill_on_drop() {
    let handle = open(&sleeper());
    during(|| drop(KillOnDrop::new(handle.clone())));
    await_killed(&handle);
}

fn kill_group_on_drop() {
    let group = group();
    let leader = group.leader().clone();
    let other = group.clone();
    during(|| drop(KillOnDrop::with_escalation(group, GRACE)));
    await_killed(&leader);
    settle_group(other, None);
}

/// A drop returns no error. After one, the process may run on.
fn await_killed(handle: &PidHandle) {
    if libc::fired().is_some() {
        let _ = handle.kill();
        handle.reap_in_background();
    }
    eventually("it is killed", || handle.exit_status().is_some());
    assert_right(handle.wait_shared().expect("the status is not lost"));
}

fn identity() {
    let handle = open(&sleeper());
    let result = during(|| {
        let identity = handle.identity()?;
        PidHandle::open_identity(&identity)?.signal(0)
    });
    unless_fault(result);
    settle(&handle, None);
}

fn orphans() {
    let own = open(&zombie("exit 3"));
    let other = zombie("exit 4").id();
    let result = during(|| reap_orphans(|pid| pid == own.id()));
    let reaped = unless_fault(result).unwrap_or(0);
    assert!(reaped == 1 || reap_orphans(|pid| pid == own.id()).is_ok());
    assert_eq!(state_of(other), None, "it is reaped");
    settle(&own, None);
}

fn capture_output() {
    let mut command = with_output("echo out; echo err >&2; exit 3");
    let result = during(|| Capture::new().timeout(SECONDS).output(&mut command));
    if let Some(captured) = unless_fault(result.map_err(io::Error::from)) {
        assert_eq!(
            (&captured.stdout[..], &captured.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_right(captured.status.expect("it has exited"));
    }
    eventually("the child is reaped", || !has_other_children());
}

fn capture_run() {
    let mut command = sh("cat; exit 3");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut spawned = PidHandle::spawn(&mut command).expect("no fault");
    let input = vec![b'x'; 100_000];
    let capture = Capture::new().timeout(SECONDS).input(input.clone());
    let result = during(|| capture.run(&mut spawned));
    let captured = unless_fault(result.map_err(io::Error::from));
    if let Some(captured) = &captured {
        assert!(captured.stdout == input, "{} bytes", captured.stdout.len());
    }
    assert_blocking(&spawned.stdin);
    assert_blocking(&spawned.stdout);
    settle(&spawned.handle, captured.and_then(|it| it.status));
}

fn capture_timeout() {
    let mut command = with_output("sleep 60 & exec sleep 60");
    command.process_group(0);
    let mut spawned = PidHandle::spawn(&mut command).expect("no fault");
    let group = spawned.group.take().expect("it leads a group");
    let capture = Capture::new().timeout(SHORT).terminate_on_timeout(GRACE);
    let result = during(|| capture.run(&mut spawned));
    if let Some(captured) = unless_fault(result.map_err(io::Error::from)) {
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
        assert_right(captured.status.expect("it was ended"));
        assert!(group.has_exited().expect("no fault"), "a member is alive");
    }
    assert_blocking(&spawned.stdout);
    settle_group(group, None);
}

fn capture_until() {
    let mut spawned = PidHandle::spawn(&mut with_output("echo ready; exec sleep 60")).expect("sh");
    let capture = Capture::new().timeout(SECONDS);
    let result = during(|| capture.run_until(&mut spawned, |out, _| out.ends_with(b"ready\n")));
    if let Some(captured) = unless_fault(result.map_err(io::Error::from)) {
        assert_eq!(captured.stopped_by, Some(StoppedBy::Condition));
        assert!(spawned.stdout.is_some());
    }
    assert_blocking(&spawned.stdout);
    settle(&spawned.handle, None);
}

/// Whether there is a child besides the two bystanders.
fn has_other_children() -> bool {
    let own = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    let children = std::fs::read_to_string(own).expect("/proc");
    children.split_whitespace().count() > 2
}
