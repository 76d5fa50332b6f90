//! One child: what it costs to ask for it, to signal it and to wait for it.
//!
//! All contenders start the same programs. Only what the name of the question says is timed.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::libc;

use crate::contender::{
    make_zombie, Contender, Ext, Pidfd, Program, RawPidfd, RawWaitpid, Running, Signal, Std,
    TryWait, WaitTimeout, Waitpid,
};
use crate::harness::Bench;
use crate::peers::{AsyncProcess, ProcessControl, Shared, Subprocess, Tokio, WaitTimeoutCrate};
use crate::process::path_of_this_program;
use crate::raw;

/// Puts a question to contenders: each is a type, and `$sample` makes the closure that takes one
/// sample of it.
macro_rules! ask {
    ($question:expr, $sample:ident: $($contender:ty),* $(,)?) => {
        if let Some(mut question) = $question {
            $(question.add(<$contender>::NAME, $sample::<$contender>());)*
            question.run();
        }
    };
}

const NEVER: Duration = Duration::from_secs(3600);

pub(crate) fn ask(bench: &Bench) {
    let question = |name, rounds, samples| {
        let question = bench.question(name)?;
        Some(question.shape(rounds, samples))
    };
    ask!(question("call/try_wait", 50, 5), try_wait:
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Std, Ext, Shared, Subprocess, AsyncProcess, Tokio);
    ask!(question("call/signal", 50, 5), signal:
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Ext, Shared, Subprocess);
    ask!(question("wait/zombie", 30, 15), wait_zombie:
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Std, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(question("wait/zombie_with_timeout", 30, 15), wait_timeout_zombie:
        RawPidfd, Pidfd, Waitpid, Ext,
        WaitTimeoutCrate, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(question("wait/exit_latency", 30, 15), exit_latency:
        RawPidfd, Pidfd, RawWaitpid, Waitpid, Std, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(question("wait/exit_latency_with_timeout", 30, 15), exit_latency_with_timeout:
        RawPidfd, Pidfd, Waitpid, Ext,
        WaitTimeoutCrate, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    // Not wait-timeout: it returns up to a millisecond early.
    ask!(question("wait/overshoot", 30, 5), overshoot:
        RawPidfd, Pidfd, Waitpid, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
    ask!(question("spawn/wait", 30, 20), spawn_and_wait:
        Std, RawPidfd, Pidfd, RawWaitpid, Waitpid, Ext,
        Shared, ProcessControl, Subprocess, AsyncProcess, Tokio);
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// The time of one of many calls.
fn per_call(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 500;
    let start = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    nanoseconds(start.elapsed()) / f64::from(CALLS)
}

fn try_wait<C: TryWait>() -> impl FnMut() -> f64 {
    let mut child = Running::<C>::start();
    move || per_call(|| assert!(!C::try_wait(&mut child.0)))
}

/// A signal that is ignored by default, and is not even queued: the child continues to sleep.
fn signal<C: Signal>() -> impl FnMut() -> f64 {
    let mut child = Running::<C>::start();
    move || per_call(|| C::signal(&mut child.0, libc::SIGURG))
}

fn time_zombie<C: Contender>(wait: impl Fn(&mut C::Process)) -> f64 {
    let mut process = C::start(Program::sleeper());
    make_zombie(C::pid(&process));
    let start = Instant::now();
    wait(&mut process);
    nanoseconds(start.elapsed())
}

fn wait_zombie<C: Contender>() -> impl FnMut() -> f64 {
    || time_zombie::<C>(C::wait)
}

fn wait_timeout_zombie<C: WaitTimeout>() -> impl FnMut() -> f64 {
    || time_zombie::<C>(|process| assert!(C::wait_timeout(process, NEVER)))
}

fn spawn_and_wait<C: Contender>() -> impl FnMut() -> f64 {
    || {
        let start = Instant::now();
        C::wait(&mut C::start(Program::new("true", &[])));
        nanoseconds(start.elapsed())
    }
}

fn overshoot<C: WaitTimeout>() -> impl FnMut() -> f64 {
    const TIMEOUT: Duration = Duration::from_millis(5);
    let mut child = Running::<C>::start();
    move || {
        let start = Instant::now();
        assert!(!C::wait_timeout(&mut child.0, TIMEOUT));
        let late = start.elapsed().checked_sub(TIMEOUT);
        nanoseconds(late.expect("never early"))
    }
}

fn exit_latency<C: Contender>() -> impl FnMut() -> f64 {
    || latency::<C>(C::wait)
}

fn exit_latency_with_timeout<C: WaitTimeout>() -> impl FnMut() -> f64 {
    || latency::<C>(|process| assert!(C::wait_timeout(process, NEVER)))
}

/// The argument that makes this program the child of `latency`.
pub(crate) const EXIT_WHEN_TOLD: &str = "exit-when-told";

/// From the child's last action until the wait in the parent returns.
fn latency<C: Contender>(wait: impl Fn(&mut C::Process)) -> f64 {
    let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
    let program = Program::new(path_of_this_program(), &[EXIT_WHEN_TOLD]);
    let mut process = C::start(program.stdin(theirs));
    ours.read_exact(&mut [0]).expect("the child is ready");
    ours.write_all(&[0]).expect("the child reads its input");
    wait(&mut process);
    let returned = raw::nanoseconds(libc::CLOCK_MONOTONIC);
    let mut exited = [0; 8];
    ours.read_exact(&mut exited).expect("the time of the exit");
    (returned - u64::from_ne_bytes(exited)) as f64
}

pub(crate) fn exit_when_told() -> ! {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut parent = UnixStream::from(stdin.expect("a descriptor"));
    parent.write_all(&[0]).expect("the parent reads");
    parent.read_exact(&mut [0]).expect("the parent writes");
    // By then the parent is blocked in its wait.
    std::thread::sleep(Duration::from_micros(500));
    let now = raw::nanoseconds(libc::CLOCK_MONOTONIC);
    parent
        .write_all(&now.to_ne_bytes())
        .expect("room for 8 bytes");
    raw::exit_now()
}
