//! What each call may cost: system calls, counted by strace. A binary of its own, because it runs
//! itself again under strace.

mod common;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use common::isolated::{current_part, run_isolated_under};
use common::{backends, kill, pidfds_supported, skip, sleeper, zombie, Waiter};
use nix::libc::SIGKILL;
use nix::unistd::gettid;
use pidwait::{support, Backend, ChildExt, PidHandle};

const BEGIN: &str = "begin of ";
const END: &str = "end of ";

/// No more than so many system calls each.
const LIMITS: &[(&str, usize)] = &[
    ("the probe", 5),
    ("support, once probed", 0),
    ("open", 1),
    ("open of nobody", 1),
    ("drop", 1),
    ("try_wait, running", 1),
    ("signal", 1),
    ("wait, running", 1 + 1),
    ("wait, exited", 1 + 1),
    ("try_wait, exited", 1 + 1),
    ("wait_timeout, not yet", 3),
    ("wait_timeout, exited", 1 + 1),
    ("release", 1),
    ("by pid: open", 1),
    ("by pid: try_wait, running", 1),
    ("by pid: signal", 2),
    ("by pid: wait, exited", 1),
    ("by pid: wait_timeout, exited", 1),
    ("by pid: drop", 0),
    ("pidfd_try_wait, running", 4),
    ("pidfd_wait, running", 6),
    ("pidfd_wait, exited", 5),
    ("done, pidfd", 0),
    ("done, waitpid", 0),
    ("released, pidfd", 0),
    ("released, waitpid", 0),
];

/// Runs something between two marks that strace sees: looks for files that are not there.
fn measured<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let (begin, end) = (format!("{BEGIN}{name}"), format!("{END}{name}"));
    let _ = Path::new(&begin).exists();
    let result = run();
    let _ = Path::new(&end).exists();
    result
}

/// What is counted, in the process that strace watches.
fn everything() {
    measured("two", || {
        assert_eq!(gettid(), gettid());
    });
    let found = measured("the probe", support).unwrap();
    assert_eq!(found.backend(), Backend::Pidfd);
    measured("support, once probed", support).unwrap();

    let child = sleeper();
    let open = || PidHandle::open(child.id()).unwrap();
    // Once in vain, lest the allocator's first steps be counted.
    drop(open());
    let handle = measured("open", open);
    measured("try_wait, running", || handle.try_wait().unwrap());
    measured("wait_timeout, not yet", || {
        handle.wait_timeout(Duration::from_millis(1)).unwrap()
    });
    measured("signal", || handle.signal(0).unwrap());
    measured("release", || handle.release().unwrap());
    let handle = open();
    measured("drop", || drop(handle));
    measured("open of nobody", || {
        PidHandle::open(i32::MAX.unsigned_abs()).unwrap()
    });

    let handle = open();
    while_running(child.id(), || {
        measured("wait, running", || handle.wait().unwrap());
    });
    let mut child = sleeper();
    measured("pidfd_try_wait, running", || {
        child.pidfd_try_wait().unwrap()
    });
    while_running(child.id(), || {
        measured("pidfd_wait, running", || child.pidfd_wait().unwrap());
    });

    let exited = || PidHandle::open(zombie("exit 3").id()).unwrap();
    let handle = exited();
    measured("wait, exited", || handle.wait().unwrap());
    let handle = exited();
    measured("try_wait, exited", || handle.try_wait().unwrap());
    let handle = exited();
    measured("wait_timeout, exited", || {
        handle.wait_timeout(Duration::from_secs(60)).unwrap()
    });
    let mut child = zombie("exit 3");
    measured("pidfd_wait, exited", || child.pidfd_wait().unwrap());

    let child = sleeper();
    let open = || PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    let handle = measured("by pid: open", open);
    measured("by pid: try_wait, running", || handle.try_wait().unwrap());
    measured("by pid: signal", || handle.signal(SIGKILL).unwrap());
    handle.wait_exited().unwrap();
    measured("by pid: wait, exited", || handle.wait().unwrap());
    measured("by pid: drop", || drop(handle));
    let child = zombie("exit 3");
    let handle = PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    measured("by pid: wait_timeout, exited", || {
        handle.wait_timeout(Duration::from_secs(60)).unwrap()
    });

    for backend in backends() {
        let open = |pid| PidHandle::open_with(pid, backend).unwrap();
        let waited = open(zombie("exit 3").id());
        waited.wait().unwrap();
        let nobody = open(i32::MAX.unsigned_abs());
        for handle in [waited, nobody] {
            measured(&format!("done, {backend}"), || call_in_vain(&handle));
        }
        let released = open(process::id());
        released.release().unwrap();
        measured(&format!("released, {backend}"), || call_in_vain(&released));
    }
}

/// Lets a thread wait for a child that is killed only then.
fn while_running(pid: u32, wait: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, wait);
        kill(pid, SIGKILL);
        waiter.join();
    });
}

/// Every call that a handle has an answer to without asking anybody.
fn call_in_vain(handle: &PidHandle) {
    handle.wait().unwrap_err();
    handle.try_wait().unwrap_err();
    handle.wait_timeout(Duration::from_secs(60)).unwrap_err();
    handle.signal(0).unwrap_err();
    handle.kill().unwrap_err();
    handle.release().unwrap();
    let _ = handle.exit_status();
}

#[test]
fn as_many_as_promised() {
    if current_part().is_some() {
        return everything();
    }
    if !pidfds_supported() {
        return;
    }
    let tried = Command::new("strace").args(["-f", "true"]).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return skip("no strace, or no right to trace");
    }
    let report: PathBuf = env::temp_dir().join(format!("pidwait-strace-{}", process::id()));
    let path = report.to_str().expect("a path in plain letters");
    let strace = ["strace", "-f", "-o", path];
    run_isolated_under(&strace, "as_many_as_promised", "counted", |command| {
        command.env_remove("PIDWAIT_BACKEND");
    });
    let lines = fs::read_to_string(&report).unwrap();
    fs::remove_file(&report).unwrap();

    // That it counts at all.
    assert_eq!(calls_in(&lines, "two").len(), 2);
    for (name, limit) in LIMITS {
        let calls = calls_in(&lines, name);
        assert!(calls.len() <= *limit, "{name}, {limit}: {calls:#?}");
    }
}

/// The system calls between two marks, of the thread that made them.
fn calls_in<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let is_mark = |line: &str, which| line.contains(&format!("\"{which}{name}\""));
    let begin = report.lines().find(|line| is_mark(line, BEGIN));
    let begin = begin.unwrap_or_else(|| panic!("{name} was not measured"));
    let (thread, _) = begin.split_once(' ').expect("a thread and a call");
    let mine = report.lines().filter_map(|line| {
        let (of, call) = line.split_once(' ')?;
        (of == thread).then(|| call.trim_start())
    });
    let mut calls = Vec::new();
    let mut counting = false;
    for line in mine {
        if is_mark(line, END) {
            counting = false;
        } else if is_mark(line, BEGIN) {
            counting = true;
        } else if counting && line.contains("ERESTART") {
            // A tracer sees SIGCHLD end a call, and the kernel make it once more.
            if line.starts_with("<...") {
                calls.pop();
            }
        } else if counting && !line.starts_with(['<', '-', '+']) {
            calls.push(line);
        }
    }
    assert!(!counting, "{name} has no end");
    // std looks once more at what it closes, in builds for debugging.
    calls.retain(|call| !call.contains("F_GETFD"));
    calls
}
