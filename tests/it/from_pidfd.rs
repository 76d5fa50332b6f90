//! `PidHandle::from_pidfd`.

use std::fs::File;
use std::io::{stdin, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use nix::libc::{ECHILD, EINVAL, O_EXCL, O_NONBLOCK, SIGTERM};
use pidwait::{Backend, PidHandle};

use crate::common::pid_namespace::in_pid_namespace_with;
use crate::common::{
    blocked_on_stdin, errno, kernel, pidfd_open, pidfds_supported, readable, reap_externally,
    sleeper, while_asleep, zombie, NonChild,
};

/// PIDFD_NONBLOCK.
const NONBLOCK: u32 = O_NONBLOCK.unsigned_abs();
/// PIDFD_THREAD (Linux 6.9).
const THREAD: u32 = O_EXCL.unsigned_abs();

/// Without pidfds there is nothing to test here. `pidfds_supported` then prints `skipped`.
fn no_pidfds() -> bool {
    !pidfds_supported()
}

fn adopt(pid: u32, flags: u32) -> PidHandle {
    let fd = pidfd_open(pid, flags).unwrap();
    let handle = PidHandle::from_pidfd(fd).unwrap();
    assert_eq!((handle.id(), handle.backend()), (pid, Backend::Pidfd));
    handle
}

#[test]
fn handle_from_pidfd_of_child_works() {
    if no_pidfds() {
        return;
    }
    let (child, stdin) = blocked_on_stdin();
    let handle = adopt(child.id(), 0);
    assert_eq!(handle.try_wait().unwrap(), None);
    let status = while_asleep(|| handle.wait(), || drop(stdin)).unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(errno(handle.wait()), ECHILD);

    let handle = adopt(zombie("exit 4").id(), 0);
    assert!(handle.has_exited().unwrap());
    assert_eq!(handle.wait().unwrap().code(), Some(4));
}

/// `waitid` on such a pidfd fails with EAGAIN instead of blocking. The calls must still block, and
/// must not spin.
#[test]
fn handle_from_nonblocking_pidfd_blocks() {
    if no_pidfds() {
        return;
    }
    let (child, stdin) = blocked_on_stdin();
    let handle = adopt(child.id(), NONBLOCK);
    let exit = handle.exit_fd().unwrap();
    assert_eq!(handle.try_wait().unwrap(), None);
    assert_eq!(handle.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    assert!(!handle.has_exited().unwrap());
    assert!(!readable(&exit, 1));
    let wait = || handle.wait_usage();
    let (status, usage) = while_asleep(wait, || drop(stdin)).unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(usage.max_rss > 4096);

    let (child, stdin) = blocked_on_stdin();
    let handle = adopt(child.id(), NONBLOCK);
    let wait = || handle.wait_timeout(Duration::MAX);
    let status = while_asleep(wait, || drop(stdin)).unwrap();
    assert_eq!(status.unwrap().code(), Some(3));

    let handle = adopt(sleeper().id(), NONBLOCK);
    let status = handle.terminate(Duration::MAX).unwrap();
    assert_eq!(status.signal(), Some(SIGTERM));

    let (child, stdin) = blocked_on_stdin();
    let handle = adopt(child.id(), NONBLOCK);
    while_asleep(|| handle.wait_exited(), || drop(stdin)).unwrap();
    assert_eq!(handle.wait().unwrap().code(), Some(3));
}

#[test]
fn handle_from_pidfd_of_non_child_sees_its_exit() {
    if no_pidfds() {
        return;
    }
    for flags in [0, NONBLOCK] {
        let mut non_child = NonChild::new();
        let handle = adopt(non_child.pid, flags);
        assert_eq!(errno(handle.wait()), ECHILD);
        assert!(!handle.has_exited().unwrap());
        assert_eq!(non_child.finish(), Some(7));
        handle.wait_exited().unwrap();
        assert_eq!(errno(handle.wait()), ECHILD);
    }
}

/// The call also closes the descriptor: the child at the other end of the pipe exits.
#[test]
fn non_pidfd_fails_with_invalid_input() {
    let (child, stdin) = blocked_on_stdin();
    assert_rejected(stdin.into());
    assert_eq!(reap_externally(child.id()), 3 << 8);

    assert_rejected(File::open("/dev/null").unwrap().into());
    assert_rejected(File::open("/proc/self").unwrap().into());
    assert_rejected(File::open("/proc/self/stat").unwrap().into());
}

/// The exit of a thread is not the exit of its process, even for the main thread.
#[test]
fn pidfd_of_thread_fails_with_invalid_input() {
    if no_pidfds() {
        return;
    }
    let child = sleeper();
    let this_thread = nix::unistd::gettid().as_raw().unsigned_abs();
    for id in [child.id(), this_thread] {
        match pidfd_open(id, THREAD) {
            Ok(fd) => assert_rejected(fd),
            // Kernels before 6.9 have no pidfds of threads.
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EINVAL));
                assert!(kernel() < (6, 9));
            }
        }
    }
}

/// Asserts that `from_pidfd` fails with `InvalidInput` and an error that names the descriptor.
fn assert_rejected(fd: OwnedFd) {
    let text = format!("{fd:?}");
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let error = PidHandle::from_pidfd(fd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(&number), "{error}");
}

/// The process is outside of this PID namespace, so it has no PID here.
#[test]
fn pidfd_from_another_pid_namespace_fails_with_invalid_input() {
    if no_pidfds() {
        return;
    }
    let outsider = pidfd_open(std::process::id(), 0).unwrap();
    let test = "from_pidfd::pidfd_from_another_pid_namespace_fails_with_invalid_input";
    let pass_outsider = |command: &mut Command| _ = command.stdin(outsider);
    if in_pid_namespace_with(test, pass_outsider) {
        let outsider = stdin().as_fd().try_clone_to_owned().unwrap();
        let error = PidHandle::from_pidfd(outsider).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("PID namespace"), "{error}");
    }
}
