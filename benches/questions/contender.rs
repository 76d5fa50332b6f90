//! Ways to start a child, wait for it and signal it. A contender is a type, and its traits
//! are what it can do. If a crate cannot do something, its contender lacks the trait.
//!
//! Here are std, pidwait, and the raw system calls: `raw pidfd` makes those that `pidwait pidfd`
//! cannot do without and nothing else, `raw waitpid` likewise. The other crates are in `peers`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc::{self, c_int, pid_t, WNOHANG};
use pidwait::{Backend, ChildExt, PidHandle};

use crate::{api, raw};

/// A program to start, the same for every contender.
pub(crate) struct Program {
    pub(crate) name: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) stdin: Option<OwnedFd>,
}

impl Program {
    pub(crate) fn new(name: impl Into<OsString>, args: &[&str]) -> Self {
        Self {
            name: name.into(),
            args: args.iter().map(Into::into).collect(),
            stdin: None,
        }
    }

    /// One that runs until it is killed.
    pub(crate) fn sleeper() -> Self {
        Self::new("sleep", &["3600"])
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    pub(crate) fn into_command(self) -> Command {
        let mut command = Command::new(self.name);
        command.args(self.args);
        if let Some(stdin) = self.stdin {
            command.stdin(Stdio::from(stdin));
        }
        command
    }

    pub(crate) fn spawn(self) -> Child {
        let child = self.into_command().spawn();
        child.expect("the program starts")
    }
}

pub(crate) trait Contender {
    const NAME: &'static str;
    type Process;

    fn start(program: Program) -> Self::Process;
    fn pid(process: &Self::Process) -> pid_t;
    fn wait(process: &mut Self::Process);
}

pub(crate) trait TryWait: Contender {
    /// Whether it has exited.
    fn try_wait(process: &mut Self::Process) -> bool;
}

pub(crate) trait Signal: Contender {
    fn signal(process: &mut Self::Process, signal: c_int);
}

pub(crate) trait WaitTimeout: Contender {
    /// Whether it exited in time.
    fn wait_timeout(process: &mut Self::Process, timeout: Duration) -> bool;
}

/// Kills a child and leaves its zombie for the contender to reap.
pub(crate) fn make_zombie(pid: pid_t) {
    raw::kill(pid, libc::SIGKILL);
    raw::peek_by_pid(pid, 0);
}

/// A child that runs until this is dropped.
pub(crate) struct Running<C: Contender>(pub(crate) C::Process);

impl<C: Contender> Running<C> {
    pub(crate) fn start() -> Self {
        Self(C::start(Program::sleeper()))
    }
}

impl<C: Contender> Drop for Running<C> {
    fn drop(&mut self) {
        make_zombie(C::pid(&self.0));
        C::wait(&mut self.0);
    }
}

// ---- std ----

pub(crate) struct Std;

impl Contender for Std {
    const NAME: &'static str = "std";
    type Process = Child;

    fn start(program: Program) -> Child {
        program.spawn()
    }
    fn pid(child: &Child) -> pid_t {
        child.id() as pid_t
    }
    fn wait(child: &mut Child) {
        child.wait().expect("a status");
    }
}

impl TryWait for Std {
    fn try_wait(child: &mut Child) -> bool {
        child.try_wait().expect("no error").is_some()
    }
}

// ---- pidwait ----

/// `PidHandle`, by pidfd.
pub(crate) struct Pidfd;
/// `PidHandle`, by PID.
pub(crate) struct Waitpid;
pub(crate) struct Ext;

macro_rules! handle {
    ($contender:ident, $name:literal, $backend:expr) => {
        impl Contender for $contender {
            const NAME: &'static str = $name;
            type Process = PidHandle;

            fn start(program: Program) -> PidHandle {
                api::spawn_with(&mut program.into_command(), $backend)
            }
            fn pid(handle: &PidHandle) -> pid_t {
                handle.id() as pid_t
            }
            fn wait(handle: &mut PidHandle) {
                handle.wait().expect("a status");
            }
        }

        impl TryWait for $contender {
            fn try_wait(handle: &mut PidHandle) -> bool {
                handle.try_wait().expect("no error").is_some()
            }
        }

        impl Signal for $contender {
            fn signal(handle: &mut PidHandle, signal: c_int) {
                handle.signal(signal).expect("the signal is sent");
            }
        }

        impl WaitTimeout for $contender {
            fn wait_timeout(handle: &mut PidHandle, timeout: Duration) -> bool {
                handle.wait_timeout(timeout).expect("no error").is_some()
            }
        }
    };
}

handle!(Pidfd, "pidwait pidfd", Backend::Pidfd);
handle!(Waitpid, "pidwait waitpid", Backend::Waitpid);

impl Contender for Ext {
    const NAME: &'static str = "pidwait ChildExt";
    type Process = Child;

