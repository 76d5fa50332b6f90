//! Temporary lack of file descriptors. A process for each test: all threads share the descriptor table
//! and the result of the probe.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::isolated::{current_part, run_isolated};
use crate::common::smoke::check_core_calls;
use crate::common::{
    descriptor_limit, duplicate_from, errno, exhaust_descriptors, ignoring_sigterm,
    limit_descriptors, pidfds_supported, set_descriptor_limit, shell, sleeper, zombie, NonChild,
};
use nix::libc::{self, ECHILD, EMFILE, SIGKILL, SIGTERM};
use pidwait::{support, Backend, Capture, ChildExt, PidHandle, Spawned, StoppedBy, WaitSet};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

/// Runs the calling test in a separate process, with pidfds and without PIDWAIT_BACKEND. Returns true
/// in that process.
fn isolated_with_pidfds(test: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    if pidfds_supported() {
        run_isolated(test, "alone", |command| {
            command.env_remove("PIDWAIT_BACKEND");
        });
    }
    false
}

/// docs/contract.md, backend selection: only a definite result is kept. When the first probe fails,
/// `support` and `open` return EMFILE. A later probe finds pidfds, and that result is kept. (Go keeps
/// the first result, whatever it is.)
#[test]
fn emfile_in_the_probe_is_not_kept() {
    if !isolated_with_pidfds("fd_exhausted::emfile_in_the_probe_is_not_kept") {
        return;
    }
    let child = sleeper();
    let non_child = NonChild::new();
    let files = exhaust_descriptors();
    for _ in 0..2 {
        assert_eq!(errno(support()), EMFILE);
        assert_eq!(errno(PidHandle::open(non_child.pid)), EMFILE);
        let explicit = PidHandle::open_with(child.id(), Backend::Pidfd);
        assert_eq!(errno(explicit), EMFILE);
    }
    drop(files);
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    assert_eq!(support().unwrap().missing(), None);
    check_core_calls(Backend::Pidfd);

    // The result stays even when descriptors run out again.
    let _files = exhaust_descriptors();
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
    assert_eq!(errno(PidHandle::open(non_child.pid)), EMFILE);
}

