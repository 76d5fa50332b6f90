//! Non-children that become children, by adoption: a process for each test, because that is a property
//! of the whole process.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use crate::common::isolated::{enter, enter_with_each_backend};
use crate::common::{
    await_gone, await_state, backends, become_subreaper, errno, eventually, exhaust_descriptors,
    kill, line, readable, shell, sleeper, while_asleep, LONG,
};
use nix::libc::{ECHILD, SIGKILL};
use pidwait::{PidHandle, WaitSet};

/// A grandchild, and its parent, which is killed to make it an orphan.
struct Grandchild {
    pid: u32,
    parent: std::process::Child,
}

impl Grandchild {
    fn new() -> Self {
        let mut command = shell("exec 2>/dev/null; sleep 600 & echo $!; wait");
        let mut parent = command.stdout(Stdio::piped()).spawn().expect("sh starts");
        let pid = line(&mut parent).parse().expect("a PID");
        Self { pid, parent }
    }

    /// Returns when this process has adopted it.
    fn orphan(&mut self) {
        self.parent.kill().expect("kill");
        self.parent.wait().expect("wait");
        let own_pid = std::process::id().to_string();
        eventually("adopted", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
            stat.rsplit(") ").next().unwrap().split(' ').nth(1) == Some(&own_pid)
        });
    }
}

#[test]
fn adopted_process_is_a_child_from_then_on() {
    if !enter("adoption::adopted_process_is_a_child_from_then_on") {
        return;
    }
    become_subreaper();
    for backend in backends() {
        let mut grandchild = Grandchild::new();
        let handle = PidHandle::open_with(grandchild.pid, backend).unwrap();
        assert_eq!(errno(handle.wait()), ECHILD);
        grandchild.orphan();
        assert!(handle.try_wait().unwrap().is_none());
        assert!(!handle.has_exited().unwrap());
        let timeout = Duration::from_millis(1);
        assert!(handle.wait_timeout(timeout).unwrap().is_none());
        handle.kill().unwrap();
        await_state(grandchild.pid, 'Z');
        assert!(handle.has_exited().unwrap());
        handle.wait_exited().unwrap();
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(errno(handle.wait()), ECHILD);
    }
}

/// Only this process can reap the zombie, so waiting for it to disappear would take forever.
#[test]
fn zombie_of_an_adopted_process_has_exited() {
    if !enter("adoption::zombie_of_an_adopted_process_has_exited") {
        return;
    }
    become_subreaper();
    for backend in backends() {
        let mut grandchild = Grandchild::new();
        let handle = PidHandle::open_with(grandchild.pid, backend).unwrap();
        let exit = handle.exit_fd().unwrap();
        grandchild.orphan();
        while_asleep(|| handle.wait_exited(), || kill(grandchild.pid, SIGKILL)).unwrap();
        assert!(handle.has_exited().unwrap());
        assert!(readable(&exit, LONG));
        assert_eq!(handle.wait().unwrap().signal(), Some(SIGKILL));
    }
}

/// The adoption happens while the wait or the set is waiting.
#[test]
fn adoption_during_a_wait_is_noticed() {
    if !enter("adoption::adoption_during_a_wait_is_noticed") {
        return;
    }
    become_subreaper();
    for backend in backends() {
        let mut grandchild = Grandchild::new();
        let pid = grandchild.pid;
        let handle = PidHandle::open_with(pid, backend).unwrap();
        let adopt_and_kill = || {
            grandchild.orphan();
            kill(pid, SIGKILL);
        };
        while_asleep(|| handle.wait_exited(), adopt_and_kill).unwrap();

        let mut grandchild = Grandchild::new();
        let handle = PidHandle::open_with(grandchild.pid, backend).unwrap();
        let mut set = WaitSet::new().unwrap();
        set.insert(handle, ()).unwrap();
        grandchild.orphan();
        kill(grandchild.pid, SIGKILL);
        let exited = set.wait_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
    }
}

/// By PID, whether it is still the same process cannot be checked without a descriptor, and no thread
/// can be started. The next call checks again.
#[test]
fn adopted_process_is_reaped_in_the_background_after_a_lack_of_descriptors() {
    let test = "adoption::adopted_process_is_reaped_in_the_background_after_a_lack_of_descriptors";
    if !enter_with_each_backend(test) {
        return;
    }
    become_subreaper();
    let mut grandchild = Grandchild::new();
    let handle = PidHandle::open(grandchild.pid).unwrap();
    let other = PidHandle::open(sleeper().id()).unwrap();
    grandchild.orphan();
    let files = exhaust_descriptors();
    handle.reap_in_background();
    drop(files);
    kill(grandchild.pid, SIGKILL);
    await_state(grandchild.pid, 'Z');
    other.reap_in_background();
    await_gone(grandchild.pid);
}
