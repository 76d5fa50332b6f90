//! Heirs to the pid of a child that was reaped, in a pid namespace where the next pid can be chosen.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::libc::SIGTERM;

use super::isolated::{current_part, run_isolated_under};
use super::{
    await_zombie, eventually, exists, fork_and_exit, is_root, kill, leads_group, line,
    reap_externally, shell, skip, sleeper, state_of, zombie,
};

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Plays a test in a pid namespace of its own. False where that cannot be had, or it is over.
pub(crate) fn in_pid_namespace(test: &str) -> bool {
    in_pid_namespace_with(test, |_| {})
}

/// The same with something to take along.
pub(crate) fn in_pid_namespace_with(test: &str, prepare: impl FnOnce(&mut Command)) -> bool {
    if current_part().is_some() {
        return true;
    }
    // In words that busybox knows as well.
    let mut wrapper = vec!["unshare", "-p", "-f", "--mount-proc"];
    if !is_root() {
        wrapper.extend(["-U", "-r"]);
    }
    // Whoever waits for a running heir waits for long. With its first process the namespace ends.
    wrapper.extend(["timeout", "-s", "KILL", "120"]);
    let tried = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .args(["test", "-w", LAST_PID])
        .output();
    match tried {
        Ok(output) if output.status.success() => {
            run_isolated_under(&wrapper, test, "alone", prepare)
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            skip(&format!("no pid namespace ({}): {said}", output.status));
        }
        Err(error) => skip(&format!("no {}: {error}", wrapper[0])),
    }
    false
}

/// Has the next process that is started get a certain pid, which must be free.
fn set_next_pid(pid: u32) {
    assert!(!exists(pid), "{pid} is not free");
    fs::write(LAST_PID, (pid - 1).to_string()).expect("the next pid can be chosen");
}

/// Another child of ours, who has got the pid of one that was reaped.
pub(crate) enum ReusedPid {
    Running(u32),
    Zombie(u32),
}

impl ReusedPid {
    pub(crate) const KINDS: [fn(u32) -> Self; 2] = [ReusedPid::running, ReusedPid::zombie];

    pub(crate) fn running(pid: u32) -> Self {
        with_pid(pid, sleeper);
        ReusedPid::Running(pid)
    }

    pub(crate) fn zombie(pid: u32) -> Self {
        with_pid(pid, || zombie("exit 7"));
        ReusedPid::Zombie(pid)
    }

    /// The same sooner, for there is nothing to execute.
    pub(crate) fn forked_zombie(pid: u32) -> Self {
        set_next_pid(pid);
        assert_eq!(fork_and_exit(7), pid);
        await_zombie(pid);
        ReusedPid::Zombie(pid)
    }

    /// It is there, not reaped, and ends as it was to end: the running one by our own signal, and
    /// not by any that came before.
    pub(crate) fn assert_untouched(self) {
        match self {
            ReusedPid::Running(pid) => {
                assert_ne!(state_of(pid), Some('Z'), "it was killed");
                kill(pid, SIGTERM);
                assert_eq!(reap_externally(pid), SIGTERM);
            }
            ReusedPid::Zombie(pid) => assert_eq!(reap_externally(pid), 7 << 8),
        }
    }
}

/// Starts children until one has got the pid, which the kernel frees a moment after it has taken
/// the name out of /proc.
fn with_pid(pid: u32, start: fn() -> Child) {
    loop {
        set_next_pid(pid);
        let mut child = start();
        if child.id() == pid {
            return;
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}

/// Somebody else's child who has got such a pid.
pub(crate) struct ForeignReusedPid(Child);

impl ForeignReusedPid {
    pub(crate) fn with_pid(pid: u32) -> Self {
        Self::running("cat", pid)
    }

    /// One that leads a process group.
    pub(crate) fn leading_group(pid: u32) -> Self {
        let reused = Self::running("setsid cat", pid);
        eventually("the reused leads a group", || leads_group(pid));
        reused
    }

    fn running(command: &str, pid: u32) -> Self {
        // The shell is there before the pid is chosen, and starts it only then.
        let script = format!("read line; exec 3<&0; {command} <&3 & echo $!; wait $!; echo $?");
        let mut parent = shell(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        set_next_pid(pid);
        let stdin = parent.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"go\n").expect("it reads");
        assert_eq!(line(&mut parent), pid.to_string());
        Self(parent)
    }

    /// It runs to the end of its input, for no signal has ended it before.
    pub(crate) fn assert_untouched(mut self) {
        drop(self.0.stdin.take());
        assert_eq!(line(&mut self.0), "0", "it was killed");
        self.0.wait().expect("it is ours");
    }
}
