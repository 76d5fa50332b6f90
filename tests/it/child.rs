//! `ChildExt`, and std's own methods of `Child` after it.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    await_state, await_zombie, errno, exists, kill, reap_externally, sh, shell, sleeper, state_of,
    try_reap_externally, while_asleep, zombie, Waiter,
};
use crate::race::assert_one_got_the_status;
use nix::libc::{ECHILD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM};
use pidwait::ChildExt;

const SHORT: Duration = Duration::from_millis(10);

/// Starts a child that exits when its standard input closes.
fn cat() -> Child {
    let pipes = || Stdio::piped();
    let mut command = shell("exec cat");
    command.stdin(pipes()).stdout(pipes()).spawn().unwrap()
}

#[track_caller]
fn assert_reaped(child: &mut Child) {
    assert_eq!(errno(child.pidfd_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_try_wait()), ECHILD);
    assert_eq!(errno(child.pidfd_signal(0)), ECHILD);
    assert_eq!(errno(child.pidfd_signal(SIGKILL)), ECHILD);
}

/// std has the status, too. So std's `kill` returns `Ok`; pid_reuse.rs tests that it sends nothing.
#[test]
fn pidfd_wait_returns_the_status_once() {
    for mut child in [sh("exit 3"), zombie("exit 3")] {
        let status = child.pidfd_wait().unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(!exists(child.id()));
        for _ in 0..2 {
            assert_eq!(child.wait().unwrap(), status);
            assert_eq!(child.try_wait().unwrap(), Some(status));
            child.kill().unwrap();
            assert_reaped(&mut child);
        }
    }
}

#[test]
fn pidfd_wait_blocks_until_the_exit() {
    let mut child = sleeper();
    let pid = child.id();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        assert!(!waiter.is_finished());
        kill(pid, SIGTERM);
        assert_eq!(waiter.join().unwrap().signal(), Some(SIGTERM));
    });
    assert_eq!(child.wait().unwrap().signal(), Some(SIGTERM));
}

/// A stop or a continue is not an exit.
#[test]
fn pidfd_try_wait_returns_the_status_once_after_exit() {
    let mut child = sleeper();
    assert_eq!(child.pidfd_try_wait().unwrap(), None);
    for (signal, state) in [(SIGSTOP, 'T'), (SIGCONT, 'S')] {
        child.pidfd_signal(signal).unwrap();
        await_state(child.id(), state);
        assert_eq!(child.pidfd_try_wait().unwrap(), None);
    }
    child.pidfd_signal(SIGTERM).unwrap();
    await_zombie(child.id());
    let status = child.pidfd_try_wait().unwrap();
    assert_eq!(status.unwrap().signal(), Some(SIGTERM));
    assert_reaped(&mut child);
    assert_eq!(child.try_wait().unwrap(), status);
}

#[test]
fn all_calls_fail_with_echild_after_wait_of_std() {
    let mut waited = sh("exit 4");
    let mut tried = zombie("exit 4");
    waited.wait().unwrap();
    tried.try_wait().unwrap().expect("a zombie");
    for mut child in [waited, tried] {
        assert_reaped(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(4), "std still has it");
    }
}

/// Other code reaps the child before the wait, or during it.
#[test]
fn pidfd_wait_fails_with_echild_after_external_reap() {
    let mut child = zombie("exit 4");
    reap_externally(child.id());
    assert_reaped(&mut child);

    let mut child = sleeper();
    let pid = child.id();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        let external = Waiter::start(scope, || try_reap_externally(pid));
        kill(pid, SIGKILL);
        assert_one_got_the_status(waiter.join(), external.join());
    });
}

/// Otherwise `cat` would never exit.
#[test]
fn pidfd_wait_closes_stdin_first() {
    let mut child = cat();
    assert!(child.pidfd_wait().unwrap().success());
    assert!(child.stdin.is_none());
    assert!(child.stdout.is_some(), "stdout stays open");
}

/// Like std's `try_wait`.
#[test]
fn pidfd_try_wait_leaves_stdin_open() {
    let mut child = cat();
    for _ in 0..3 {
        assert_eq!(child.pidfd_try_wait().unwrap(), None);
    }
    assert!(child.stdin.is_some());
    assert_ne!(state_of(child.id()), Some('Z'));
    drop(child.stdin.take());
    await_zombie(child.id());
    assert!(child.pidfd_try_wait().unwrap().unwrap().success());
}

#[test]
fn pidfd_signal_to_zombie_keeps_its_status() {
    let mut child = zombie("exit 4");
    child.pidfd_signal(0).unwrap();
    child.pidfd_signal(SIGKILL).unwrap();
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(4));
}

#[test]
fn pidfd_release_closes_the_pipes_and_reaps_nothing() {
    let mut child = cat();
    let mut stdout = child.stdout.take().unwrap();
    let pid = child.id();
    child.pidfd_release().unwrap();
    // The child sees the end of its input and gets no signal.
    assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0);
    await_zombie(pid);
    assert_eq!(state_of(pid), Some('Z'));
    assert_eq!(reap_externally(pid), 0);

    let running = sleeper();
    let pid = running.id();
    running.pidfd_release().unwrap();
    assert!(exists(pid));
    kill(pid, SIGTERM);
    assert_eq!(reap_externally(pid), SIGTERM);
}

#[test]
fn pidfd_wait_usage_has_the_usage_and_leaves_the_status_to_std() {
    for mut child in [sh("exit 3"), zombie("exit 3")] {
        let (status, usage) = child.pidfd_wait_usage().unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(usage.max_rss > 4096, "{usage:?}");
        assert_eq!(child.wait().unwrap(), status);
        assert_eq!(errno(child.pidfd_wait_usage()), ECHILD);
    }
    // It closes the input, as `pidfd_wait` does.
    let mut child = cat();
    assert!(child.pidfd_wait_usage().unwrap().0.success());
    assert!(child.stdin.is_none());
}

#[test]
fn pidfd_wait_exited_timeout_reaps_nothing() {
    let mut child = cat();
    let start = Instant::now();
    assert!(!child.pidfd_wait_exited_timeout(SHORT).unwrap());
    assert!(start.elapsed() >= SHORT);
    assert!(!child.pidfd_wait_exited_timeout(Duration::ZERO).unwrap());
    assert!(child.stdin.is_some());
    let stdin = child.stdin.take();
    let wait = || child.pidfd_wait_exited_timeout(Duration::MAX);
    assert!(while_asleep(wait, || drop(stdin)).unwrap());
    assert!(child.pidfd_wait_exited_timeout(Duration::ZERO).unwrap());
    assert_eq!(state_of(child.id()), Some('Z'));
    assert_eq!(child.pidfd_wait().unwrap().code(), Some(0));
    assert_eq!(
        errno(child.pidfd_wait_exited_timeout(Duration::MAX)),
        ECHILD
    );
}
