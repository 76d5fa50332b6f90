//! Children to test with. The kernel kills them when the thread of the test ends, even by a panic.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::libc;

use super::await_zombie;
#[cfg(not(target_os = "linux"))]
use super::die_with_parent;

/// Starts a child that runs a shell script.
pub(crate) fn sh(script: &str) -> Child {
    shell(script).spawn().expect("sh starts")
}

/// Returns a command that runs a shell script.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    die_with_parent(&mut command);
    command
}

/// Starts a child that runs until it is killed.
pub(crate) fn sleeper() -> Child {
    sleep().spawn().expect("sleep starts")
}

/// Returns a command that runs until it is killed.
pub(crate) fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600").stdin(Stdio::null());
    die_with_parent(&mut command);
    command
}

/// Starts a child that exits with code 3 when its standard input closes, and returns the other end
/// of that pipe.
pub(crate) fn blocked_on_stdin() -> (Child, ChildStdin) {
    let mut command = shell("read x; exit 3");
    let mut child = command.stdin(Stdio::piped()).spawn().expect("sh starts");
    let stdin = child.stdin.take().expect("a pipe");
    (child, stdin)
}

/// Starts a child and returns when it is a zombie.
pub(crate) fn zombie(script: &str) -> Child {
    let child = sh(script);
    await_zombie(child.id());
    child
}

/// Starts a child that runs a script with its standard output piped.
pub(crate) fn with_piped_stdout(script: &str) -> Child {
    let mut command = shell(script);
    command.stdout(Stdio::piped()).spawn().expect("sh starts")
}

/// Starts a child and waits until its script prints "ready", after it has set its traps.
pub(crate) fn ready(script: &str) -> Child {
    let mut command = shell(script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sh starts");
    assert_eq!(line(&mut child), "ready");
    child
}

/// Starts a child that ignores SIGTERM.
pub(crate) fn ignoring_sigterm() -> Child {
    ready("trap '' TERM; echo ready; exec sleep 600")
}

/// Waits for the next line of a child's piped standard output and returns it.
pub(crate) fn line(child: &mut Child) -> String {
    line_of(child.stdout.as_mut().expect("a pipe"))
}

/// Waits for the next line of a pipe and returns it.
pub(crate) fn line_of(stdout: &mut impl Read) -> String {
    let mut line = String::new();
    loop {
        // Read byte by byte: what follows the line belongs to the test.
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("a line");
        match char::from(byte[0]) {
            '\n' => return line,
            char => line.push(char),
        }
    }
}

/// Starts a child that exits at once, without the delay of an exec, and returns its PID.
#[cfg(target_os = "linux")]
pub(crate) fn fork_and_exit(code: i32) -> u32 {
    clone_and_exit(libc::SIGCHLD, code)
}

/// Like [`fork_and_exit`], with a choice of the exit signal. Waits without `__WALL` or `__WCLONE`
/// ignore a child whose exit signal is not SIGCHLD.
#[cfg(target_os = "linux")]
pub(crate) fn clone_and_exit(signal: i32, code: i32) -> u32 {
    // SAFETY: the child only calls `_exit`.
    match unsafe { super::fork::raw_clone(signal) } {
        // SAFETY: async-signal-safe, and does not return.
        0 => unsafe { libc::_exit(code) },
        pid => u32::try_from(pid).expect("clone"),
    }
}

/// Makes the kernel kill the child when the *thread* that spawns it ends, so that the children of a
/// test end with the test.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let set = || {
        // SAFETY: this prctl takes integers and is async-signal-safe.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call and does not allocate.
    unsafe { command.pre_exec(set) };
}
