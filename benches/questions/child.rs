//! Ways to start a child, to wait for it, to signal it and to end its group.
//!
//! `raw pidfd` and `raw waitpid` make the system calls that pidwait cannot do without, and no others;
//! but they do not look at the members of a group.
//! The other crates are used as their documentation recommends.

use std::process::{Child, Command};
use std::sync::LazyLock;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use nix::libc::{self, c_int, pid_t, WNOHANG};
use pidwait::{Backend, ChildExt, PidHandle};
use shared_child::unix::SharedChildExt;
use shared_child::SharedChild;
use subprocess::unix::JobExt;
use tokio::runtime::Runtime;
use tokio_process_tools::{
    AutoName, DiscardedOutputStream, GracefulShutdown, ProcessHandle, ProcessStreamBuilder,
};

use crate::raw;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A child of some contender. A call that the contender lacks returns `None`.
pub(crate) trait Process {
    fn pid(&self) -> pid_t;

    /// Waits and reaps. A contender that has only a timed wait uses that.
    fn wait(&mut self);

    /// Returns whether it exited in time.
    fn wait_timeout(&mut self, _timeout: Duration) -> Option<bool> {
        None
    }

    /// Returns whether it has exited.
    fn try_wait(&mut self) -> Option<bool> {
        None
    }

    fn signal(&mut self, _signal: c_int) -> Option<()> {
        None
    }

    /// Ends the group that the child leads, and reaps it.
    fn end_group(&mut self) -> Option<()> {
        None
    }
}

pub(crate) type Start = fn(Command) -> Box<dyn Process>;

/// The contenders by name. The first is the one that the others are compared with.
pub(crate) const CONTENDERS: &[(&str, Start)] = &[
    ("raw pidfd", |command| Box::new(RawPidfd::start(command))),
    ("pidwait pidfd", |command| handle(command, Backend::Pidfd)),
    ("raw waitpid", |command| {
        Box::new(RawWaitpid(pid(&spawn(command))))
    }),
    ("pidwait waitpid", |command| {
        handle(command, Backend::Waitpid)
    }),
    ("std", |command| Box::new(spawn(command))),
    ("pidwait ChildExt", |command| Box::new(Ext(spawn(command)))),
    ("wait-timeout", |command| {
        Box::new(WaitTimeout(spawn(command)))
    }),
    ("shared_child", |mut command| {
        Box::new(SharedChild::spawn(&mut command).expect(STARTS))
    }),
    ("subprocess", |command| {
        let exec = subprocess::Exec::cmd(command.get_program()).args(command.get_args());
        Box::new(exec.start().expect(STARTS))
    }),
    ("async-process", |command| {
        Box::new(async_process::Command::from(command).spawn().expect(STARTS))
    }),
    ("tokio", |command| Box::new(tokio_spawn(command))),
    ("tokio-process-tools", |command| {
        Box::new(Tools::start(command))
    }),
];

const STARTS: &str = "the program starts";
const STATUS: &str = "a status";

pub(crate) fn spawn(mut command: Command) -> Child {
    command.spawn().expect(STARTS)
}

pub(crate) fn pid(child: &Child) -> pid_t {
    child.id() as pid_t
}

/// Kills a child and leaves its zombie for the contender to reap.
pub(crate) fn make_zombie(pid: pid_t) {
    raw::kill(pid, libc::SIGKILL);
    raw::peek_by_pid(pid, 0);
}

/// A child that runs until this is dropped.
pub(crate) struct Running(pub(crate) Box<dyn Process>);

impl Running {
    pub(crate) fn start(start: Start) -> Self {
        Self(start(sleeper()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        make_zombie(self.0.pid());
        self.0.wait();
    }
}

pub(crate) fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("3600");
    command
}

// ---- raw system calls ----

/// Calls by pidfd, and a `close` of the pidfd after the reap.
struct RawPidfd {
    pid: pid_t,
    pidfd: Option<std::os::fd::OwnedFd>,
}

impl RawPidfd {
    fn start(command: Command) -> Self {
        let pid = pid(&spawn(command));
        let pidfd = Some(raw::pidfd_open(pid));
        Self { pid, pidfd }
    }