/// A child keeps its PID until it is reaped, so it can be opened by PID as well.
#[test]
fn own_child_is_opened_by_pid_without_descriptors() {
    if !isolated_with_pidfds("fd_exhausted::own_child_is_opened_by_pid_without_descriptors") {
        return;
    }
    let children = [sleeper(), zombie("exit 3")];
    let non_child = NonChild::new();
    for is_probed in [false, true] {
        let files = exhaust_descriptors();
        for child in &children {
            let handle = PidHandle::open(child.id()).unwrap();
            assert_eq!(handle.backend(), Backend::Waitpid);
            handle.signal(0).unwrap();
            let explicit = PidHandle::open_with(child.id(), Backend::Pidfd);
            assert_eq!(errno(explicit), EMFILE);
        }
        assert_eq!(errno(PidHandle::open(non_child.pid)), EMFILE);
        drop(files);
        if !is_probed {
            assert_eq!(support().unwrap().backend(), Backend::Pidfd);
        }
    }
    let files = exhaust_descriptors();
    let [running, exited] = children.map(|child| PidHandle::open(child.id()).unwrap());
    running.kill().unwrap();
    assert_eq!(running.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(exited.wait().unwrap().code(), Some(3));
    drop(files);
}

/// With PIDWAIT_BACKEND=pidfd a probe that runs out of descriptors fails with EMFILE, not with
/// `Unsupported`, which would be definite.
#[test]
fn emfile_in_a_required_probe_is_not_unsupported() {
    const TEST: &str = "fd_exhausted::emfile_in_a_required_probe_is_not_unsupported";
    if current_part().is_none() {
        if pidfds_supported() {
            run_isolated(TEST, "alone", |command| {
                command.env("PIDWAIT_BACKEND", "pidfd");
            });
        }
        return;
    }
    let files = exhaust_descriptors();
    assert_eq!(errno(support()), EMFILE);
    drop(files);
    assert_eq!(support().unwrap().backend(), Backend::Pidfd);
}

/// docs/contract.md, backend selection: without descriptors `From<Child>` makes a handle with the
/// waitpid backend, before and after the probe. `ChildExt` falls back, too.
#[test]
fn children_fall_back_to_waitpid() {
    if !isolated_with_pidfds("fd_exhausted::children_fall_back_to_waitpid") {
        return;
    }
    let use_children_without_descriptors = || {
        let (running, mut running_child) = (sleeper(), sleeper());
        let (exited, mut zombie_child) = (zombie("exit 3"), zombie("exit 3"));
        let mut reaped = zombie("exit 3");
        reaped.wait().unwrap();
        let _files = exhaust_descriptors();

        let handle = Spawned::from(running).handle;
        assert_eq!(handle.backend(), Backend::Waitpid);
        assert_eq!(handle.try_wait().unwrap(), None);
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(errno(handle.wait()), ECHILD);

        let handle = Spawned::from(exited).handle;
        handle.kill().unwrap();
        assert_eq!(handle.wait().unwrap().code(), Some(3));
        assert_eq!(errno(Spawned::from(reaped).handle.wait()), ECHILD);

        assert_eq!(running_child.pidfd_try_wait().unwrap(), None);
        running_child.pidfd_signal(SIGKILL).unwrap();
        assert_eq!(running_child.pidfd_wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(zombie_child.pidfd_wait().unwrap().code(), Some(3));
        for mut child in [running_child, zombie_child] {
            assert_eq!(errno(child.pidfd_wait()), ECHILD);
            assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
        }
    };
    use_children_without_descriptors();
    check_core_calls(Backend::Pidfd);
    use_children_without_descriptors();
    check_core_calls(Backend::Pidfd);
}

/// docs/contract.md, backend selection: so does `spawn`, before and after the probe. std needs no
/// descriptor to spawn a plain command.
#[test]
fn spawned_children_fall_back_to_waitpid() {
    if !isolated_with_pidfds("fd_exhausted::spawned_children_fall_back_to_waitpid") {
        return;
    }
    // Without `pre_exec`, for which std would need a pipe.
    let (mut sleep, mut exit) = (Command::new("sleep"), Command::new("sh"));
    sleep.arg("600");
    exit.args(["-c", "exit 3"]);
    let mut spawn_without_descriptors = || {
        let files = exhaust_descriptors();
        let running = PidHandle::spawn(&mut sleep).unwrap().handle;
        let exits = PidHandle::spawn(&mut exit).unwrap().handle;
        drop(files);
        assert_eq!(running.backend(), Backend::Waitpid);
        assert_eq!(exits.backend(), Backend::Waitpid);
        assert_eq!(running.try_wait().unwrap(), None);
        running.kill().unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(SIGKILL));
        let (status, usage) = exits.wait_usage().unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(usage.max_rss > 4096);
    };
    spawn_without_descriptors();
    let child = PidHandle::spawn(&mut Command::new("true")).unwrap().handle;
    assert_eq!(child.backend(), Backend::Pidfd, "of those handles alone");
    assert!(child.wait().unwrap().success());
    spawn_without_descriptors();
}

/// The waitpid backend needs no descriptor.
#[test]
fn waitpid_handles_need_no_descriptor() {
    if !isolated_with_pidfds("fd_exhausted::waitpid_handles_need_no_descriptor") {
        return;
    }
    let child = sleeper();
    let _files = exhaust_descriptors();
    let handle = PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    assert_eq!(handle.try_wait().unwrap(), None);
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}

/// Without a pidfd a capture checks for the exit repeatedly.
#[test]
fn capture_needs_no_descriptor() {
    if !isolated_with_pidfds("fd_exhausted::capture_needs_no_descriptor") {
        return;
    }
    let piped = |script| {
        let mut command = shell(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    support().unwrap();
    for _ in 0..2 {
        let mut child = piped("cat; exec sleep 600").spawn().unwrap();
        let mut spawned = PidHandle::spawn(&mut piped("cat; exit 3")).unwrap();
        let mut command = piped("exit 3");
        let files = exhaust_descriptors();
        let capture = Capture::new().input("in");
        let captured = capture.run(&mut spawned).unwrap();
        assert_eq!(captured.stdout, b"in");
        assert_eq!(captured.status.unwrap().code(), Some(3));
        let capture = capture.timeout(Duration::from_millis(100));
        let captured = capture
            .terminate_on_timeout(Duration::MAX)
            .run(&mut child)
            .unwrap();
        assert_eq!(captured.stopped_by, Some(StoppedBy::Timeout));
        assert_eq!(captured.status.unwrap().signal(), Some(SIGTERM));
        let none_left = Capture::new().output(&mut command).unwrap_err();
        assert_eq!(none_left.error.raw_os_error(), Some(EMFILE));
        drop(files);
    }
}

/// The start time tells a non-child from a later process of its PID. Where it cannot be read for lack
/// of a descriptor, no handle is made without it, and no signal is sent.
#[cfg(target_os = "linux")]
#[test]
fn waitpid_handle_of_a_non_child_sends_nothing_without_descriptors() {
    use crate::common::pid_namespace::{in_pid_namespace, ForeignReusedPid};

    if !in_pid_namespace(
        "fd_exhausted::waitpid_handle_of_a_non_child_sends_nothing_without_descriptors",
    ) {
        return;
    }
    let mut non_child = crate::common::NonChild::new();
    let handle = PidHandle::open_with(non_child.pid, Backend::Waitpid).unwrap();
    let identity = handle.identity().unwrap();
    let files = exhaust_descriptors();
    let opened = PidHandle::open_with(non_child.pid, Backend::Waitpid);
    assert_eq!(errno(opened), EMFILE);
    assert_eq!(errno(PidHandle::open_identity(&identity)), EMFILE);
    assert_eq!(errno(handle.signal(0)), EMFILE);
    assert_eq!(errno(handle.process_group()), EMFILE);
    // Waits check again, so that a temporary lack does not end them.
    assert!(!handle.has_exited().unwrap());
    let short = Duration::from_millis(1);
    assert!(!handle.wait_exited_timeout(short).unwrap());
    drop(files);
    handle.signal(0).unwrap();

    non_child.finish();
    let reused = ForeignReusedPid::with_pid(non_child.pid);
    let files = exhaust_descriptors();
    assert_eq!(errno(handle.kill()), EMFILE);
    drop(files);
    assert_eq!(errno(handle.kill()), ECHILD);
    assert!(handle.has_exited().unwrap());
    reused.assert_untouched();
}

/// With a limit of 0 `poll` fails with EINVAL for any descriptor.
#[test]
fn waits_work_with_a_limit_of_no_descriptors() {
    if !isolated_with_pidfds("fd_exhausted::waits_work_with_a_limit_of_no_descriptors") {
        return;
    }
    for backend in [Backend::Pidfd, Backend::Waitpid] {
        let handle = PidHandle::open_with(ignoring_sigterm().id(), backend).unwrap();
        let _exit = handle.exit_fd().unwrap(); // By PID this starts the watcher.
        let mut set = WaitSet::new().unwrap();
        set.insert(handle.clone(), ()).unwrap();
        let child = PidHandle::open_with(sleeper().id(), backend).unwrap();
        set.insert(child.clone(), ()).unwrap();
        with_limit(0, || {
            assert!(!handle.has_exited().unwrap());
            assert!(handle.wait_timeout(SHORT).unwrap().is_none());
            assert!(!handle.wait_exited_timeout(SHORT).unwrap());
            assert!(set.wait_timeout(SHORT).unwrap().is_none());
            let status = handle.terminate(SHORT).unwrap();
            assert_eq!(status.signal(), Some(SIGKILL));
            child.kill().unwrap();
            assert!(child.wait_exited_timeout(LONG).unwrap());
            for _ in 0..2 {
                let exited = set.wait_timeout(LONG).unwrap().unwrap();
                assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
            }
        });
    }
}

/// The descriptor's number is higher than those of an `fd_set`.
#[test]
fn high_descriptor_is_waited_for_with_a_limit_of_no_descriptors() {
    if !isolated_with_pidfds(
        "fd_exhausted::high_descriptor_is_waited_for_with_a_limit_of_no_descriptors",
    ) {
        return;
    }
    let child = sleeper();
    let low = PidHandle::open(child.id()).unwrap();
    let low = low.try_clone_pidfd().unwrap();
    limit_descriptors(4_000);
    let high = duplicate_from(&low, 3_000);
    let handle = PidHandle::from_pidfd(high).unwrap();
    drop(low);
    with_limit(0, || {
        assert!(handle.wait_timeout(SHORT).unwrap().is_none());
        handle.kill().unwrap();
        assert!(handle.wait_timeout(LONG).unwrap().is_some());
    });
}

/// A limit of one descriptor, and three to poll.
#[test]
fn capture_works_with_a_limit_below_its_descriptors() {
    if !isolated_with_pidfds("fd_exhausted::capture_works_with_a_limit_below_its_descriptors") {
        return;
    }
    for limit in [0, 1] {
        let mut command = shell("read line; echo \"$line\"; echo err >&2; exit 3");
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = PidHandle::spawn(&mut command).unwrap();
        let capture = Capture::new().timeout(LONG).input(*b"in\n");
        let captured = with_limit(limit, || capture.run(&mut child).unwrap());
        assert_eq!(captured.status.and_then(|status| status.code()), Some(3));
        assert_eq!(captured.stdout, b"in\n");
        assert_eq!(captured.stderr, b"err\n");
    }
}

/// Runs with a limit on descriptors, and restores the old one.
fn with_limit<T>(most: libc::rlim_t, run: impl FnOnce() -> T) -> T {
    let before = descriptor_limit();
    limit_descriptors(most);
    let result = run();
    set_descriptor_limit(before).unwrap();
    result
}
