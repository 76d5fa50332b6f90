//! Children that are left to be reaped in the background: CPU time of each, from handing them over
//! until none is left.
//!
//! They exit all at once, after they were handed over. Each turn is a process of its own.

use std::process::{Child, Command};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use nix::libc::{CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
use nix::sys::signal::{SigSet, Signal};
use pidwait::Backend;

use super::contenders::{spawn, AsyncProcess, MultiWait, RawEpoll, Tokio};
use super::{repeats, start_all, too_many, Gate};
use crate::harness::{median, Bench};
use crate::process::{self, Turn};
use crate::{api, peers, raw};

const CONTENDERS: &[Turn] = &[
    ("raw epoll in a thread", |n| {
        turn(n, spawn, |children| {
            let mut epoll = RawEpoll::new();
            let n = children.len();
            for child in children {
                epoll.add(child);
            }
            thread::spawn(move || {
                for _ in 0..n {
                    epoll.next();
                }
            });
        })
    }),
    ("pidwait pidfd", |n| {
        turn(n, spawn, |children| pidwait(&children, Backend::Pidfd))
    }),
    ("pidwait waitpid", |n| {
        turn(n, spawn, |children| pidwait(&children, Backend::Waitpid))
    }),
    ("a thread each", |n| {
        turn(n, spawn, |children| {
            for mut child in children {
                thread::spawn(move || child.wait());
            }
        })
    }),
    (Tokio::NAME, |n| turn(n, Tokio::start, drop_in_tokio)),
    (AsyncProcess::NAME, |n| turn(n, AsyncProcess::start, drop)),
];

fn pidwait(children: &[Child], backend: Backend) {
    for child in children {
        api::reap_in_background(child, backend);
    }
}

/// The runtime runs in a thread of its own, which alone takes SIGCHLD: the time that the main thread
/// needs is not counted.
fn drop_in_tokio(children: Vec<tokio::process::Child>) {
    static RUNS: LazyLock<()> = LazyLock::new(|| {
        thread::spawn(|| peers::RUNTIME.block_on(std::future::pending::<()>()));
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block().expect("SIGCHLD can be blocked");
    });
    LazyLock::force(&RUNS);
    peers::RUNTIME.spawn(async {
        drop(children);
        // The runtime does not look for orphans before it has slept once more.
        tokio::task::yield_now().await;
    });
}

pub(super) fn ask(bench: &Bench) {
    let numbers: &[usize] = if bench.quick { &[100] } else { &[100, 1000] };
    for n in numbers {
        let question = format!("background/cpu/{n}");
        if !bench.wants(&question) {
            continue;
        }
        if let Some(limit) = too_many(*n) {
            eprintln!("skipped: {n} children: {limit}");
            continue;
        }
        let names = CONTENDERS.iter().map(|(name, _)| *name);
        bench.in_processes(question, names, |name| {
            process::run(&mut process::this_program(&[TURN, name, &n.to_string()]))
        });
    }
}

/// The argument that makes this program the process of one turn.
pub(crate) const TURN: &str = "background-turn";

/// What the process of one turn does.
pub(crate) fn print_turn(contender: &str, n: &str) {
    process::print_turn(CONTENDERS, contender, n);
}

/// Small N are done several times, and the first time is not counted.
fn turn<C>(n: usize, start: fn(Command) -> C, leave: impl Fn(Vec<C>)) -> f64 {
    measure(n, start, &leave);
    let times = (0..repeats(n)).map(|_| measure(n, start, &leave));
    median(times.collect())
}

fn measure<C>(n: usize, start: fn(Command) -> C, leave: &impl Fn(Vec<C>)) -> f64 {
    let gate = Gate::new();
    let children = start_all(&gate, n, start);
    let process = raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    leave(children);
    // The bench's own work: to wake the children, and to check whether one is left.
    let thread = raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    drop(gate);
    while raw::has_children() {
        thread::sleep(Duration::from_millis(1));
    }
    let thread = raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID) - thread;
    let process = raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - process;
    (process - thread) as f64 / n as f64
}
