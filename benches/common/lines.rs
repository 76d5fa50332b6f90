//! A line of a table is a type: what it can do are the traits that it has, and what it cannot do
//! nobody imitates. Here are std, pidwait, and the system calls that pidwait cannot do without.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use nix::libc::{c_int, pid_t, WNOHANG, WNOWAIT};
use pidwait::{Backend, ChildExt, PidHandle};

use super::{bare, Program};

pub(crate) trait Line {
    const NAME: &'static str;
    type Process;

    /// Starts the program, and takes it over.
    fn start(program: Program) -> Self::Process;
    fn pid(process: &Self::Process) -> pid_t;
    fn wait(process: &mut Self::Process);
}

pub(crate) trait TryWait: Line {
    /// Whether it has exited.
    fn try_wait(process: &mut Self::Process) -> bool;
}

pub(crate) trait Signal: Line {
    fn signal(process: &mut Self::Process, signal: c_int);
}

pub(crate) trait Timed: Line {
    /// Whether it exited within the limit.
    fn wait_timeout(process: &mut Self::Process, limit: Duration) -> bool;
}

pub(crate) fn spawn(program: Program) -> Child {
    program.into_command().spawn().expect("it starts")
}

// ---- std ----

pub(crate) struct Std;

impl Line for Std {
    const NAME: &'static str = "std Child";
    type Process = Child;

    fn start(program: Program) -> Child {
        spawn(program)
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
        child.try_wait().expect("an answer").is_some()
    }
}

// ---- pidwait ----

/// `PidHandle`, by pidfd.
pub(crate) struct Pidfd;
/// `PidHandle`, by pid.
pub(crate) struct Waitpid;
/// `ChildExt`.
pub(crate) struct Ext;

macro_rules! handle {
    ($line:ident, $name:literal, $backend:expr) => {
        impl Line for $line {
            const NAME: &'static str = $name;
            type Process = PidHandle;

            fn start(program: Program) -> PidHandle {
                let pid = spawn(program).id();
                PidHandle::open_with(pid, $backend).expect("a handle")
            }
            fn pid(handle: &PidHandle) -> pid_t {
                handle.id() as pid_t
            }
            fn wait(handle: &mut PidHandle) {
                handle.wait().expect("a status");
            }
        }

        impl TryWait for $line {
            fn try_wait(handle: &mut PidHandle) -> bool {
                handle.try_wait().expect("an answer").is_some()
            }
        }

        impl Signal for $line {
            fn signal(handle: &mut PidHandle, signal: c_int) {
                handle.signal(signal).expect("it is sent");
            }
        }

        impl Timed for $line {
            fn wait_timeout(handle: &mut PidHandle, limit: Duration) -> bool {
                handle.wait_timeout(limit).expect("an answer").is_some()
            }
        }
    };
}

handle!(Pidfd, "pidwait pidfd", Backend::Pidfd);
handle!(Waitpid, "pidwait waitpid", Backend::Waitpid);

impl Line for Ext {
    const NAME: &'static str = "pidwait ChildExt";
    type Process = Child;

    fn start(program: Program) -> Child {
        spawn(program)
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
        child.pidfd_try_wait().expect("an answer").is_some()
    }
}

impl Signal for Ext {
    fn signal(child: &mut Child, signal: c_int) {
        child.pidfd_signal(signal).expect("it is sent");
    }
}

impl Timed for Ext {
    fn wait_timeout(child: &mut Child, limit: Duration) -> bool {
        let status = child.pidfd_wait_timeout(limit);
        status.expect("an answer").is_some()
    }
}

// ---- the least that each of them can do with: `bare X` goes with `pidwait X` ----

/// One call by descriptor, and the descriptor closed once it is of no more use.
pub(crate) struct BarePidfd;
/// By pid: one call reaps what has exited; a look that blocks, or that comes before a signal, leaves
/// the zombie where it is.
pub(crate) struct BareWaitpid;
/// A descriptor for each call, and looks around std's own wait.
pub(crate) struct BareExt;

