//! `ChildExt`, and handles made from a `Child`.

use std::process::{Child, Command, ExitStatus, Stdio};

use nix::libc;
use pidwait::{Backend, Capture, ChildExt, PidHandle, Spawned};

use crate::common::{self, with_piped_stdout};
use crate::{settle, unless_emfile};
use crate::{Case, Emfile, LONG, SHORT};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("spawn", |emfile, backend| {
        // Without `pre_exec`, so that std forks by `posix_spawn`; otherwise it panics when it cannot
        // read the child's report.
        spawned(emfile, backend, Command::new("sh").args(["-c", "exit 3"]));
    }),
    ("spawn, all pipes", |emfile, backend| {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exit 3"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        spawned(emfile, backend, command.stderr(Stdio::piped()));
    }),
    ("From<Child>, zombie", |emfile, backend| {
        converted(emfile, backend, common::zombie("exit 3"));
    }),
    ("From<Child>, running", |emfile, backend| {
        converted(emfile, backend, common::sleeper());
    }),
    ("pidfd_wait", |emfile, _| {
        let mut child = common::zombie("exit 3");
        unless_emfile(emfile.during(|| child.pidfd_wait()));
        collect(child);
    }),
    ("pidfd_try_wait", |emfile, _| {
        let mut child = common::zombie("exit 3");
        let result = emfile.during(|| child.pidfd_try_wait());
        assert_ne!(unless_emfile(result), Some(None));
        collect(child);
    }),
    ("pidfd_wait_timeout, zombie", |emfile, _| {
        let mut child = common::zombie("exit 3");
        let result = emfile.during(|| child.pidfd_wait_timeout(LONG));
        assert_ne!(unless_emfile(result), Some(None));
        collect(child);
    }),
    ("pidfd_wait_timeout, running", |emfile, _| {
        let mut child = common::sleeper();
        let result = emfile.during(|| child.pidfd_wait_timeout(SHORT));
        assert_eq!(unless_emfile(result).flatten(), None);
        collect(child);
    }),
    ("pidfd_signal", |emfile, _| {
        let child = common::sleeper();
        unless_emfile(emfile.during(|| child.pidfd_signal(libc::SIGTERM)));
        collect(child);
    }),
    ("pidfd_terminate, running", |emfile, _| {
        let mut child = common::sleeper();
        unless_emfile(emfile.during(|| child.pidfd_terminate(LONG)));
        collect(child);
    }),
    ("pidfd_release", |emfile, _| {
        let child = common::zombie("exit 3");
        let pid = child.id();
        emfile.during(|| child.pidfd_release()).expect("release");
        common::reap_externally(pid);
    }),
    ("pidfd_output_timeout, zombie", |emfile, _| {
        let mut child = with_piped_stdout("printf out; exit 3");
        common::await_zombie(child.id());
        let result = emfile.during(|| child.pidfd_output_timeout(LONG));
        if let Some(captured) = unless_emfile(result.map_err(Into::into)) {
            assert_eq!(captured.stdout, b"out");
            assert_eq!(captured.status.and_then(|status| status.code()), Some(3));
        }
        collect(child);
    }),
    ("pidfd_output_timeout, running", |emfile, _| {
        let mut child = with_piped_stdout("exec sleep 600");
        let result = emfile.during(|| child.pidfd_output_timeout(SHORT));
        if let Some(captured) = unless_emfile(result.map_err(Into::into)) {
            assert!(captured.stopped_by.is_some() && captured.status.is_none());
        }
        assert!(child.stdout.is_some(), "the child keeps its pipe");
        collect(child);
    }),
    ("Capture::run of a Spawned, with input", |emfile, _| {
        let mut command = common::shell("cat; exit 3");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut spawned = PidHandle::spawn(&mut command).expect("sh starts");
        let capture = Capture::new().input("in").terminate_on_timeout(LONG);
        let result = emfile.during(|| capture.run(&mut spawned));
        let captured = unless_emfile(result.map_err(Into::into));
        if let Some(captured) = &captured {
            assert_eq!(captured.stdout, b"in");
        }
        settle(
            &spawned.handle,
            captured.and_then(|captured| captured.status),
        );
    }),
];

/// An error leaves no child behind. If no pidfd can be opened, the handle falls back.
fn spawned(emfile: &Emfile, backend: Backend, command: &mut Command) {
    let result = emfile.during(|| PidHandle::spawn(command));
    let Some(spawned) = unless_emfile(result) else {
        assert!(common::has_no_children());
        return;
    };
    settle_on(&spawned.handle, emfile, backend);
}

fn converted(emfile: &Emfile, backend: Backend, child: Child) {
    let handle = emfile.during(|| Spawned::from(child).handle);
    settle_on(&handle, emfile, backend);
}

/// Asserts that the handle uses the backend, or falls back if no pidfd could be opened.
#[track_caller]
fn settle_on(handle: &PidHandle, emfile: &Emfile, backend: Backend) {
    let fell_back = emfile.failed_call() == Some(libc::SYS_pidfd_open);
    let backend = if fell_back { Backend::Waitpid } else { backend };
    assert_eq!(handle.backend(), backend);
    settle(handle, None);
}

/// Asserts that std's `wait` returns the status, whether or not the call failed.
#[track_caller]
fn collect(mut child: Child) {
    child.kill().expect("std kills");
    let status: ExitStatus = child.wait().expect("nothing is lost");
    let killed = std::os::unix::process::ExitStatusExt::signal(&status);
    assert!(status.code() == Some(3) || killed.is_some(), "{status}");
}
