//! Many children: what it costs to wait for the first of N to exit, and for all of them.
//!
//! The children are forks of this program that sleep. They are started, and made known to the
//! contender, before the time is taken. Each turn of a contender is a process of its own: a process
//! that has had thousands of children or threads is slower at everything for a while.

pub(crate) mod background;
mod contenders;

use std::collections::VecDeque;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use nix::libc::{cpu_set_t, pid_t, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
use pidwait_benches::Answer;

use contenders::{AsyncProcess, MultiWait, RawEpoll, RawWait4, Set, SetExited, Threads, Tokio};
#[cfg(feature = "runtimes")]
use contenders::{PidwaitAsyncIo, PidwaitTokio};

use crate::contender::make_zombie;
use crate::harness::{alternate, median, Bench};
use crate::process::{run_for_numbers, status_field, this_program};
use crate::raw;

/// The time from an exit until the wait returns; the time of all exits together, for each of them;
/// and the CPU time that this process spends, for each of them.
const QUESTIONS: [&str; 3] = ["multi/first_exit", "multi/exit_time", "multi/exit_cpu"];

type Values = [f64; QUESTIONS.len()];

/// Contenders by name, so that a turn can be named on the command line of its process.
struct Entry {
    name: &'static str,
    /// A turn with 10,000 children takes seconds, so only those that claims are about take it.
    largest: usize,
    turn: fn(usize) -> Values,
    bytes_each: fn(usize) -> usize,
}

const fn entry<M: MultiWait>(largest: usize) -> Entry {
    Entry {
        name: M::NAME,
        largest,
        turn: turn::<M>,
        bytes_each: bytes_each::<M>,
    }
}

const CONTENDERS: &[Entry] = &[
    entry::<RawEpoll>(10_000),
    entry::<Set>(10_000),
    entry::<SetExited>(1000),
    entry::<RawWait4>(1000),
    entry::<Threads>(1000),
    entry::<Tokio>(10_000),
    entry::<AsyncProcess>(10_000),
    #[cfg(feature = "runtimes")]
    entry::<PidwaitTokio>(1000),
    #[cfg(feature = "runtimes")]
    entry::<PidwaitAsyncIo>(1000),
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CONTENDERS.iter().map(|contender| contender.name)
}

pub(crate) fn ask(bench: &Bench) {
    let numbers: &[usize] = match bench.quick {
        true => &[10, 1000],
        false => &[10, 100, 1000, 10_000],
    };
    for n in numbers {
        let questions = QUESTIONS.map(|question| format!("{question}/{n}"));
        let wanted = questions.each_ref().map(|question| bench.wants(question));
        if !wanted.contains(&true) {
            continue;
        }
        if let Some(limit) = too_many(*n) {
            eprintln!("skipped: {n} children: {limit}");
            continue;
        }
        let contenders = CONTENDERS.iter().filter(|it| it.largest >= *n);
        let names: Vec<&str> = contenders.map(|contender| contender.name).collect();
        let mut values = questions.map(|question| Answer {
            question,
            contenders: names
                .iter()
                .map(|it| (it.to_string(), Vec::new()))
                .collect(),
        });
        alternate(bench.rounds(20), names.len(), |turn| {
            let of_turn = run_turn(names[turn], *n);
            for (answer, value) in values.iter_mut().zip(of_turn) {
                answer.contenders[turn].1.push(value);
            }
        });
        // By the time that this one is asked, its thread has long waited.
        let [first_exit, ..] = &mut values;
        first_exit
            .contenders
            .retain(|(name, _)| name != Threads::NAME);
        for (answer, _) in values.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            bench.record(answer);
        }
    }
    background::ask(bench);
}

/// The argument that makes this program the process of one turn.
pub(crate) const TURN: &str = "multi-turn";

fn run_turn(contender: &str, n: usize) -> Values {
    let mut program = this_program(&[TURN, contender, &n.to_string()]);
    let values = run_for_numbers(&mut program).try_into();
    values.expect("a number for each question")
}

/// What the process of one turn does.
pub(crate) fn print_turn(contender: &str, n: &str) {
    let [first, time, cpu] = (find(contender).turn)(n.parse().expect("a number"));
    println!("{first} {time} {cpu}");
}

/// The memory that each of N children costs this process, at the peak.
pub(crate) fn print_bytes_each(contender: &str, n: &str) {
    println!(
        "{}",
        (find(contender).bytes_each)(n.parse().expect("a number"))
    );
}

fn find(name: &str) -> &'static Entry {
    let mut contenders = CONTENDERS.iter();
    let found = contenders.find(|contender| contender.name == name);
    found.expect("the name of a contender")
}

/// How often a turn with N children measures.
fn repeats(n: usize) -> usize {
    match n {
        0..=10 => 30,
        11..=100 => 9,
        _ => 1,
    }
}

