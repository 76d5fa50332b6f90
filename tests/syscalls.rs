//! Limits on the number of system calls of each call, counted by strace. A separate binary, because it
//! runs itself under strace.

// On 32-bit systems the calls have other names.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod common;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use common::isolated::{current_part, run_isolated_under};
use common::{
    backends, eventually, is_root, kernel, kill, pidfds_supported, shell, skip, sleeper, zombie,
    Waiter,
};
use nix::libc::SIGKILL;
use nix::unistd::gettid;
use pidwait::{support, Backend, ChildExt, PidHandle, WaitSet};

const BEGIN: &str = "begin of ";
const END: &str = "end of ";

/// The maximum number of system calls of each measured call.
const LIMITS: &[(&str, usize)] = &[
    ("the probe", 5),
    ("support, once probed", 0),
    ("open", 1),
    ("open of a missing process", 1),
    ("drop", 1),
    ("try_wait, running", 1),
    ("signal", 1),
    ("wait, running", 3 + 1),
    ("wait, exited", 1 + 1),
    ("try_wait, exited", 1 + 1),
    ("wait_timeout, not yet", 3),
    ("wait_timeout, exited", 1 + 1),
    ("wait_shared, exited", 1 + 1),
    ("try_clone_pidfd", 1),
    ("clone", 0),
    ("release", 1),
    // A check for the exit, `getpid` and `epoll_ctl`.
    ("reap_in_background", 3),
    ("reap_in_background, again", 2),
    ("WaitSet::insert", 1),
    // One `epoll_wait` for all; for each exit a wait and two calls to take it out of the set.
    ("WaitSet::wait, ten exits", 10 * 3 + 1),
    ("waitpid: open", 1),
    ("waitpid: try_wait, running", 1),
    ("waitpid: signal", 2),
    ("waitpid: wait, exited", 1),
    ("waitpid: wait_timeout, exited", 1),
    ("waitpid: drop", 0),
    ("pidfd_try_wait, running", 2),
    ("pidfd_wait, running", 4),
    ("pidfd_wait, exited", 3),
    ("pidfd_signal", 4),
    ("done handle, pidfd", 0),
    ("done handle, waitpid", 0),
    ("released handle, pidfd", 0),
    ("released handle, waitpid", 0),
];

/// Runs something between two markers in strace's output: lookups of files that do not exist.
fn measured<T>(name: &str, run: impl FnOnce() -> T) -> T {
    let (begin, end) = (format!("{BEGIN}{name}"), format!("{END}{name}"));
    let _ = Path::new(&begin).exists();
    let result = run();
    let _ = Path::new(&end).exists();
    result
}

/// Makes all measured calls, in the process under strace.
fn make_measured_calls() {
    measure_probe();
    measure_handle();
    measure_exited();
    measure_child_ext();
    measure_background();
    measure_set();
    measure_waitpid();
    measure_final_states();
}

fn measure_probe() {
    measured("two calls", || {
        assert_eq!(gettid(), gettid());
    });
    let found = measured("the probe", support).unwrap();
    assert_eq!(found.backend(), Backend::Pidfd);
    measured("support, once probed", support).unwrap();
}

fn measure_handle() {
    let child = sleeper();
    let open = || PidHandle::open(child.id()).unwrap();
    // Once before, so that the allocator's initial system calls are not counted.
    drop(open());
    let handle = measured("open", open);
    measured("try_wait, running", || handle.try_wait().unwrap());
    measured("wait_timeout, not yet", || {
        handle.wait_timeout(Duration::from_millis(1)).unwrap()
    });
    measured("signal", || handle.signal(0).unwrap());
    measured("clone", || handle.clone());
    measured("try_clone_pidfd", || handle.try_clone_pidfd().unwrap());
    measured("release", || handle.release().unwrap());
    let handle = open();
    measured("drop", || drop(handle));
    measured("open of a missing process", || {
        PidHandle::open(i32::MAX.unsigned_abs()).unwrap()
    });

    let handle = open();
    kill_while_waiting(child.id(), || {
        measured("wait, running", || handle.wait().unwrap());
    });
}

fn measure_exited() {
    let exited = || PidHandle::open(zombie("exit 3").id()).unwrap();
    let handle = exited();
    measured("wait, exited", || handle.wait().unwrap());
    let handle = exited();
    measured("wait_shared, exited", || handle.wait_shared().unwrap());
    let handle = exited();
    measured("try_wait, exited", || handle.try_wait().unwrap());
    let handle = exited();
    measured("wait_timeout, exited", || {
        handle.wait_timeout(Duration::from_secs(60)).unwrap()
    });
}

