//! `PidHandle::spawn`. New handles use the backend of the environment, so most tests run in a process
//! of their own for each.

#![allow(unsafe_code)] // `pre_exec`

use std::io::{read_to_string, ErrorKind, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::isolated::{current_part, enter_with_each_backend, run_isolated};
use crate::common::{
    await_gone, await_zombie, backends, blocked_on_stdin, errno, exists, has_no_children,
    ignore_sigchld, leads_group, open_descriptors, readable, restore_sigchld, rounds, shell, sleep,
    state_of, Waiter, LONG,
};
use nix::errno::Errno;
use nix::libc::{self, ECHILD, ENOENT, SIGKILL};
use pidwait::{Backend, PidHandle, Spawned};

#[test]
fn spawn_returns_a_live_handle_and_the_pipes() {
    if !enter_with_each_backend("spawn::spawn_returns_a_live_handle_and_the_pipes") {
        return;
    }
    let mut command = shell("cat; echo error >&2; exit 3");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut spawned: Spawned = PidHandle::spawn(command.stderr(Stdio::piped())).unwrap();
    assert_eq!(spawned.handle.backend(), backends()[0]);
    assert!(exists(spawned.handle.id()));
    let mut stdin = spawned.stdin.take().unwrap();
    stdin.write_all(b"line").unwrap();
    assert_eq!(spawned.handle.try_wait().unwrap(), None);
    drop(stdin);
    assert_eq!(read_to_string(spawned.stdout.unwrap()).unwrap(), "line");
    assert_eq!(read_to_string(spawned.stderr.unwrap()).unwrap(), "error\n");
    assert_eq!(spawned.handle.wait().unwrap().code(), Some(3));
    assert_eq!(errno(spawned.handle.wait()), ECHILD);
}

#[test]
fn spawn_returns_only_the_pipes_that_the_command_asks_for() {
    let mut spawned = PidHandle::spawn(&mut shell("exit 3")).unwrap();
    assert!(spawned.stdin.is_none() && spawned.stdout.is_none() && spawned.stderr.is_none());
    assert_eq!(spawned.handle.wait().unwrap().code(), Some(3));

    spawned = PidHandle::spawn(shell("exit 4").stdout(Stdio::piped())).unwrap();
    assert!(spawned.stdin.is_none() && spawned.stdout.is_some() && spawned.stderr.is_none());
    assert_eq!(spawned.handle.wait().unwrap().code(), Some(4));
}

/// Unlike std's `wait`.
#[test]
fn wait_leaves_stdin_open() {
    let mut command = shell("read line; exit 3");
    let mut spawned = PidHandle::spawn(command.stdin(Stdio::piped())).unwrap();
    let waited = spawned.handle.wait_timeout(Duration::from_millis(2));
    assert_eq!(waited.unwrap(), None);
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || spawned.handle.wait());
        drop(spawned.stdin.take());
        assert_eq!(waiter.join().unwrap().code(), Some(3));
    });
}