    fn pidfd(&self) -> &std::os::fd::OwnedFd {
        self.pidfd.as_ref().expect("not waited for before")
    }
}

impl Process for RawPidfd {
    fn pid(&self) -> pid_t {
        self.pid
    }
    fn wait(&mut self) {
        raw::waitid_pidfd(self.pidfd(), 0).expect(STATUS);
        self.pidfd = None;
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let fd = self.pidfd();
        let try_wait = || raw::waitid_pidfd(fd, WNOHANG).is_some();
        let exited = try_wait() || raw::poll_readable(fd, timeout) && try_wait();
        if exited {
            self.pidfd = None;
        }
        Some(exited)
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(raw::waitid_pidfd(self.pidfd(), WNOHANG).is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        raw::pidfd_send_signal(self.pidfd(), signal);
        Some(())
    }
    fn end_group(&mut self) -> Option<()> {
        raw::kill_group(self.pid, libc::SIGKILL);
        self.wait();
        Some(())
    }
}

/// By PID. A signal peeks first: the PID of a zombie cannot be reused.
struct RawWaitpid(pid_t);

impl Process for RawWaitpid {
    fn pid(&self) -> pid_t {
        self.0
    }
    fn wait(&mut self) {
        raw::waitpid(self.0, 0).expect(STATUS);
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(raw::waitpid(self.0, WNOHANG).is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        raw::peek_by_pid(self.0, WNOHANG);
        raw::kill(self.0, signal);
        Some(())
    }
    fn end_group(&mut self) -> Option<()> {
        raw::kill_group(self.0, libc::SIGKILL);
        self.wait();
        Some(())
    }
}

// ---- pidwait ----

fn handle(mut command: Command, backend: Backend) -> Box<dyn Process> {
    let handle = match backend {
        Backend::Pidfd => PidHandle::spawn(&mut command).map(|spawned| spawned.handle),
        other => PidHandle::open_with(spawn(command).id(), other),
    };
    let handle = handle.expect(STARTS);
    assert_eq!(handle.backend(), backend);
    Box::new(handle)
}

impl Process for PidHandle {
    fn pid(&self) -> pid_t {
        self.id() as pid_t
    }
    fn wait(&mut self) {
        PidHandle::wait(self).expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let status = PidHandle::wait_timeout(self, timeout);
        Some(status.expect("no error").is_some())
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(PidHandle::try_wait(self).expect("no error").is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        PidHandle::signal(self, signal).ok()
    }
    fn end_group(&mut self) -> Option<()> {
        let group = self.process_group().expect("it leads one");
        group.terminate(LONG).ok().map(drop)
    }
}

struct Ext(Child);

impl Process for Ext {
    fn pid(&self) -> pid_t {
        pid(&self.0)
    }
    fn wait(&mut self) {
        self.0.pidfd_wait().expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let status = self.0.pidfd_wait_timeout(timeout);
        Some(status.expect("no error").is_some())
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(self.0.pidfd_try_wait().expect("no error").is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        self.0.pidfd_signal(signal).ok()
    }
    fn end_group(&mut self) -> Option<()> {
        self.0.pidfd_terminate_process_group(LONG).ok().map(drop)
    }
}

// ---- std and the crates that block ----

impl Process for Child {
    fn pid(&self) -> pid_t {
        pid(self)
    }
    fn wait(&mut self) {
        Child::wait(self).expect(STATUS);
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(Child::try_wait(self).expect("no error").is_some())
    }
}

struct WaitTimeout(Child);

impl Process for WaitTimeout {
    fn pid(&self) -> pid_t {
        pid(&self.0)
    }
    fn wait(&mut self) {
        assert_eq!(self.wait_timeout(LONG), Some(true));
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let status = wait_timeout::ChildExt::wait_timeout(&mut self.0, timeout);
        Some(status.expect("no error").is_some())
    }
}

impl Process for SharedChild {
    fn pid(&self) -> pid_t {
        self.id() as pid_t
    }
    fn wait(&mut self) {
        SharedChild::wait(self).expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let status = SharedChild::wait_timeout(self, timeout);
        Some(status.expect("no error").is_some())
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(SharedChild::try_wait(self).expect("no error").is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        self.send_signal(signal).ok()
    }
}

impl Process for subprocess::Job {
    fn pid(&self) -> pid_t {
        subprocess::Job::pid(self) as pid_t
    }
    fn wait(&mut self) {
        subprocess::Job::wait(self).expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let status = subprocess::Job::wait_timeout(self, timeout);
        Some(status.expect("no error").is_some())
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(self.poll().is_some())
    }
    fn signal(&mut self, signal: c_int) -> Option<()> {
        self.send_signal(signal).ok()
    }
}

// ---- futures, blocked on ----

/// On one thread, which is the cheaper kind.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("the runtime starts")
});

impl Process for async_process::Child {
    fn pid(&self) -> pid_t {
        self.id() as pid_t
    }
    fn wait(&mut self) {
        async_io::block_on(self.status()).expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let exit = async { self.status().await.is_ok() };
        let timeout = async {
            Timer::after(timeout).await;
            false
        };
        Some(async_io::block_on(exit.or(timeout)))
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(self.try_status().expect("no error").is_some())
    }
}

pub(crate) fn tokio_spawn(command: Command) -> tokio::process::Child {
    let _inside = RUNTIME.enter();
    tokio::process::Command::from(command)
        .spawn()
        .expect(STARTS)
}

impl Process for tokio::process::Child {
    fn pid(&self) -> pid_t {
        self.id().expect("not waited for before") as pid_t
    }
    fn wait(&mut self) {
        RUNTIME
            .block_on(tokio::process::Child::wait(self))
            .expect(STATUS);
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let exit = tokio::process::Child::wait(self);
        // Built inside, because the timer needs the runtime.
        let exit = async { tokio::time::timeout(timeout, exit).await };
        Some(RUNTIME.block_on(exit).is_ok())
    }
    fn try_wait(&mut self) -> Option<bool> {
        let status = tokio::process::Child::try_wait(self);
        Some(status.expect("no error").is_some())
    }
}

/// It always makes the child lead a group, and each output must be piped or discarded.
struct Tools(ProcessHandle<DiscardedOutputStream, DiscardedOutputStream>);

impl Tools {
    fn start(command: Command) -> Self {
        let _inside = RUNTIME.enter();
        let process = tokio_process_tools::Process::new(command.into());
        let process = process
            .name(AutoName::program_only())
            .stdout_and_stderr(ProcessStreamBuilder::discard);
        Self(process.spawn().expect(STARTS))
    }
}

impl Process for Tools {
    fn pid(&self) -> pid_t {
        self.0.id().expect("not waited for before") as pid_t
    }
    fn wait(&mut self) {
        assert_eq!(self.wait_timeout(LONG), Some(true));
    }
    fn wait_timeout(&mut self, timeout: Duration) -> Option<bool> {
        let exit = async { self.0.wait_for_completion(timeout).await };
        let exit = RUNTIME.block_on(exit).expect("no error");
        Some(exit.into_completed().is_some())
    }
    fn try_wait(&mut self) -> Option<bool> {
        Some(!self.0.is_running().is_definitely_running())
    }
    fn end_group(&mut self) -> Option<()> {
        let shutdown = GracefulShutdown::builder().unix_sigterm(LONG);
        let shutdown = shutdown.windows_ctrl_break(LONG).build();
        RUNTIME.block_on(self.0.terminate(shutdown)).ok().map(drop)
    }
}
