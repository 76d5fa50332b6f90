//! N children: the first of them to exit, and all of them.
//!
//! The children are forks that sleep. They are started, and made known to who is going to wait
//! for them, outside of the timing.

#![allow(clippy::cast_possible_truncation)] // Crowds are not that large.

mod common;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode};
use nix::libc::{pid_t, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};

use common::crowds::{self, AsyncProcess, BareEpoll, Crowd, Gate, Set, Threads, Tokio, WaitAny};
use common::{bare, end};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Asks a question of one line after the other, for one N.
macro_rules! ask {
    ($criterion:ident, $question:literal, $n:ident, $bench:ident($runs:expr): $($line:ty),*) => {
        let mut group = $criterion.benchmark_group($question);
        group.sampling_mode(SamplingMode::Flat);
        $($bench::<$line>(&mut group, $n, $runs);)*
        group.finish();
    };
}

fn main() {
    let numbers: &[usize] = match common::is_measuring() {
        true => &[10, 100, 1000, 10_000],
        false => &[10],
    };
    let has_filter = env::args()
        .skip(1)
        .any(|argument| !argument.starts_with('-'));
    if has_filter || !common::is_measuring() {
        ask_all(numbers);
    } else {
        numbers.iter().for_each(|n| ask_each_alone(*n));
    }
}

/// Each line in a process of its own: one that has had thousands of children, or of threads, takes
/// longer over everything for a while.
fn ask_each_alone(n: usize) {
    let me = env::current_exe().expect("a path");
    let lines = [
        BareEpoll::NAME,
        Set::NAME,
        WaitAny::NAME,
        Threads::NAME,
        Tokio::NAME,
        AsyncProcess::NAME,
    ];
    for line in lines {
        // A filter is a regular expression.
        let filter = format!("/{}/{n}$", line.replace(['(', ')'], "."));
        let mut alone = Command::new(&me);
        let status = alone.args(env::args().skip(1)).arg(filter).status();
        assert!(status.expect("it starts").success(), "{line}, {n}");
    }
}

fn ask_all(numbers: &[usize]) {
    let mut c: Criterion = common::criterion();
    for n in numbers.iter().copied().filter(is_possible) {
        // Not a thread each: the one whose child it is has waited all along.
        ask!(c, "first of N", n, first(()):
            BareEpoll, Set, WaitAny, Tokio, AsyncProcess);
        let runs = Runs::default();
        ask!(c, "all of N, time per exit", n, all_time(&runs):
            BareEpoll, Set, WaitAny, Threads, Tokio, AsyncProcess);
        ask!(c, "all of N, CPU time per exit", n, all_cpu_time(&runs):
            BareEpoll, Set, WaitAny, Threads, Tokio, AsyncProcess);
    }
    c.final_summary();
}

fn is_possible(n: &usize) -> bool {
    let hindrance = crowds::hindrance(*n);
    if let Some(hindrance) = &hindrance {
        eprintln!("{n} processes are left out, for this system has no room: {hindrance}");
    }
    hindrance.is_none()
}

struct Waited<C> {
    crowd: C,
    gate: Gate,
    pids: VecDeque<pid_t>,
}

impl<C: Crowd> Waited<C> {
    /// N children, and a waiter that has looked at each of them.
    fn new(n: usize) -> Self {
        let gate = Gate::new();
        let children: Vec<_> = (0..=n).map(|_| C::start(gate.sleeper())).collect();
        let mut crowd = C::new();
        let pids = children.into_iter().map(|child| crowd.add(child)).collect();
        let mut waited = Self { crowd, gate, pids };
        // Futures are not looked at before one is waited for: the last one goes first.
        waited.pids.rotate_right(1);
        waited.first();
        waited
    }

    /// How long it takes to have the status, once one of them has exited.
    fn first(&mut self) -> Duration {
        let victim = self.pids.pop_front().expect("not empty");
        end(victim);
        let start = Instant::now();
        let first = self.crowd.next();
        let time = start.elapsed();
        assert_eq!(first, victim);
        time
    }

    /// Ends them all at once: how long it takes until all are known.
    fn all(mut self) -> Run {
        let start = Instant::now();
        let process = bare::nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
        let thread = bare::nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        drop(self.gate);
        // To wake N children is no part of waiting for them.
        let waking = bare::nanoseconds(CLOCK_THREAD_CPUTIME_ID) - thread;
        for _ in &self.pids {
            self.crowd.next();
        }
        let process = bare::nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - process;
        Run {
            time: start.elapsed(),
            cpu_time: Duration::from_nanos(process - waking),
        }
    }
}

fn first<C: Crowd>(group: &mut Group<'_>, n: usize, _: ()) {
    group.sample_size(30);
    let mut waited: Option<Waited<C>> = None;
    group.bench_function(BenchmarkId::new(C::NAME, n), |b| {
        b.iter_custom(|times| {
            let first = |_| {
                // Nearly N are as good as N.
                if waited
                    .as_ref()
                    .is_some_and(|crowd| crowd.pids.len() < n - n / 20)
                {
                    waited.take().map(Waited::all);
                }
                waited.get_or_insert_with(|| Waited::new(n)).first()
            };
            (0..times).map(first).sum()
        });
    });
    waited.map(Waited::all);
}

/// What the end of a whole crowd has taken.
#[derive(Clone, Copy)]
struct Run {
    time: Duration,
    cpu_time: Duration,
}

/// The runs of the group on time, which that on CPU time then has no need to make again.
type Runs = RefCell<HashMap<&'static str, Vec<Run>>>;

fn all_time<C: Crowd>(group: &mut Group<'_>, n: usize, runs: &Runs) {
    per_exit(group, C::NAME, n, || {
        let run = Waited::<C>::new(n).all();
        let mut runs = runs.borrow_mut();
        runs.entry(C::NAME).or_default().push(run);
        run.time
    });
}

fn all_cpu_time<C: Crowd>(group: &mut Group<'_>, n: usize, runs: &Runs) {
    per_exit(group, C::NAME, n, || {
        let kept = runs.borrow_mut().get_mut(C::NAME).and_then(Vec::pop);
        let run = kept.unwrap_or_else(|| Waited::<C>::new(n).all());
        run.cpu_time
    });
}

/// Each sample is one crowd, and the mean of its exits.
fn per_exit(group: &mut Group<'_>, name: &str, n: usize, mut all: impl FnMut() -> Duration) {
    group.sample_size(if n < 1000 { 50 } else { 10 });
    group.warm_up_time(Duration::from_nanos(1));
    group.measurement_time(Duration::from_nanos(1));
    group.bench_function(BenchmarkId::new(name, n), |b| {
        b.iter_custom(|times| (0..times).map(|_| all()).sum::<Duration>() / n as u32);
    });
}