fn measure_background() {
    let first = PidHandle::open(sleeper().id()).unwrap();
    first.reap_in_background(); // Starts the thread.
    let handle = PidHandle::open(sleeper().id()).unwrap();
    measured("reap_in_background", || handle.reap_in_background());
    measured("reap_in_background, again", || handle.reap_in_background());
    first.kill().unwrap();
    handle.kill().unwrap();
}

fn measure_child_ext() {
    let mut child = sleeper();
    measured("pidfd_try_wait, running", || {
        child.pidfd_try_wait().unwrap()
    });
    measured("pidfd_signal", || child.pidfd_signal(0).unwrap());
    kill_while_waiting(child.id(), || {
        measured("pidfd_wait, running", || child.pidfd_wait().unwrap());
    });
    let mut child = zombie("exit 3");
    measured("pidfd_wait, exited", || child.pidfd_wait().unwrap());
}

fn measure_set() {
    let exited = || PidHandle::open(zombie("exit 3").id()).unwrap();
    let mut set = WaitSet::new().unwrap();
    set.insert(exited(), ()).unwrap();
    let handle = exited();
    measured("WaitSet::insert", || set.insert(handle, ()).unwrap());
    for _ in 2..10 {
        set.insert(exited(), ()).unwrap();
    }
    measured("WaitSet::wait, ten exits", || {
        for _ in 0..10 {
            set.wait().unwrap().unwrap();
        }
    });
}

fn measure_waitpid() {
    let child = sleeper();
    let open = || PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    let handle = measured("waitpid: open", open);
    measured("waitpid: try_wait, running", || handle.try_wait().unwrap());
    measured("waitpid: signal", || handle.signal(SIGKILL).unwrap());
    handle.wait_exited().unwrap();
    measured("waitpid: wait, exited", || handle.wait().unwrap());
    measured("waitpid: drop", || drop(handle));
    let child = zombie("exit 3");
    let handle = PidHandle::open_with(child.id(), Backend::Waitpid).unwrap();
    measured("waitpid: wait_timeout, exited", || {
        handle.wait_timeout(Duration::from_secs(60)).unwrap()
    });
}

fn measure_final_states() {
    for backend in backends() {
        let open = |pid| PidHandle::open_with(pid, backend).unwrap();
        let waited = open(zombie("exit 3").id());
        waited.wait().unwrap();
        let missing = open(i32::MAX.unsigned_abs());
        let stale = open_stale_identity();
        for handle in [waited, missing, stale] {
            measured(&format!("done handle, {backend}"), || call_all(&handle));
        }
        let released = open(process::id());
        released.release().unwrap();
        measured(&format!("released handle, {backend}"), || {
            call_all(&released)
        });
    }
}

/// Groups of one, and of three whose members end on the first signal.
fn measure_groups() {
    for backend in backends() {
        for script in ["exec sleep 600", "sleep 600 & sleep 600 & wait"] {
            let leader = shell(script).process_group(0).spawn().unwrap();
            let handle = PidHandle::open_with(leader.id(), backend).unwrap();
            let group = handle.process_group().unwrap();
            let members = script.matches("sleep").count();
            eventually("they run", || group.members().unwrap().len() >= members);
            let name = format!("end of a group, {backend}, {script}");
            measured(&name, || group.terminate(Duration::MAX).unwrap());
        }
    }
}

/// How often the end of each group lists `/proc`, and how often it checks a process of another group.
fn check_group_ends(lines: &str) {
    let ends = lines.lines().filter_map(|line| {
        let (_, name) = line.split_once(&format!("\"{BEGIN}end of a group"))?;
        Some(format!("end of a group{}", name.split('"').next()?))
    });
    let mut seen = 0;
    for end in ends {
        let calls = calls_in(lines, &end);
        let count = |what: &str| calls.iter().filter(|call| call.contains(what)).count();
        let (lists, passes) = (count("openat(AT_FDCWD, \"/proc\","), count("getpgid(1)"));
        // By pidfd on Linux 6.9 and later a leader that runs is enough to know that the group is alive. By
        // PID, the members are listed before the signal as well, so that they can be ended if other code
        // reaps the leader.
        let most = if end.contains("pidfd, exec") && kernel() >= (6, 9) {
            1
        } else {
            2
        };
        assert!((1..=most).contains(&lists), "{end}: {calls:#?}");
        // Three, and one more for PID 1: PIDs that were given out just before are checked again.
        assert!((1..=4).contains(&passes), "{end}, {passes}: {calls:#?}");
        seen += 1;
    }
    assert!(seen >= 2);
}

/// A handle of this process's PID, but of another boot.
fn open_stale_identity() -> PidHandle {
    let text = format!("{}:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11", process::id());
    PidHandle::open_identity(&text.parse().unwrap()).unwrap()
}

/// Runs `wait` in a thread, and kills the child once that thread blocks.
fn kill_while_waiting(pid: u32, wait: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, wait);
        kill(pid, SIGKILL);
        waiter.join();
    });
}

