//! The other crates, each used as its documentation recommends.

use std::process::Child;
use std::sync::LazyLock;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use nix::libc::{c_int, pid_t};
use process_control::{ChildExt as _, Control};
use shared_child::unix::SharedChildExt;
use shared_child::SharedChild;
use subprocess::unix::JobExt;
use tokio::runtime::Runtime;
use wait_timeout::ChildExt as _;

use crate::contender::{Contender, Program, Signal, Std, TryWait, WaitTimeout};

// ---- extensions of std's Child ----

pub(crate) struct WaitTimeoutCrate;

impl Contender for WaitTimeoutCrate {
    const NAME: &'static str = "wait-timeout";
    type Process = Child;

    fn start(program: Program) -> Child {
        program.spawn()
    }
    fn pid(child: &Child) -> pid_t {
        Std::pid(child)
    }
    fn wait(child: &mut Child) {
        Std::wait(child);
    }
}

impl WaitTimeout for WaitTimeoutCrate {
    fn wait_timeout(child: &mut Child, timeout: Duration) -> bool {
        child.wait_timeout(timeout).expect("no error").is_some()
    }
}

pub(crate) struct ProcessControl;

impl Contender for ProcessControl {
    const NAME: &'static str = "process_control";
    type Process = Child;

    fn start(program: Program) -> Child {
        program.spawn()
    }
    fn pid(child: &Child) -> pid_t {
        Std::pid(child)
    }
    fn wait(child: &mut Child) {
        let status = child.controlled().wait().expect("no error");
        assert!(status.is_some());
    }
}

impl WaitTimeout for ProcessControl {
    fn wait_timeout(child: &mut Child, timeout: Duration) -> bool {
        let status = child.controlled().time_limit(timeout).wait();
        status.expect("no error").is_some()
    }
}

// ---- types of their own ----

pub(crate) struct Shared;

impl Contender for Shared {
    const NAME: &'static str = "shared_child";
    type Process = SharedChild;

    fn start(program: Program) -> SharedChild {
        SharedChild::spawn(&mut program.into_command()).expect("the program starts")
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
        child.try_wait().expect("no error").is_some()
    }
}

impl Signal for Shared {
    fn signal(child: &mut SharedChild, signal: c_int) {
        child.send_signal(signal).expect("the signal is sent");
    }
}

impl WaitTimeout for Shared {
    fn wait_timeout(child: &mut SharedChild, timeout: Duration) -> bool {
        child.wait_timeout(timeout).expect("no error").is_some()
    }
}

pub(crate) struct Subprocess;

impl Contender for Subprocess {
    const NAME: &'static str = "subprocess";
    type Process = subprocess::Job;

    fn start(program: Program) -> subprocess::Job {
        let exec = subprocess::Exec::cmd(program.name).args(program.args);
        let exec = match program.stdin {
            Some(stdin) => exec.stdin(std::fs::File::from(stdin)),
            None => exec,
        };
        exec.start().expect("the program starts")
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
        job.send_signal(signal).expect("the signal is sent");
    }
}

impl WaitTimeout for Subprocess {
    fn wait_timeout(job: &mut subprocess::Job, timeout: Duration) -> bool {
        job.wait_timeout(timeout).expect("no error").is_some()
    }
}

// ---- futures, blocked on ----

pub(crate) struct AsyncProcess;

impl Contender for AsyncProcess {
    const NAME: &'static str = "async-process";
    type Process = async_process::Child;

    fn start(mut program: Program) -> async_process::Child {
        // The conversion loses a stdin that was set before.
        let stdin = program.stdin.take();
        let mut command = async_process::Command::from(program.into_command());
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        command.spawn().expect("the program starts")
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
        child.try_status().expect("no error").is_some()
    }
}

impl WaitTimeout for AsyncProcess {
    fn wait_timeout(child: &mut async_process::Child, timeout: Duration) -> bool {
        let exit = async { Some(child.status().await.expect("a status")) };
        let timeout = async {
            Timer::after(timeout).await;
            None
        };
        async_io::block_on(exit.or(timeout)).is_some()
    }
}

pub(crate) struct Tokio;

/// On one thread, which is the cheaper kind.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("the runtime starts")
});

impl Contender for Tokio {
    const NAME: &'static str = "tokio";
    type Process = tokio::process::Child;

    fn start(program: Program) -> tokio::process::Child {
        let _inside = RUNTIME.enter();
        let mut command = tokio::process::Command::from(program.into_command());
        command.spawn().expect("the program starts")
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
        child.try_wait().expect("no error").is_some()
    }
}

impl WaitTimeout for Tokio {
    fn wait_timeout(child: &mut tokio::process::Child, timeout: Duration) -> bool {
        // Built inside, because the timer needs the runtime.
        let exit = async { tokio::time::timeout(timeout, child.wait()).await };
        match RUNTIME.block_on(exit) {
            Ok(status) => status.map(|_| true).expect("a status"),
            Err(_elapsed) => false,
        }
    }
}
