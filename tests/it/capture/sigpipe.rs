//! A write to a pipe that the child has closed raises no SIGPIPE, whatever its disposition. That is
//! the process's, so each test has one of its own.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::{raise, SigSet, Signal};
use pidwait::{Capture, PidHandle};

use super::DRIVERS;
use crate::common::isolated::enter;
use crate::common::{interrupt_calls, interruptions, set_action};
use nix::libc::{SIGPIPE, SIG_DFL, SIG_IGN};

fn check() {
    let before = SigSet::thread_get_mask().unwrap();
    let mut command = Command::new("true");
    let capture = Capture::new().input(vec![b'x'; 1 << 20]);
    for driver in DRIVERS {
        for _ in 0..10 {
            let captured = driver.output(&capture, &mut command).unwrap();
            assert!(captured.success());
            assert!(captured.input_written < 1 << 20);
        }
    }
    assert_eq!(SigSet::thread_get_mask().unwrap(), before);
}

fn block() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGPIPE);
    set.thread_block().unwrap();
    set
}

#[test]
fn ignored_sigpipe_is_not_raised() {
    if enter("capture::sigpipe::ignored_sigpipe_is_not_raised") {
        set_action(SIGPIPE, SIG_IGN);
        check();
    }
}

/// It would kill this process.
#[test]
fn default_sigpipe_is_not_raised() {
    if enter("capture::sigpipe::default_sigpipe_is_not_raised") {
        set_action(SIGPIPE, SIG_DFL);
        check();
    }
}

#[test]
fn handled_sigpipe_is_not_raised() {
    if enter("capture::sigpipe::handled_sigpipe_is_not_raised") {
        interrupt_calls(SIGPIPE);
        check();
        assert_eq!(interruptions(SIGPIPE), 0);
    }
}

#[test]
fn blocked_sigpipe_is_not_left_pending() {
    if enter("capture::sigpipe::blocked_sigpipe_is_not_left_pending") {
        interrupt_calls(SIGPIPE);
        let set = block();
        check();
        set.thread_unblock().unwrap();
        assert_eq!(interruptions(SIGPIPE), 0);
    }
}

#[test]
fn sigpipe_that_was_pending_stays_pending() {
    if enter("capture::sigpipe::sigpipe_that_was_pending_stays_pending") {
        interrupt_calls(SIGPIPE);
        let set = block();
        raise(Signal::SIGPIPE).unwrap();
        check();
        set.thread_unblock().unwrap();
        assert_eq!(interruptions(SIGPIPE), 1);
    }
}

/// A socket raises the signal as well.
#[test]
fn socket_as_stdin_raises_no_sigpipe() {
    if enter("capture::sigpipe::socket_as_stdin_raises_no_sigpipe") {
        set_action(SIGPIPE, SIG_DFL);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new("true");
        command.stdin(OwnedFd::from(theirs));
        let mut spawned = PidHandle::spawn(&mut command).unwrap();
        drop(command);
        spawned.stdin = Some(OwnedFd::from(ours).into());
        let capture = Capture::new().input(vec![b'x'; 1 << 20]);
        assert!(capture.run(&mut spawned).unwrap().status.unwrap().success());
    }
}
