//! Children to test with. All are killed when the test's thread ends, whatever happens.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::libc;

use super::await_zombie;

/// A child that runs a shell script.
pub(crate) fn sh(script: &str) -> Child {
    shell(script).spawn().expect("sh starts")
}

/// The same, not started yet.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    die_with_parent(&mut command);
    command
}

/// A child that runs until it is killed.
pub(crate) fn sleeper() -> Child {
    sleep().spawn().expect("sleep starts")
}

/// The same, not started yet.
pub(crate) fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null());
    die_with_parent(&mut command);
    command
}

/// A child that exits with code 3 when its standard input closes, which is handed out for that.
pub(crate) fn blocked_on_stdin() -> (Child, ChildStdin) {
    let mut command = shell("read x; exit 3");
    let mut child = command.stdin(Stdio::piped()).spawn().expect("sh starts");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

/// A child that has exited and is not reaped yet.
pub(crate) fn zombie(script: &str) -> Child {
    let child = sh(script);
    await_zombie(child.id());
    child
}

/// A child that runs a script with its standard output piped.
pub(crate) fn with_piped_stdout(script: &str) -> Child {
    let mut command = shell(script);
    command.stdout(Stdio::piped()).spawn().expect("sh starts")
}

/// A child that runs a script which says "ready" when it has set its traps.
pub(crate) fn ready(script: &str) -> Child {
    let mut command = shell(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sh starts");
    assert_eq!(line(&mut child), "ready");
    child
}

/// A child that does not mind SIGTERM.
pub(crate) fn ignoring_sigterm() -> Child {
    ready("trap '' TERM; echo ready; exec sleep 600")
}

/// The next line that a child writes to its piped standard output: it has come that far.
pub(crate) fn line(child: &mut Child) -> String {
    let stdout = child.stdout.as_mut().expect("a pipe");
    let mut line = String::new();
    loop {
        // No more than the line: the rest is the test's.
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("a line");
        match char::from(byte[0]) {
            '\n' => return line,
            char => line.push(char),
        }
    }
}

/// Starts a child that does nothing but exit, which is sooner than any program does; returns its
/// pid.
pub(crate) fn fork_and_exit(code: i32) -> u32 {
    clone_and_exit(libc::SIGCHLD, code)
}

/// The same with the signal that its end is to send; unless that is SIGCHLD, ordinary waits do not
/// own to it.
pub(crate) fn clone_and_exit(signal: i32, code: i32) -> u32 {
    const NONE: libc::c_long = 0;
    let flags = libc::c_long::from(signal);
    // SAFETY: without a stack of its own it is a fork; all that the child does is below.
    match unsafe { libc::syscall(libc::SYS_clone, flags, NONE, NONE, NONE, NONE) } {
        // SAFETY: async-signal-safe, and does not return.
        0 => unsafe { libc::_exit(code) },
        pid => u32::try_from(pid).expect("clone"),
    }
}

/// Kills the child when the *thread* that spawns it ends: a test's children end with the test.
fn die_with_parent(command: &mut Command) {
    let set = || {
        // SAFETY: prctl takes integers here, and is async-signal-safe.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes that one call, and allocates nothing.
    unsafe { command.pre_exec(set) };
}