impl Line for BarePidfd {
    const NAME: &'static str = "bare pidfd";
    type Process = (pid_t, Option<OwnedFd>);

    fn start(program: Program) -> Self::Process {
        let pid = spawn(program).id() as pid_t;
        (pid, Some(bare::pidfd_open(pid)))
    }
    fn pid(process: &Self::Process) -> pid_t {
        process.0
    }
    fn wait((_, fd): &mut Self::Process) {
        let fd = fd.take().expect("not waited for before");
        bare::waitid_pidfd(&fd, 0).expect("a status");
    }
}

impl TryWait for BarePidfd {
    fn try_wait((_, fd): &mut Self::Process) -> bool {
        let fd = fd.as_ref().expect("not waited for before");
        bare::waitid_pidfd(fd, WNOHANG).is_some()
    }
}

impl Signal for BarePidfd {
    fn signal((_, fd): &mut Self::Process, signal: c_int) {
        bare::pidfd_send_signal(fd.as_ref().expect("not waited for before"), signal);
    }
}

impl Timed for BarePidfd {
    fn wait_timeout(process: &mut Self::Process, limit: Duration) -> bool {
        let fd = process.1.as_ref().expect("not waited for before");
        let exited =
            Self::try_wait_fd(fd) || bare::readable_within(fd, limit) && Self::try_wait_fd(fd);
        if exited {
            process.1 = None;
        }
        exited
    }
}

impl BarePidfd {
    fn try_wait_fd(fd: &OwnedFd) -> bool {
        bare::waitid_pidfd(fd, WNOHANG).is_some()
    }
}

impl Line for BareWaitpid {
    const NAME: &'static str = "bare waitpid";
    type Process = pid_t;

    fn start(program: Program) -> pid_t {
        spawn(program).id() as pid_t
    }
    fn pid(pid: &pid_t) -> pid_t {
        *pid
    }
    fn wait(pid: &mut pid_t) {
        if !Self::try_wait(pid) {
            bare::look_by_pid(*pid, true);
            bare::waitpid(*pid, WNOHANG).expect("a status");
        }
    }
}

impl TryWait for BareWaitpid {
    fn try_wait(pid: &mut pid_t) -> bool {
        bare::waitpid(*pid, WNOHANG).is_some()
    }
}

impl Signal for BareWaitpid {
    fn signal(pid: &mut pid_t, signal: c_int) {
        bare::look_by_pid(*pid, false);
        bare::kill(*pid, signal);
    }
}

impl Line for BareExt {
    const NAME: &'static str = "bare ChildExt";
    type Process = Child;

    fn start(program: Program) -> Child {
        spawn(program)
    }
    fn pid(child: &Child) -> pid_t {
        child.id() as pid_t
    }
    fn wait(child: &mut Child) {
        let fd = bare::pidfd_open(Self::pid(child));
        if !Self::first_try(child, &fd) {
            bare::waitid_pidfd(&fd, WNOWAIT);
            Std::wait(child);
        }
    }
}

impl BareExt {
    fn first_try(child: &mut Child, fd: &OwnedFd) -> bool {
        bare::waitid_pidfd(fd, WNOHANG | WNOWAIT);
        // Gone by then, if the status is new.
        Std::try_wait(child) && bare::waitid_pidfd(fd, WNOHANG | WNOWAIT).is_none()
    }
}

impl TryWait for BareExt {
    fn try_wait(child: &mut Child) -> bool {
        let fd = bare::pidfd_open(Self::pid(child));
        Self::first_try(child, &fd)
    }
}

impl Signal for BareExt {
    fn signal(child: &mut Child, signal: c_int) {
        let fd = bare::pidfd_open(Self::pid(child));
        bare::waitid_pidfd(&fd, WNOHANG | WNOWAIT);
        bare::pidfd_send_signal(&fd, signal);
    }
}

impl Timed for BareExt {
    fn wait_timeout(child: &mut Child, limit: Duration) -> bool {
        let fd = bare::pidfd_open(Self::pid(child));
        Self::first_try(child, &fd) || bare::readable_within(&fd, limit) && Std::try_wait(child)
    }
}
