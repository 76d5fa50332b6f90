//! from_pidfd.

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

/// PIDFD_NONBLOCK, and PIDFD_THREAD (Linux 6.9).
const NONBLOCK: u32 = O_NONBLOCK.unsigned_abs();
const THREAD: u32 = O_EXCL.unsigned_abs();

/// Without pidfds there is nothing to test here; `there_are_pidfds` has said so then.
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
fn of_a_child() {
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

/// `waitid` itself answers EAGAIN there, which no caller may see, and which must not make it spin
/// or end early.
#[test]
fn a_non_blocking_one_works_as_any_other() {
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
fn of_a_non_child() {
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

#[test]
fn of_a_reaped_process_is_echild() {
    if no_pidfds() {
        return;
    }
    for flags in [0, NONBLOCK] {
        let child = zombie("exit 3");
        let fd = pidfd_open(child.id(), flags).unwrap();
        reap_externally(child.id());
        assert_eq!(errno(PidHandle::from_pidfd(fd)), ECHILD);
    }
}

/// Refused by name, and closed: the child at the other end sees that.
#[test]
fn a_pipe_is_refused() {
    let (child, stdin) = blocked_on_stdin();
    refuse(stdin.into());
    assert_eq!(reap_externally(child.id()), 3 << 8);

    refuse(File::open("/dev/null").unwrap().into());
    refuse(File::open("/proc/self").unwrap().into());
    refuse(File::open("/proc/self/stat").unwrap().into());
}

/// A thread's, even the first thread's: its exit is not the process's.
#[test]
fn a_threads_is_refused() {
    if no_pidfds() {
        return;
    }
    let child = sleeper();
    let me = nix::unistd::gettid().as_raw().unsigned_abs();
    for id in [child.id(), me] {
        match pidfd_open(id, THREAD) {
            Ok(fd) => refuse(fd),
            // An older kernel has none of them to give.
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EINVAL));
                assert!(kernel() < (6, 9));
            }
        }
    }
}

fn refuse(fd: OwnedFd) {
    let text = format!("{fd:?}");
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let error = PidHandle::from_pidfd(fd).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(&number), "{error}");
}

/// The way to a process that has no pid here, and so no handle: it came from outside.
#[test]
fn of_a_process_that_has_no_pid_here() {
    if no_pidfds() {
        return;
    }
    let outsider = pidfd_open(std::process::id(), 0).unwrap();
    let test = "from_pidfd::of_a_process_that_has_no_pid_here";
    let hand_over = |command: &mut Command| _ = command.stdin(outsider);
    if in_pid_namespace_with(test, hand_over) {
        let outsider = stdin().as_fd().try_clone_to_owned().unwrap();
        let error = PidHandle::from_pidfd(outsider).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("pid namespace"), "{error}");
    }
}
