//! PID reuse on demand: in a PID namespace of its own a test can choose the next PID, and so can
//! give the PID of a reaped child to another process.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::libc::{self, SIGTERM};

use super::isolated::{current_part, enter_under, run_isolated_under};
use super::{
    await_zombie, eventually, exists, fork_and_exit, is_root, kill, leads_group, line,
    reap_externally, shell, skip, sleeper, state_of, zombie,
};

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Runs a test in a PID namespace of its own. Returns true in that process. Elsewhere it returns
/// false, after the isolated run or if this system cannot create a namespace.
pub(crate) fn in_pid_namespace(test: &str) -> bool {
    in_pid_namespace_with(test, |_| {})
}

/// Like [`in_pid_namespace`], with a hook that prepares the command.
pub(crate) fn in_pid_namespace_with(test: &str, prepare: impl FnOnce(&mut Command)) -> bool {
    if current_part().is_some() {
        return true;
    }
    // Only options that busybox's unshare has, too.
    let mut wrapper = vec!["unshare", "-p", "-f", "--mount-proc"];
    if !is_root() {
        wrapper.extend(["-U", "-r"]);
    }
    // A faulty call may wait for a sleeping process. The timeout kills the first process of the
    // namespace, and with it all others.
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
            let stderr = String::from_utf8_lossy(&output.stderr);
            skip(&format!("no PID namespace ({}): {stderr}", output.status));
        }
        Err(error) => skip(&format!("no {}: {error}", wrapper[0])),
    }
    false
}

/// Runs a test in a PID namespace that still has the outer `/proc`: `unshare -p -f` without
/// `--mount-proc`. Returns false outside of it.
pub(crate) fn enter_foreign_proc(test: &str) -> bool {
    let mut wrapper = vec!["unshare", "-p", "-f"];
    if !is_root() {
        wrapper.extend(["-U", "-r"]);
    }
    enter_under(&wrapper, test, "no PID namespace")
}

/// Like [`in_pid_namespace`], once for each backend, which new handles then use.
pub(crate) fn in_pid_namespace_with_each_backend(test: &str) -> bool {
    if current_part().is_some() {
        return true;
    }
    for backend in super::backends() {
        in_pid_namespace_with(test, |command| {
            command.env("PIDWAIT_BACKEND", backend.to_string());
        });
    }
    false
}

/// Hides `/proc` during a call. Only in a namespace of this module, which has mounts of its own.
pub(crate) fn without_proc<T>(call: impl FnOnce() -> T) -> T {
    let (proc, tmpfs) = (c"/proc".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: the strings end with a zero, and the call accepts null data.
    let mounted = unsafe { libc::mount(tmpfs, proc, tmpfs, 0, std::ptr::null()) };
    assert_eq!(mounted, 0, "mount: {}", std::io::Error::last_os_error());
    let result = call();
    unmount_proc();
    result
}

fn unmount_proc() {
    // SAFETY: the string ends with a zero.
    let unmounted = unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) };
    assert_eq!(unmounted, 0, "umount: {}", std::io::Error::last_os_error());
}

/// Covers `/proc` with that of a nested PID namespace during a call. It has another process with that
/// PID. Only in a namespace of this module, which has mounts of its own.
pub(crate) fn with_nested_proc<T>(pid: u32, call: impl FnOnce() -> T) -> T {
    await_next_tick();
    let last = pid - 1;
    let script = format!(
        "mount -t proc proc /proc; echo {last} >{LAST_PID}; sleep 60 <&- & echo $!; read line"
    );
    let mut nested = Command::new("unshare")
        .args(["-p", "-f", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    assert_eq!(line(&mut nested), pid.to_string());
    let result = call();
    unmount_proc();
    drop(nested.stdin.take());
    nested.wait().expect("wait");
    result
}

/// Makes the kernel give this PID, which must be free, to the next process.
fn set_next_pid(pid: u32) {
    assert!(!exists(pid), "{pid} is not free");
    await_next_tick();
    fs::write(LAST_PID, (pid - 1).to_string()).expect("the next PID can be set");
}

/// Waits for the next clock tick, because start times are counted in ticks of 10 ms: no kernel reuses
/// a PID so soon, unless a test makes it.
fn await_next_tick() {
    let uptime = || {
        let text = fs::read_to_string("/proc/uptime").expect("/proc is mounted");
        // The second field is the idle time of the CPUs, which changes more often.
        text.split(' ').next().map(str::to_owned)
    };
    let now = uptime();
    while uptime() == now {
        thread::yield_now();
    }
}

/// Another child of this process, with the PID of a child that was reaped.
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

    /// Like [`ReusedPid::zombie`], but faster: it only forks.
    pub(crate) fn forked_zombie(pid: u32) -> Self {
        // If another thread reaps the process that had it, the PID is free a moment after that has gone.
        eventually("the PID is free", || {
            set_next_pid(pid);
            let forked = fork_and_exit(7);
            if forked != pid {
                reap_externally(forked);
            }
            forked == pid
        });
        await_zombie(pid);
        ReusedPid::Zombie(pid)
    }

    /// Asserts that the process was neither reaped nor signalled: the running one dies by the
    /// SIGTERM sent here, the zombie still has its exit code.
    pub(crate) fn assert_untouched(self) {
        match self {
            ReusedPid::Running(pid) => {
                assert_ne!(state_of(pid), Some('Z'), "another process was killed");
                kill(pid, SIGTERM);
                assert_eq!(reap_externally(pid), SIGTERM);
            }
            ReusedPid::Zombie(pid) => assert_eq!(reap_externally(pid), 7 << 8),
        }
    }
}

/// Starts children until one has the PID. The kernel removes a reaped PID from /proc a moment before
/// it frees the number, so the first attempt can miss.
fn with_pid(pid: u32, start: fn() -> Child) {
    loop {
        set_next_pid(pid);
        let mut child = start();
        if child.id() == pid {
            return;
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}

/// A child of another process, with the PID of a child that was reaped.
pub(crate) struct ForeignReusedPid(Child);

impl ForeignReusedPid {
    pub(crate) fn with_pid(pid: u32) -> Self {
        Self::running("cat", pid)
    }

    /// Starts one that leads a process group.
    pub(crate) fn leading_group(pid: u32) -> Self {
        let reused = Self::running("setsid cat", pid);
        eventually("it leads a group", || leads_group(pid));
        reused
    }

    fn running(command: &str, pid: u32) -> Self {
        // The shell starts first and forks only after it reads a line, when the PID is set.
        let script = format!("read line; exec 3<&0; {command} <&3 & echo $!; wait $!; echo $?");
        let mut parent = shell(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        set_next_pid(pid);
        let stdin = parent.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"go\n").expect("the shell reads its input");
        assert_eq!(line(&mut parent), pid.to_string());
        Self(parent)
    }

    /// Asserts that no signal ended it: it runs to the end of its input and exits with 0.
    pub(crate) fn assert_untouched(mut self) {
        drop(self.0.stdin.take());
        assert_eq!(line(&mut self.0), "0", "another process was killed");
        self.0.wait().expect("wait");
    }
}
