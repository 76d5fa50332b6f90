//! The examples, as people run them: what they say and what they exit with, on both backends.

#[path = "../common/mod.rs"]
mod common;

mod parallel;
mod pwait;
mod run;
mod timeout;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use common::{backends, pidfds_supported, shell, sleeper, zombie};
use nix::libc::{SIGINT, SIGKILL, SIGTERM};
use pidwait::{Backend, ChildExt, KillOnDrop, PidHandle};

const UNUSED_PID: &str = "2147483647";
/// Outlives every test: whoever waits for the end of one hangs, if nobody ends it.
const FOREVER: &str = "sleep 2147483";

#[cfg(feature = "tokio")]
#[test]
fn tokio() {
    asynchronous("tokio");
}

#[cfg(feature = "async-io")]
#[test]
fn async_io() {
    asynchronous("async_io");
}

#[cfg(any(feature = "tokio", feature = "async-io"))]
fn asynchronous(name: &str) {
    for backend in backends() {
        let sleeper = KillOnDrop::new(PidHandle::from(sleeper()));
        let pid = sleeper.id().to_string();
        let output = run(name, &[&pid, "0"], backend);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("still runs"), "{output:?}");

        // A child of its own, so that by pid its exit can be seen before it is reaped.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.1 & exec \"$0\" $! 600"]);
        command.arg(path(name));
        command.env("PIDWAIT_BACKEND", backend.to_string());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");

        for (args, says) in [
            (&[UNUSED_PID, "600"][..], UNUSED_PID),
            (&["0", "600"], "pid 0"),
            (&[&pid], "usage"),
            (&["init", "600"], "usage"),
        ] {
            let output = run(name, args, backend);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
            assert!(stderr(&output).contains(says), "{args:?}: {output:?}");
        }
    }
}

/// Where cargo has put an example: beside the folder of the test binaries.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{path:?}: `cargo build --examples` makes it");
    path
}

fn example(name: &str) -> Command {
    let mut command = Command::new(path(name));
    command.stdin(Stdio::null());
    command
}

/// An example, by that backend.
fn on(name: &str, backend: Backend) -> Command {
    let mut command = example(name);
    command.env("PIDWAIT_BACKEND", backend.to_string());
    command
}

/// Runs it to its end, and to that of all that hold its output.
fn run(name: &str, args: &[impl AsRef<std::ffi::OsStr>], backend: Backend) -> Output {
    on(name, backend).args(args).output().unwrap()
}

/// Starts it, with its standard output to be read.
fn start(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, BufReader::new(stdout))
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn rest(mut output: impl Read) -> String {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    text
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