/// Of a `Child`, too. What its handle returns is in the tables of `tests/contract/`.
#[test]
fn conversion_keeps_the_pipes() {
    let child = shell("cat; echo end; echo error >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut spawned = Spawned::from(child);
    let waited = spawned.handle.wait_timeout(Duration::from_millis(2));
    assert_eq!(waited.unwrap(), None, "stdin is open");
    spawned.stdin.take().unwrap().write_all(b"line\n").unwrap();
    let output = read_to_string(spawned.stdout.unwrap()).unwrap();
    assert_eq!(output, "line\nend\n");
    let errors = read_to_string(spawned.stderr.unwrap()).unwrap();
    assert_eq!(errors, "error\n");
    assert!(spawned.handle.wait().unwrap().success());
}

/// It is neither reaped nor killed.
#[test]
fn dropped_spawned_leaves_the_child_alone() {
    let mut command = sleep();
    let spawned = PidHandle::spawn(&mut command).unwrap();
    let pid = spawned.handle.id();
    drop(spawned);
    assert_ne!(state_of(pid), Some('Z'));
    let handle = PidHandle::open(pid).unwrap();
    handle.kill().unwrap();
    assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
}

/// Unlike one that was given to `Spawned::from`: it keeps its PID, its usage and its group.
#[test]
fn child_that_exits_at_once_is_an_ordinary_zombie() {
    if !enter_with_each_backend("spawn::child_that_exits_at_once_is_an_ordinary_zombie") {
        return;
    }
    let spawn_zombie = || {
        let spawned = PidHandle::spawn(exit_at_once(&Arc::new(AtomicI32::new(6))).process_group(0));
        let handle = spawned.unwrap().handle;
        await_zombie(handle.id());
        handle
    };
    let handle = spawn_zombie();
    assert!(exists(handle.id()), "it is not reaped");
    assert!(leads_group(handle.id()));
    assert!(handle.has_exited().unwrap());
    assert_eq!(handle.exit_status().unwrap().code(), Some(6));
    handle.signal(SIGKILL).unwrap();
    let (status, usage) = handle.wait_usage().unwrap();
    assert_eq!(status.code(), Some(6));
    assert!(usage.max_rss > 4096, "{usage:?}");
    assert!(!exists(handle.id()));
    assert_eq!(handle.exit_status().unwrap().code(), Some(6));

    let handle = spawn_zombie();
    handle.release().unwrap();
    assert_eq!(crate::common::reap_externally(handle.id()), 6 << 8);
}

/// A command whose child exits without an exec, with the code that the number has then.
fn exit_at_once(code: &Arc<AtomicI32>) -> Command {
    let mut command = Command::new("true");
    let code = Arc::clone(code);
    // SAFETY: `_exit` is async-signal-safe, and does not return.
    let exit = move || unsafe { libc::_exit(code.load(SeqCst)) };
    // SAFETY: between fork and exec the closure reads an atomic and makes one system call.
    unsafe { command.pre_exec(exit) };
    command
}

/// No status is lost or mixed up, and nothing is left behind.
#[test]
fn quick_children_by_spawn_and_wait_usage() {
    if !enter_with_each_backend("spawn::quick_children_by_spawn_and_wait_usage") {
        return;
    }
    const THREADS: usize = 4;
    pidwait::support().unwrap();
    let before = open_descriptors();
    let children = rounds(20_000);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let code = Arc::new(AtomicI32::new(0));
                let mut command = exit_at_once(&code);
                for number in (thread..children).step_by(THREADS) {
                    let expected = i32::try_from(number % 256).unwrap();
                    code.store(expected, SeqCst);
                    let child = PidHandle::spawn(&mut command).unwrap().handle;
                    let (status, usage) = child.wait_usage().unwrap();
                    assert_eq!(status.code(), Some(expected));
                    assert!(usage.max_rss > 0, "{usage:?}");
                }
            });
        }
    });
    assert_eq!(open_descriptors(), before);
    assert!(has_no_children());
}

/// The same for a `Child`, which runs or is a zombie when its handle is made. The usage of a zombie is
/// read by the peek that decides to reap it, so only a child that exits between that peek and the
/// reap has none.
#[cfg(target_os = "linux")]
#[test]
fn quick_children_by_from_and_wait_usage() {
    if !enter_with_each_backend("spawn::quick_children_by_from_and_wait_usage") {
        return;
    }
    let code = Arc::new(AtomicI32::new(0));
    let mut command = exit_at_once(&code);
    let (children, mut without) = (rounds(2_000), 0);
    for number in 0..children {
        let expected = i32::try_from(number % 256).unwrap();
        code.store(expected, SeqCst);
        let child = Spawned::from(command.spawn().unwrap()).handle;
        let status = match child.wait_usage() {
            Ok((status, usage)) => {
                assert!(usage.max_rss > 0, "{usage:?}");
                status
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                without += 1;
                child.wait().expect("the status is left for another wait")
            }
        };
        assert_eq!(status.code(), Some(expected));
    }
    assert!(has_no_children());
    assert!(without <= children / 10, "{without} of {children}");
}

#[test]
fn spawn_of_a_missing_program_fails_as_std_does() {
    if !enter_with_each_backend("spawn::spawn_of_a_missing_program_fails_as_std_does") {
        return;
    }
    let mut missing = Command::new("/nonexistent/program");
    let mut refused = Command::new("/dev/null");
    let mut fails = Command::new("true");
    // SAFETY: the closure only makes an error of a constant.
    unsafe { fails.pre_exec(|| Err(Errno::ENOTTY.into())) };
    pidwait::support().unwrap();
    let before = open_descriptors();
    for command in [&mut missing, &mut refused, &mut fails] {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let expected = command.spawn().unwrap_err();
        let error = PidHandle::spawn(command).unwrap_err();
        assert_eq!(error.raw_os_error(), expected.raw_os_error());
        assert_eq!(error.kind(), expected.kind());
        assert!(has_no_children());
        assert_eq!(open_descriptors(), before);
    }
    assert_eq!(errno(PidHandle::spawn(&mut missing)), ENOENT);
}

