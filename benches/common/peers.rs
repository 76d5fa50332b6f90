//! The other crates, each as its documentation would have it used.

use std::process::Child;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use nix::libc::{c_int, pid_t};
use once_cell::sync::Lazy;
use process_control::{ChildExt as _, Control};
use shared_child::unix::SharedChildExt;
use shared_child::SharedChild;
use subprocess::unix::JobExt;
use tokio::runtime::Runtime;
use wait_timeout::ChildExt as _;

use super::lines::{spawn, Line, Signal, Std, Timed, TryWait};
use super::Program;

// ---- extensions of std's Child: what they do not add is std's, and std has its own line ----

pub(crate) struct WaitTimeout;

impl Line for WaitTimeout {
    const NAME: &'static str = "wait-timeout";
    type Process = Child;

    fn start(program: Program) -> Child {
        spawn(program)
    }
    fn pid(child: &Child) -> pid_t {
        Std::pid(child)
    }
    fn wait(child: &mut Child) {
        Std::wait(child);
    }
}

impl Timed for WaitTimeout {
    fn wait_timeout(child: &mut Child, limit: Duration) -> bool {
        child.wait_timeout(limit).expect("an answer").is_some()
    }
}

pub(crate) struct ProcessControl;

impl Line for ProcessControl {
    const NAME: &'static str = "process_control";
    type Process = Child;

    fn start(program: Program) -> Child {
        spawn(program)
    }
    fn pid(child: &Child) -> pid_t {
        Std::pid(child)
    }
    fn wait(child: &mut Child) {
        let status = child.controlled().wait().expect("an answer");
        assert!(status.is_some());
    }
}

impl Timed for ProcessControl {
    fn wait_timeout(child: &mut Child, limit: Duration) -> bool {
        let status = child.controlled().time_limit(limit).wait();
        status.expect("an answer").is_some()
    }
}

// ---- processes of their own ----

pub(crate) struct Shared;

impl Line for Shared {
    const NAME: &'static str = "shared_child";
    type Process = SharedChild;

    fn start(program: Program) -> SharedChild {
        SharedChild::spawn(&mut program.into_command()).expect("it starts")
    }
    fn pid(child: &SharedChild) -> pid_t {
        child.id() as pid_t
    }
    fn wait(child: &mut SharedChild) {
        child.wait().expect("a status");
    }
}

impl TryWait for Shared {
    fn try_wait(child: &mut SharedChild) -> bool {
        child.try_wait().expect("an answer").is_some()
    }
}

impl Signal for Shared {
    fn signal(child: &mut SharedChild, signal: c_int) {
        child.send_signal(signal).expect("it is sent");
    }
}

impl Timed for Shared {
    fn wait_timeout(child: &mut SharedChild, limit: Duration) -> bool {
        child.wait_timeout(limit).expect("an answer").is_some()
    }
}

pub(crate) struct Subprocess;

impl Line for Subprocess {
    const NAME: &'static str = "subprocess";
    type Process = subprocess::Job;

    fn start(program: Program) -> subprocess::Job {
        program.into_exec().start().expect("it starts")
    }
    fn pid(job: &subprocess::Job) -> pid_t {
        job.pid() as pid_t
    }
    fn wait(job: &mut subprocess::Job) {
        job.wait().expect("a status");
    }
}

impl TryWait for Subprocess {
    fn try_wait(job: &mut subprocess::Job) -> bool {
        job.poll().is_some()
    }
}

impl Signal for Subprocess {
    fn signal(job: &mut subprocess::Job, signal: c_int) {
        job.send_signal(signal).expect("it is sent");
    }
}

impl Timed for Subprocess {
    fn wait_timeout(job: &mut subprocess::Job, limit: Duration) -> bool {
        job.wait_timeout(limit).expect("an answer").is_some()
    }
}

// ---- futures, which a caller without a runtime has to block on ----

pub(crate) struct AsyncProcess;

impl Line for AsyncProcess {
    const NAME: &'static str = "async-process";
    type Process = async_process::Child;

    fn start(mut program: Program) -> async_process::Child {
        // It passes on no stdin that std's Command was given before.
        let stdin = program.stdin.take();
        let mut command = async_process::Command::from(program.into_command());
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        command.spawn().expect("it starts")
    }
    fn pid(child: &async_process::Child) -> pid_t {
        child.id() as pid_t
    }
    fn wait(child: &mut async_process::Child) {
        async_io::block_on(child.status()).expect("a status");
    }
}

impl TryWait for AsyncProcess {
    fn try_wait(child: &mut async_process::Child) -> bool {
        child.try_status().expect("an answer").is_some()
    }
}

impl Timed for AsyncProcess {
    fn wait_timeout(child: &mut async_process::Child, limit: Duration) -> bool {
        let exit = async { Some(child.status().await.expect("a status")) };
        let limit = async {
            Timer::after(limit).await;
            None
        };
        async_io::block_on(exit.or(limit)).is_some()
    }
}

pub(crate) struct Tokio;

/// A single thread's, which is the cheaper kind.
pub(crate) static RUNTIME: Lazy<Runtime> = Lazy::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
});

impl Line for Tokio {
    const NAME: &'static str = "tokio";
    type Process = tokio::process::Child;

    fn start(program: Program) -> tokio::process::Child {
        let _inside = RUNTIME.enter();
        let mut command = tokio::process::Command::from(program.into_command());
        command.spawn().expect("it starts")
    }
    fn pid(child: &tokio::process::Child) -> pid_t {
        child.id().expect("not waited for before") as pid_t
    }
    fn wait(child: &mut tokio::process::Child) {
        RUNTIME.block_on(child.wait()).expect("a status");
    }
}

impl TryWait for Tokio {
    fn try_wait(child: &mut tokio::process::Child) -> bool {
        child.try_wait().expect("an answer").is_some()
    }
}

impl Timed for Tokio {
    fn wait_timeout(child: &mut tokio::process::Child, limit: Duration) -> bool {
        // Not built outside: the timer needs the runtime.
        let exit = async { tokio::time::timeout(limit, child.wait()).await };
        match RUNTIME.block_on(exit) {
            Ok(status) => status.map(|_| true).expect("a status"),
            Err(_elapsed) => false,
        }
    }
}
