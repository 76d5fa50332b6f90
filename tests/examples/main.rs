//! The examples run as programs: their output and exit codes, on both backends.

#[path = "../common/mod.rs"]
mod common;

mod capture;
#[cfg(target_os = "linux")]
mod init;
mod interruptible;
mod parallel;
#[cfg(target_os = "linux")]
mod pidfile;
mod pwait;
mod run;
#[cfg(feature = "tokio")]
mod step;
mod timeout;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use common::{backends, pidfds_supported, shell, sleeper, zombie};
use nix::libc::{SIGINT, SIGKILL, SIGTERM};
use pidwait::{Backend, ChildExt, KillOnDrop, PidHandle, Spawned};

/// No kernel assigns this PID.
const UNUSED_PID: &str = "2147483647";
/// Runs longer than any test, so a test that fails to end it hangs.
const FOREVER: &str = "sleep 2147483";

#[test]
fn help_is_printed_on_standard_output() {
    for file in std::fs::read_dir("examples").unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let needs_tokio = ["step", "tokio"].contains(&name);
        if file.is_dir() || needs_tokio && cfg!(not(feature = "tokio")) {
            continue;
        }
        for option in ["-h", "--help"] {
            let output = example(name).arg(option).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
            assert!(stdout(&output).starts_with(&format!("usage: {name} ")));
            assert_eq!(stderr(&output), "", "{name}");
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_example_waits_for_a_process_with_a_timeout() {
    let name = "tokio";
    for backend in backends() {
        let sleeper = KillOnDrop::new(Spawned::from(sleeper()).handle);
        let pid = sleeper.id().to_string();
        let output = run(name, &[&pid, "0"], backend);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("still runs"), "{output:?}");

        // A child of the example itself (`exec` keeps the parent): without pidfds it could not see that a
        // non-child is a zombie.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.1 & exec \"$0\" $! 600"]);
        command.arg(path(name));
        command.env("PIDWAIT_BACKEND", backend.to_string());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");

        for (args, text) in [
            (&[UNUSED_PID, "600"][..], UNUSED_PID),
            (&["0", "600"], "PID 0"),
            (&[&pid], "usage"),
            (&["init", "600"], "usage"),
        ] {
            let output = run(name, args, backend);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
            assert!(stderr(&output).contains(text), "{args:?}: {output:?}");
        }
    }
}

/// The path of an example: cargo puts them next to the directory of the test binaries.
fn path(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{path:?} is missing: run `cargo build --examples`"
    );
    path
}

fn example(name: &str) -> Command {
    let mut command = Command::new(path(name));
    command.stdin(Stdio::null());
    command
}

/// An example, with that backend forced.
fn on(name: &str, backend: Backend) -> Command {
    let mut command = example(name);
    command.env("PIDWAIT_BACKEND", backend.to_string());
    command
}

/// Runs an example until it has exited and all writers to its output have closed it.
fn run(name: &str, args: &[impl AsRef<std::ffi::OsStr>], backend: Backend) -> Output {
    on(name, backend).args(args).output().unwrap()
}

/// Starts a command with its standard output piped.
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
