//! `pidfile`: start, status and stop of a daemon, and files that name no running process.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::prctl::set_child_subreaper;

use crate::common::{await_zombie, exists, isolated, reap_externally};
use crate::*;

const OTHER_BOOT: &str = "0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11";

/// A file that is removed at the end.
struct PidFile(PathBuf);

impl PidFile {
    fn new(name: &str) -> Self {
        let own = std::process::id();
        Self(std::env::temp_dir().join(format!("pidwait-test-{own}-{name}.pid")))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn run(&self, args: &[&str], backend: Backend) -> Output {
        let mut command = on("pidfile", backend);
        command.arg(self.path()).args(args).output().unwrap()
    }

    #[track_caller]
    fn assert_prints(&self, args: &[&str], backend: Backend, code: i32, text: &str) {
        let output = self.run(args, backend);
        let printed = stdout(&output) + &stderr(&output);
        let text = text.replace("FILE", self.0.to_str().unwrap());
        assert!(printed.contains(&text), "{printed:?} lacks {text:?}");
        assert_eq!(output.status.code(), Some(code), "{printed}");
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

/// The PID in the file, of a daemon that this process has adopted.
fn adopted(file: &PidFile) -> u32 {
    let text = fs::read_to_string(file.path()).unwrap();
    let pid = text.split(':').next().and_then(|pid| pid.parse().ok());
    pid.expect("a PID")
}

#[test]
fn starts_finds_and_stops_a_daemon() {
    if !isolated::enter("pidfile::starts_finds_and_stops_a_daemon") {
        return;
    }
    // It reaps the daemons; process 1 of a container may not.
    set_child_subreaper(true).unwrap();
    for backend in backends() {
        let file = PidFile::new("daemon");
        file.assert_prints(&["status"], backend, 3, "not running: there is no FILE");
        file.assert_prints(&["start", "sleep", "2147483"], backend, 0, "started: PID");
        let pid = adopted(&file);
        file.assert_prints(&["status"], backend, 0, &format!("running: PID {pid}\n"));
        let second = format!("already running: PID {pid}\n");
        file.assert_prints(&["start", "sleep", "2147483"], backend, 1, &second);

        thread::scope(|scope| {
            let stopping = scope.spawn(|| file.run(&["stop"], backend));
            await_zombie(pid);
            assert_eq!(reap_externally(pid), SIGTERM);
            let output = stopping.join().unwrap();
            assert_eq!(stdout(&output), format!("stopped: PID {pid}\n"));
            assert_eq!(output.status.code(), Some(0));
        });
        assert!(!file.path().exists());
        file.assert_prints(&["stop"], backend, 3, "not running: there is no FILE");
    }
}

#[test]
fn reports_a_daemon_that_has_ended() {
    if !isolated::enter("pidfile::reports_a_daemon_that_has_ended") {
        return;
    }
    set_child_subreaper(true).unwrap();
    for backend in backends() {
        let file = PidFile::new("ended");
        file.assert_prints(&["start", "sleep", "2147483"], backend, 0, "started: PID");
        let pid = adopted(&file);
        common::kill(pid, SIGKILL);
        reap_externally(pid);
        let ended = format!("not running: process {pid} has ended");
        file.assert_prints(&["status"], backend, 3, &ended);
        file.assert_prints(&["stop"], backend, 3, &ended);
        assert!(!file.path().exists(), "stop removes the stale file");
    }
}

/// The process that has the PID now stays untouched.
#[test]
fn reports_a_stale_file() {
    for backend in backends() {
        let file = PidFile::new("stale");
        let other = KillOnDrop::new(Spawned::from(sleeper()).handle);
        let pid = other.id();
        let identity = other.identity().unwrap().to_string();
        let [_, start, boot] =
            <[&str; 3]>::try_from(identity.split(':').collect::<Vec<_>>()).unwrap();

        let reused = format!("not running: stale FILE: another process has PID {pid} now");
        for action in ["status", "stop"] {
            fs::write(file.path(), format!("{pid}:1{start}:{boot}\n")).unwrap();
            file.assert_prints(&[action], backend, 3, &reused);
        }
        for action in ["status", "stop"] {
            fs::write(file.path(), format!("{pid}:{start}:{OTHER_BOOT}\n")).unwrap();
            file.assert_prints(
                &[action],
                backend,
                3,
                "not running: stale FILE: rebooted since",
            );
        }
        assert!(exists(pid));
        assert!(!other.has_exited().unwrap());
    }
}

#[test]
fn reports_what_is_wrong() {
    for backend in backends() {
        let file = PidFile::new("wrong");
        file.assert_prints(&[], backend, 1, "usage");
        file.assert_prints(&["start"], backend, 1, "usage");
        file.assert_prints(&["restart"], backend, 1, "usage");
        let missing = "/nonexistent/program";
        file.assert_prints(&["start", missing], backend, 1, missing);
        assert!(!file.path().exists());
        file.assert_prints(&["start", "false"], backend, 1, "\"false\" ended at once");
        assert!(!file.path().exists());

        for (text, problem) in [
            ("4711\n", "the start time is missing"),
            ("", "the PID is not a plain number"),
            ("0x10:1:2", "the PID is not a plain number"),
        ] {
            fs::write(file.path(), text).unwrap();
            for action in [&["status"][..], &["stop"], &["start", "true"]] {
                let expected = format!("FILE: not a process identity: {problem}");
                file.assert_prints(action, backend, 1, &expected);
            }
            assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
        }
    }
}