    fn start(program: Program) -> Child {
        program.spawn()
    }
    fn pid(child: &Child) -> pid_t {
        child.id() as pid_t
    }
    fn wait(child: &mut Child) {
        child.pidfd_wait().expect("a status");
    }
}

impl TryWait for Ext {
    fn try_wait(child: &mut Child) -> bool {
        child.pidfd_try_wait().expect("no error").is_some()
    }
}

impl Signal for Ext {
    fn signal(child: &mut Child, signal: c_int) {
        child.pidfd_signal(signal).expect("the signal is sent");
    }
}

impl WaitTimeout for Ext {
    fn wait_timeout(child: &mut Child, timeout: Duration) -> bool {
        let status = child.pidfd_wait_timeout(timeout);
        status.expect("no error").is_some()
    }
}

// ---- raw system calls ----

/// One call by pidfd, and a `close` of the pidfd after the reap.
pub(crate) struct RawPidfd;
/// One call by PID reaps what has exited. A wait that blocks peeks first, and so does a signal: the
/// zombie stays, so that the PID cannot be reused meanwhile.
pub(crate) struct RawWaitpid;

impl Contender for RawPidfd {
    const NAME: &'static str = "raw pidfd";
    type Process = (pid_t, Option<OwnedFd>);

    fn start(program: Program) -> Self::Process {
        let pid = program.spawn().id() as pid_t;
        (pid, Some(raw::pidfd_open(pid)))
    }
    fn pid(process: &Self::Process) -> pid_t {
        process.0
    }
    fn wait((_, pidfd): &mut Self::Process) {
        let pidfd = pidfd.take().expect("not waited for before");
        raw::waitid_pidfd(&pidfd, 0).expect("a status");
    }
}

impl TryWait for RawPidfd {
    fn try_wait((_, pidfd): &mut Self::Process) -> bool {
        let pidfd = pidfd.as_ref().expect("not waited for before");
        raw::waitid_pidfd(pidfd, WNOHANG).is_some()
    }
}

impl Signal for RawPidfd {
    fn signal((_, pidfd): &mut Self::Process, signal: c_int) {
        let pidfd = pidfd.as_ref().expect("not waited for before");
        raw::pidfd_send_signal(pidfd, signal);
    }
}

impl WaitTimeout for RawPidfd {
    fn wait_timeout((_, pidfd): &mut Self::Process, timeout: Duration) -> bool {
        let fd = pidfd.as_ref().expect("not waited for before");
        let try_wait = || raw::waitid_pidfd(fd, WNOHANG).is_some();
        let exited = try_wait() || raw::poll_readable(fd, timeout) && try_wait();
        if exited {
            *pidfd = None;
        }
        exited
    }
}

impl Contender for RawWaitpid {
    const NAME: &'static str = "raw waitpid";
    type Process = pid_t;

    fn start(program: Program) -> pid_t {
        program.spawn().id() as pid_t
    }
    fn pid(pid: &pid_t) -> pid_t {
        *pid
    }
    fn wait(pid: &mut pid_t) {
        if !Self::try_wait(pid) {
            raw::peek_by_pid(*pid, 0);
            raw::waitpid(*pid, WNOHANG).expect("a status");
        }
    }
}

impl TryWait for RawWaitpid {
    fn try_wait(pid: &mut pid_t) -> bool {
        raw::waitpid(*pid, WNOHANG).is_some()
    }
}

impl Signal for RawWaitpid {
    fn signal(pid: &mut pid_t, signal: c_int) {
        raw::peek_by_pid(*pid, WNOHANG);
        raw::kill(*pid, signal);
    }
}