/// Small N are done several times, and the first time is not counted.
fn turn<M: MultiWait>(n: usize) -> Values {
    if n <= 1000 {
        Group::<M>::start(n).measure();
    }
    let all: Vec<Values> = (0..repeats(n))
        .map(|_| Group::<M>::start(n).measure())
        .collect();
    let of = |question: usize| median(all.iter().map(|values| values[question]).collect());
    [of(0), of(1), of(2)]
}

struct Group<M> {
    contender: M,
    gate: Gate,
    pids: VecDeque<pid_t>,
}

impl<M: MultiWait> Group<M> {
    /// N children and some more, all of them known to the contender.
    fn start(n: usize) -> Self {
        let gate = Gate::new();
        let spare = Self::singles(n) + 1;
        let children = start_all(&gate, n + spare, M::start);
        let mut contender = M::new();
        let pids = children.into_iter().map(|child| contender.add(child));
        let pids = pids.collect();
        let mut group = Self {
            contender,
            gate,
            pids,
        };
        // A future is not polled before the first wait: that one is not measured.
        group.end_one();
        group
    }

    /// How many children exit alone before the others.
    fn singles(n: usize) -> usize {
        n.div_ceil(20).min(20)
    }

    fn measure(mut self) -> Values {
        let singles = Self::singles(self.pids.len());
        let first = (0..singles).map(|_| self.end_one()).collect();
        let first = median(first);
        let n = self.pids.len() as f64;

        let start = Instant::now();
        let process = raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
        let thread = raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        drop(self.gate);
        // Waking N children is not a part of waiting for them.
        let waking = raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID) - thread;
        for _ in &self.pids {
            self.contender.next();
        }
        let process = raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - process;
        let time = start.elapsed().as_nanos() as f64;
        [first, time / n, (process - waking) as f64 / n]
    }

    /// Ends one child: the time from there until the wait returns.
    fn end_one(&mut self) -> f64 {
        // The kernel searches the children for one that has exited: on average half of them.
        let pid = self.pids.remove(self.pids.len() / 2).expect("a child");
        make_zombie(pid);
        let start = Instant::now();
        let exited = self.contender.next();
        let time = start.elapsed();
        assert_eq!(exited, pid);
        time.as_nanos() as f64
    }
}

/// Starts N children on one CPU, which is several times faster: some contenders open a descriptor for
/// each child when they start it, each fork copies them all, and the child closes the copies.
fn start_all<C>(gate: &Gate, n: usize, start: fn(Command) -> C) -> Vec<C> {
    let cpus = raw::cpus();
    raw::set_cpus(&raw::this_cpu());
    let children = (0..n).map(|_| start(gate.sleeper(cpus))).collect();
    raw::set_cpus(&cpus);
    children
}

fn bytes_each<M: MultiWait>(n: usize) -> usize {
    Group::<M>::start(1).measure(); // What a crate needs once.
    fs::write("/proc/self/clear_refs", "5").expect("the peak is reset");
    let before = status_field("VmRSS:");
    let gate = Gate::new();
    let children = start_all(&gate, n, M::start);
    let mut contender = M::new();
    for child in children {
        contender.add(child);
    }
    drop(gate);
    for _ in 0..n {
        contender.next();
    }
    let peak = status_field("VmHWM:").saturating_sub(before) * 1024;
    // The vector of children belongs to the bench.
    (peak / n).saturating_sub(size_of::<M::Child>())
}

/// Which limit of this system is too low for N children with a thread and a descriptor each.
pub(crate) fn too_many(n: usize) -> Option<String> {
    let files = [
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/threads-max",
        "/sys/fs/cgroup/pids.max",
    ];
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        match text.trim().parse::<usize>() {
            Ok(limit) if limit < 2 * n + 1000 => return Some(format!("{file} is {limit}")),
            _ => {}
        }
    }
    let raised = raw::raise_descriptor_limit(n as u64 + 100);
    let error = raised.err()?;
    Some(format!("the limit of open descriptors: {error}"))
}

/// The children behind it exit when it is dropped.
struct Gate {
    _ours: UnixStream,
    theirs: UnixStream,
}

impl Gate {
    fn new() -> Self {
        let (_ours, theirs) = UnixStream::pair().expect("a socket pair");
        Self { _ours, theirs }
    }

    /// A fork of this process that never executes a program, and sleeps: it starts fast, and its
    /// exit disturbs the measurement less than that of a program.
    fn sleeper(&self, cpus: cpu_set_t) -> Command {
        let gate = self.theirs.as_raw_fd();
        let mut command = Command::new("never executed");
        let sleep = move || {
            raw::set_cpus(&cpus);
            raw::sleep_until_closed(gate)
        };
        // SAFETY: the child makes system calls only.
        unsafe { command.pre_exec(sleep) };
        command
    }
}