/// The calls that a done or released handle returns from without a system call.
fn call_all(handle: &PidHandle) {
    let deadline = Instant::now() + Duration::from_secs(60);
    handle.wait().unwrap_err();
    handle.try_wait().unwrap_err();
    handle.wait_timeout(Duration::from_secs(60)).unwrap_err();
    handle.wait_deadline(deadline).unwrap_err();
    handle.wait_usage().unwrap_err();
    let _ = handle.terminate(Duration::from_secs(60));
    let _ = handle.terminate_unreaped(Duration::from_secs(60));
    let _ = handle.terminate_in_background(Duration::from_secs(60));
    handle.signal(0).unwrap_err();
    handle.kill().unwrap_err();
    handle.identity().unwrap_err();
    handle.try_clone_pidfd().unwrap_err();
    handle.release().unwrap();
    let _ = handle.exit_status();
    let _ = handle.wait_shared();
    let _ = handle.try_wait_shared();
    let _ = handle.wait_shared_timeout(Duration::from_secs(60));
    let _ = handle.wait_shared_deadline(deadline);
    let _ = handle.has_exited();
    let _ = handle.wait_exited();
    let _ = handle.wait_exited_timeout(Duration::from_secs(60));
    let _ = handle.wait_exited_deadline(deadline);
    handle.reap_in_background();
    handle.process_group().unwrap_err();
}

#[test]
fn no_call_exceeds_its_limit_of_system_calls() {
    if current_part().is_some() {
        return make_measured_calls();
    }
    if !pidfds_supported() {
        return;
    }
    let Some(lines) = traced("no_call_exceeds_its_limit_of_system_calls", &[]) else {
        return;
    };
    // The counting itself works.
    assert_eq!(calls_in(&lines, "two calls").len(), 2);
    for (name, limit) in LIMITS {
        let calls = calls_in(&lines, name);
        assert!(calls.len() <= *limit, "{name}, {limit}: {calls:#?}");
    }
}

/// In a PID namespace of its own, because each PID that is given out meanwhile costs a further list.
#[test]
fn the_end_of_a_group_lists_proc_once_or_twice() {
    if current_part().is_some() {
        return measure_groups();
    }
    let mut wrapper = vec!["unshare", "-p", "-f", "--mount-proc"];
    if !is_root() {
        wrapper.push("-Ur");
    }
    if let Some(lines) = traced("the_end_of_a_group_lists_proc_once_or_twice", &wrapper) {
        check_group_ends(&lines);
    }
}

/// Runs a test under strace, which runs under a wrapper, and returns what strace prints. `None`: that is not
/// possible here.
fn traced(test: &str, wrapper: &[&str]) -> Option<String> {
    let report: PathBuf = env::temp_dir().join(format!("pidwait-strace-{}-{test}", process::id()));
    let path = report.to_str().expect("a UTF-8 path");
    let strace = [wrapper, &["strace", "-f", "-o", path]].concat();
    let check = Command::new(strace[0])
        .args(&strace[1..])
        .arg("true")
        .output();
    if !check.is_ok_and(|output| output.status.success()) {
        skip("no strace, no permission to trace, or no PID namespace");
        return None;
    }
    run_isolated_under(&strace, test, "counted", |command| {
        command.env_remove("PIDWAIT_BACKEND");
    });
    let lines = fs::read_to_string(&report).unwrap();
    fs::remove_file(&report).unwrap();
    Some(lines)
}

/// The system calls of one thread between two markers.
fn calls_in<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let is_marker = |line: &str, marker| line.contains(&format!("\"{marker}{name}\""));
    let begin = report.lines().find(|line| is_marker(line, BEGIN));
    let begin = begin.unwrap_or_else(|| panic!("{name} was not measured"));
    let (thread, _) = begin.split_once(' ').expect("a thread ID and a call");
    let calls_of_thread = report.lines().filter_map(|line| {
        let (tid, call) = line.split_once(' ')?;
        (tid == thread).then(|| call.trim_start())
    });
    let mut calls = Vec::new();
    let mut counting = false;
    for line in calls_of_thread {
        if is_marker(line, END) {
            counting = false;
        } else if is_marker(line, BEGIN) {
            counting = true;
        } else if counting && line.contains("ERESTART") {
            // SIGCHLD interrupted the call and the kernel restarts it, so it appears twice.
            if line.starts_with("<...") {
                calls.pop();
            }
        } else if counting && !line.starts_with(['<', '-', '+']) {
            calls.push(line);
        }
    }
    assert!(!counting, "{name} has no end marker");
    // In debug builds std checks each descriptor before it closes it.
    calls.retain(|call| !call.contains("F_GETFD"));
    calls
}