/// The error comes before the fork.
#[test]
fn spawn_under_a_wrong_variable_forks_nothing() {
    const TEST: &str = "spawn::spawn_under_a_wrong_variable_forks_nothing";
    if current_part().is_none() {
        return run_isolated(TEST, "alone", |command| {
            command.env("PIDWAIT_BACKEND", "pidfds");
        });
    }
    let expected = pidwait::support().unwrap_err();
    let error = PidHandle::spawn(&mut sleep()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), expected.to_string());
    assert!(has_no_children());

    // The conversion never fails.
    let (child, stdin) = blocked_on_stdin();
    let handle = Spawned::from(child).handle;
    assert_eq!(handle.backend(), Backend::Waitpid);
    drop(stdin);
    assert_eq!(handle.wait().unwrap().code(), Some(3));
}

/// The child may be gone before it is opened, or while its handle is live.
#[test]
fn spawn_while_sigchld_is_ignored() {
    if !enter_with_each_backend("spawn::spawn_while_sigchld_is_ignored") {
        return;
    }
    ignore_sigchld();
    for _ in 0..rounds(50) {
        let code = Arc::new(AtomicI32::new(0));
        let handle = PidHandle::spawn(&mut exit_at_once(&code)).unwrap().handle;
        await_gone(handle.id());
        assert_eq!(errno(handle.wait()), ECHILD);
        assert_eq!(errno(handle.signal(0)), ECHILD);
        assert!(handle.has_exited().unwrap());
    }
    let handle = PidHandle::spawn(&mut sleep()).unwrap().handle;
    assert_eq!(handle.try_wait().unwrap(), None);
    handle.kill().unwrap();
    assert_eq!(errno(handle.wait()), ECHILD);
    restore_sigchld();
}

/// Each on a clone of its own. One of the four that reap gets the status; all clones return it at once.
#[test]
fn six_waiters_of_all_kinds_on_clones_of_one_handle() {
    if !enter_with_each_backend("spawn::six_waiters_of_all_kinds_on_clones_of_one_handle") {
        return;
    }
    type Wait = fn(&PidHandle) -> Option<i32>;
    let reaps: [Wait; 4] = [
        |handle| handle.wait().ok()?.code(),
        |handle| {
            handle
                .wait_timeout(Duration::from_secs(600))
                .ok()?
                .expect("no timeout")
                .code()
        },
        |handle| handle.wait_usage().ok()?.0.code(),
        |handle| loop {
            match handle.try_wait() {
                Ok(None) => thread::yield_now(),
                result => return result.ok()??.code(),
            }
        },
    ];
    let looks: [Wait; 2] = [
        |handle| handle.wait_shared().ok()?.code(),
        |handle| {
            handle.wait_exited().expect("any process can be waited for");
            handle.wait_shared().ok()?.code()
        },
    ];
    for _ in 0..rounds(100) {
        let mut command = shell("read line; exit 5");
        let mut spawned = PidHandle::spawn(command.stdin(Stdio::piped())).unwrap();
        let exit = spawned.handle.exit_fd().unwrap();
        let start = |wait: Wait| {
            let handle = spawned.handle.clone();
            thread::spawn(move || {
                let code = wait(&handle);
                (code, handle.exit_status().and_then(|status| status.code()))
            })
        };
        let (reaps, looks) = (reaps.map(start), looks.map(start));
        drop(spawned.stdin.take());
        let reaped = reaps.map(|thread| thread.join().unwrap());
        let looked = looks.map(|thread| thread.join().unwrap());
        let won: Vec<_> = reaped.iter().filter_map(|(code, _)| *code).collect();
        // `wait_shared` may have reaped it, too.
        assert!(matches!(won[..], [] | [5]), "{won:?}");
        assert_eq!(looked, [(Some(5), Some(5)); 2]);
        assert!(
            reaped.iter().all(|(_, status)| *status == Some(5)),
            "{reaped:?}"
        );
        assert!(readable(&exit, LONG));
        assert_eq!(errno(spawned.handle.wait()), ECHILD);
    }
}
