//! `ChildExt`: waits that block. What else its calls return is in the tables of `tests/contract/`.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    errno, kill, shell, sleeper, state_of, try_reap_externally, while_asleep, Waiter,
};
use crate::race::assert_one_got_the_status;
use nix::libc::{ECHILD, SIGKILL, SIGTERM};
use pidwait::ChildExt;

const SHORT: Duration = Duration::from_millis(10);

/// Starts a child that exits when its standard input closes.
fn cat() -> Child {
    let pipes = || Stdio::piped();
    let mut command = shell("exec cat");
    command.stdin(pipes()).stdout(pipes()).spawn().unwrap()
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

#[test]
fn external_reap_ends_pidfd_wait() {
    let mut child = sleeper();
    let pid = child.id();
    thread::scope(|scope| {
        let waiter = Waiter::start(scope, || child.pidfd_wait());
        let external = Waiter::start(scope, || try_reap_externally(pid));
        kill(pid, SIGKILL);
        assert_one_got_the_status(waiter.join(), external.join());
    });
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
