//! Systems other than Linux: without /proc, thread IDs and signals at the end of a parent.

use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::libc::{self, c_int, pid_t};

use super::descriptor_limit;

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ThreadId(usize);

pub(crate) fn this_thread() -> ThreadId {
    // SAFETY: takes no arguments and cannot fail.
    ThreadId(unsafe { libc::pthread_self() } as usize)
}

/// Sends a signal to one thread of this process.
pub(crate) fn kill_thread(thread: ThreadId, signal: c_int) {
    // SAFETY: the tests signal only threads that have not been joined.
    let sent = unsafe { libc::pthread_kill(thread.0 as libc::pthread_t, signal) };
    assert_eq!(sent, 0, "pthread_kill");
}

/// Nothing here tells what a thread does, so this gives it time to block.
pub(crate) fn sleeps(_thread: ThreadId) -> bool {
    thread::sleep(Duration::from_millis(50));
    true
}

pub(crate) fn await_library_threads() {
    thread::sleep(Duration::from_millis(50));
}

pub(crate) fn waits_for_a_child(thread: ThreadId) -> bool {
    sleeps(thread)
}

/// Returns whether a process with this PID exists, as a zombie or not.
pub(crate) fn exists(pid: u32) -> bool {
    let pid = pid_t::try_from(pid).expect("a PID");
    // SAFETY: takes two integers; signal 0 only checks the permission.
    let sent = unsafe { libc::kill(pid, 0) };
    sent == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Returns the state letter of a process: R, S, T, Z.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let mut ps = Command::new("ps");
    let output = ps.args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let text = String::from_utf8(output.expect("ps starts").stdout).expect("text");
    text.trim_start().chars().next()
}

/// Returns whether a process leads a process group.
pub(crate) fn leads_group(pid: u32) -> bool {
    let pid = pid_t::try_from(pid).expect("a PID");
    // SAFETY: takes an integer.
    unsafe { libc::getpgid(pid) == pid }
}

/// Nothing ends the child with the test, so at least it does not keep the test's output open.
pub(crate) fn die_with_parent(command: &mut Command) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
}

/// Starts a child that exits at once, without the delay of an exec, and returns its PID.
pub(crate) fn fork_and_exit(code: i32) -> u32 {
    // SAFETY: the child only calls `_exit`.
    match unsafe { libc::fork() } {
        // SAFETY: async-signal-safe, and does not return.
        0 => unsafe { libc::_exit(code) },
        pid => u32::try_from(pid).expect("fork"),
    }
}

/// Returns how many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    let limit = c_int::try_from(descriptor_limit().rlim_cur.min(10_240)).expect("a small number");
    // SAFETY: F_GETFD takes no third argument.
    let is_open = |fd: &c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
    (0..limit).filter(is_open).count()
}

/// Returns the highest signal number.
pub(crate) fn last_signal() -> c_int {
    match () {
        () if cfg!(target_os = "freebsd") => 128,
        () if cfg!(target_os = "android") => 64,
        () => 31,
    }
}

/// Resets a signal's action. For use between fork and exec.
pub(crate) fn reset_action(signal: c_int) {
    // SAFETY: async-signal-safe, and installs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// There is no `/proc` to tell.
pub(crate) fn has_living_member(_group: u32) -> bool {
    false
}
