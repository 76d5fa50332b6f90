//! Many children: what it costs to wait for all of them, to find one of them, and to leave them to
//! the background.
//!
//! The children are forks of this program that sleep. They are started, and made known to the
//! contender, before anything is measured. Each turn of a contender is a process of its own: a process
//! that has had thousands of children or threads is slower at everything for a while.

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{mpsc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::{poll_once, Boxed};
use futures_lite::{FutureExt, StreamExt};
use futures_util::stream::FuturesUnordered;
use nix::libc::{pid_t, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use pidwait::{Backend, PidHandle, WaitSet};
use tokio::task::JoinSet;

use crate::child::{make_zombie, pid, spawn, tokio_spawn, RUNTIME};
use crate::counts::{path_of_this_program, time};
use crate::harness::{median, Bench, Sample};
use crate::raw;

// ---- the questions ----

const ALL: &str = "set/cpu";
const ONE: &str = "set/one";
const BACKGROUND: &str = "background/cpu";

pub(crate) fn ask(bench: &Bench) {
    for (question, n, rounds) in [
        (ALL, 1000, 30),
        (ALL, 10_000, 12),
        (ONE, 1000, 30),
        (BACKGROUND, 1000, 30),
    ] {
        let n = if bench.quick { n / 10 } else { n };
        let Some(mut asked) = bench.question(format!("{question}/{n}"), rounds, 1) else {
            continue;
        };
        if let Some(limit) = too_many(n) {
            eprintln!("skipped: {n} children: {limit}");
            continue;
        }
        let contenders: Vec<&str> = match question {
            BACKGROUND => LEAVE.iter().map(|(name, _)| *name).collect(),
            _ => set_names().collect(),
        };
        // A thread each: 10,000 threads take too long, and when one child has exited, its thread
        // has long seen it.
        let unfit = |name: &str| name == THREADS && (n > 1000 || question == ONE);
        for contender in contenders.into_iter().filter(|name| !unfit(name)) {
            asked.add(contender, move || run_turn(question, contender, n));
        }
        asked.run();
    }
}

/// The first argument that makes this program the process of one turn.
pub(crate) const TURN: &str = "turn";

fn run_turn(question: &str, contender: &str, n: usize) -> f64 {
    let mut command = Command::new(path_of_this_program());
    command.args([TURN, question, contender, &n.to_string()]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("this program starts");
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().expect("a number")
}

/// What the process of one turn does. Before it measures, it does the same with fewer children; the median
/// of several exits needs no such run.
pub(crate) fn print_turn(question: &str, contender: &str, n: &str) {
    thread::spawn(thread::park); // As in `ask`.
    let n = n.parse().expect("a number");
    let value = match question {
        BACKGROUND => {
            let leave = find(LEAVE, contender);
            cpu_in_background(leave, n / 10);
            cpu_in_background(leave, n)
        }
        ONE => time_of_one(find(SETS, contender), n),
        _ => {
            let set = find(SETS, contender);
            cpu_of_all(set, n / 10);
            cpu_of_all(set, n)
        }
    };
    println!("{value}");
}

fn find<T: Copy>(contenders: &[(&str, T)], name: &str) -> T {
    let found = contenders.iter().find(|(known, _)| *known == name);
    found.expect("the name of a contender").1
}

/// The CPU time of this process to learn of each exit and to reap, when all children have exited.
fn cpu_of_all(set: NewSet, n: usize) -> f64 {
    let mut children = Children::new();
    let mut wait = set(&children, n);
    let mut clock = CpuClock::start();
    clock.pause(|| children.end_all());
    wait(n);
    clock.elapsed() / n as f64
}

/// From the exit of one of N until the wait has returned and reaped it.
fn time_of_one(set: NewSet, n: usize) -> f64 {
    const EXITS: usize = 20;
    let mut children = Children::new();
    let mut wait = set(&children, n);
    let pids = children.pids.get_mut().iter().skip(n / 2);
    let times = pids.take(EXITS).map(|pid| {
        make_zombie(*pid);
        let start = Instant::now();
        assert_eq!(wait(1), *pid);
        start.elapsed().as_nanos() as f64
    });
    let time = median(times.collect());
    children.end_all();
    wait(n - EXITS);
    time
}

/// For the counts: a wait for all of them, when all have exited.
pub(crate) fn all_exited(contender: &'_ str, n: usize) -> Option<Sample<'static>> {
    let set = find(SETS, contender);
    Some(Box::new(move || {
        let mut children = Children::new();
        let mut wait = set(&children, n);
        children.end_all();
        time(|| assert!(wait(n) > 0))
    }))
}

/// The CPU time of this process for each child, from handing them over until all are reaped. The
/// children exit once they are handed over.
fn cpu_in_background(leave: Leave, n: usize) -> f64 {
    let mut children = Children::new();
    let mut clock = leave(&children, n);
    clock.pause(|| {
        children.gate = None;
        while raw::has_children() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    clock.elapsed() / n as f64
}

/// The CPU time of all threads, without what the main thread does for the bench.
struct CpuClock {
    start: u64,
    paused: u64,
}

impl CpuClock {
    fn start() -> Self {
        Self {
            start: raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID),
            paused: 0,
        }
    }

    fn pause(&mut self, work: impl FnOnce()) {
        let start = raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID);
        work();
        self.paused += raw::nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start;
    }

    fn elapsed(&self) -> f64 {
        (raw::nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - self.start - self.paused) as f64
    }
}

/// Which limit of this system is too low for N children with a thread and a descriptor each.
fn too_many(n: usize) -> Option<String> {
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
    let error = raw::raise_descriptor_limit(n as u64 + 100).err()?;
    Some(format!("the limit of open descriptors: {error}"))
}

// ---- the children ----

struct Children {
    /// The children exit when our end of the socket is closed.
    gate: Option<UnixStream>,
    theirs: UnixStream,
    pids: RefCell<Vec<pid_t>>,
}

impl Children {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        Self {
            gate: Some(ours),
            theirs,
            pids: RefCell::default(),
        }
    }

    /// Starts N children on one CPU, which is several times faster: some contenders open a
    /// descriptor for each child when they start it, each fork copies them all, and the child closes
    /// the copies.
    fn start<C>(&self, n: usize, start: impl Fn(Command) -> (pid_t, C)) -> Vec<C> {
        let cpus = raw::cpus();
        raw::set_cpus(&raw::this_cpu());
        let children = (0..n).map(|_| {
            let gate = self.theirs.as_raw_fd();
            let mut command = Command::new("never executed");
            let sleep = move || {
                raw::set_cpus(&cpus);
                raw::sleep_until_closed(gate)
            };
            // SAFETY: the child makes system calls only.
            unsafe { command.pre_exec(sleep) };
            let (pid, child) = start(command);
            self.pids.borrow_mut().push(pid);
            child
        });
        let children = children.collect();
        raw::set_cpus(&cpus);
        children
    }

    fn start_std(&self, n: usize) -> Vec<Child> {
        self.start(n, |command| {
            let child = spawn(command);
            (pid(&child), child)
        })
    }

    fn start_tokio(&self, n: usize) -> Vec<tokio::process::Child> {
        self.start(n, |command| {
            let child = tokio_spawn(command);
            (child.id().expect("not waited for before") as pid_t, child)
        })
    }

    fn start_async_process(&self, n: usize) -> Vec<async_process::Child> {
        self.start(n, |command| {
            let child = async_process::Command::from(command).spawn();
            let child = child.expect("the child starts");
            (child.id() as pid_t, child)
        })
    }

    /// A handle of each of N children. They are opened when all have started.
    fn open(&self, n: usize) -> Vec<PidHandle> {
        let children = self.start_std(n).into_iter();
        let handles = children.map(|child| PidHandle::open_with(child.id(), Backend::Pidfd));
        handles.collect::<Result<_, _>>().expect("unreaped")
    }

    /// Ends all of them, and returns when all are zombies, or reaped.
    fn end_all(&mut self) {
        self.gate = None;
        for pid in self.pids.get_mut() {
            raw::peek_by_pid(*pid, 0);
        }
    }
}

// ---- waiting for all ----

/// Waits until that many have exited, reaps them, and returns the PID of the last.
type Wait = Box<dyn FnMut(usize) -> pid_t>;
type NewSet = fn(&Children, usize) -> Wait;

/// Left out of the counts: its threads begin to wait before the counting starts.
pub(crate) const THREADS: &str = "std, a thread each";
const STATUS: &str = "a status";

const SETS: &[(&str, NewSet)] = &[
    ("raw epoll", |children, n| {
        let mut set = RawEpoll::new(children.start_std(n));
        Box::new(move |exits| set.wait(exits))
    }),
    ("pidwait WaitSet", |children, n| {
        let mut set = WaitSet::new().expect("a set");
        for handle in children.open(n) {
            set.insert(handle, ()).expect("the child is inserted");
        }
        repeat(move || {
            let exited = set.wait().expect("no error").expect("not empty");
            exited.status.expect(STATUS);
            exited.handle.id() as pid_t
        })
    }),
    (THREADS, |children, n| {
        let (sender, exits) = mpsc::channel();
        for mut child in children.start_std(n) {
            let sender = sender.clone();
            thread::spawn(move || {
                child.wait().expect(STATUS);
                sender.send(pid(&child)).expect("the receiver lives");
            });
        }
        repeat(move || exits.recv().expect("an exit"))
    }),
    ("tokio", |children, n| {
        let children = children.start_tokio(n).into_iter();
        on_tokio(children.map(|mut child| async move {
            let pid = child.id().expect("not waited for before") as pid_t;
            child.wait().await.expect(STATUS);
            pid
        }))
    }),
    #[cfg(feature = "runtimes")]
    ("pidwait on tokio", |children, n| {
        let handles = children.open(n).into_iter();
        on_tokio(handles.map(|handle| async move {
            let child = pidwait::TokioPidHandle::new(&handle);
            child.expect("no error").wait().await.expect(STATUS);
            handle.id() as pid_t
        }))
    }),
    ("async-process", |children, n| {
        let children = children.start_async_process(n).into_iter();
        on_async_io(children.map(|mut child| {
            let wait = async move {
                child.status().await.expect(STATUS);
                child.id() as pid_t
            };
            wait.boxed()
        }))
    }),
    #[cfg(feature = "runtimes")]
    ("pidwait on async-io", |children, n| {
        let handles = children.open(n).into_iter();
        on_async_io(handles.map(|handle| {
            let wait = async move {
                let child = pidwait::AsyncIoPidHandle::new(&handle);
                child.expect("no error").wait().await.expect(STATUS);
                handle.id() as pid_t
            };
            wait.boxed()
        }))
    }),
];

pub(crate) fn set_names() -> impl Iterator<Item = &'static str> {
    SETS.iter().map(|(name, _)| *name)
}

fn repeat(mut next: impl FnMut() -> pid_t + 'static) -> Wait {
    Box::new(move |exits| (0..exits).map(|_| next()).last().expect("at least one"))
}

fn on_tokio<F>(waits: impl Iterator<Item = F>) -> Wait
where
    F: Future<Output = pid_t> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for wait in waits {
        tasks.spawn_on(wait, RUNTIME.handle());
    }
    // A task registers its child when it first runs.
    RUNTIME.block_on(async {
        for _ in 0..tasks.len() {
            tokio::task::yield_now().await;
        }
    });
    Box::new(move |exits| {
        let last = RUNTIME.block_on(async {
            for _ in 1..exits {
                tasks.join_next().await;
            }
            tasks.join_next().await
        });
        last.expect("not empty").expect("no panic")
    })
}

fn on_async_io(waits: impl Iterator<Item = Boxed<pid_t>>) -> Wait {
    let mut waits: FuturesUnordered<_> = waits.collect();
    // A future registers its child when it is first polled.
    assert_eq!(async_io::block_on(poll_once(waits.next())), None);
    Box::new(move |exits| {
        let last = async_io::block_on(async {
            for _ in 1..exits {
                waits.next().await;
            }
            waits.next().await
        });
        last.expect("not empty")
    })
}

/// A loop written by hand: a batch of events, and for each exit one call that reaps and the close.
struct RawEpoll {
    epoll: Epoll,
    pidfds: Vec<Option<OwnedFd>>,
    batch: [EpollEvent; 256],
    ready: std::ops::Range<usize>,
}

impl RawEpoll {
    fn new(children: Vec<Child>) -> Self {
        let mut set = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor"),
            pidfds: Vec::new(),
            batch: [EpollEvent::empty(); 256],
            ready: 0..0,
        };
        for (index, child) in children.iter().enumerate() {
            let pidfd = raw::pidfd_open(pid(child));
            let event = u64::from(child.id()) << 32 | index as u64;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, event);
            set.epoll.add(&pidfd, event).expect("the pidfd is added");
            set.pidfds.push(Some(pidfd));
        }
        set
    }

    fn wait(&mut self, exits: usize) -> pid_t {
        let mut last = 0;
        for _ in 0..exits {
            if self.ready.is_empty() {
                let waited = self.epoll.wait(&mut self.batch, EpollTimeout::NONE);
                self.ready = 0..waited.expect("events");
            }
            let event = self.batch[self.ready.next().expect("an event")].data();
            let pidfd = self.pidfds[event as u32 as usize].take();
            let pidfd = pidfd.expect("one event for each exit");
            raw::waitid_pidfd(&pidfd, 0).expect(STATUS);
            last = (event >> 32) as pid_t;
        }
        last
    }
}

// ---- leaving them to the background ----

/// Starts N children, starts the clock, and hands the children over.
type Leave = fn(&Children, usize) -> CpuClock;

const LEAVE: &[(&str, Leave)] = &[
    ("raw epoll in a thread", |children, n| {
        let children = children.start_std(n);
        let clock = CpuClock::start();
        let mut set = RawEpoll::new(children);
        thread::spawn(move || set.wait(n));
        clock
    }),
    ("pidwait pidfd", |children, n| {
        reap_in_background(children.start_std(n), Backend::Pidfd)
    }),
    ("pidwait waitpid", |children, n| {
        reap_in_background(children.start_std(n), Backend::Waitpid)
    }),
    (THREADS, |children, n| {
        let children = children.start_std(n);
        let clock = CpuClock::start();
        for mut child in children {
            thread::spawn(move || child.wait());
        }
        clock
    }),
    ("tokio", |children, n| {
        // The runtime runs in a thread of its own, which alone takes SIGCHLD: the time that the main
        // thread needs is not counted.
        static RUNS: LazyLock<()> = LazyLock::new(|| {
            thread::spawn(|| RUNTIME.block_on(std::future::pending::<()>()));
            let mut signals = SigSet::empty();
            signals.add(Signal::SIGCHLD);
            signals.thread_block().expect("SIGCHLD can be blocked");
        });
        LazyLock::force(&RUNS);
        let children = children.start_tokio(n);
        let clock = CpuClock::start();
        RUNTIME.spawn(async {
            drop(children);
            // The runtime does not look for orphans before it has slept once more.
            tokio::task::yield_now().await;
        });
        clock
    }),
    ("async-process", |children, n| {
        let children = children.start_async_process(n);
        let clock = CpuClock::start();
        drop(children);
        clock
    }),
];

fn reap_in_background(children: Vec<Child>, backend: Backend) -> CpuClock {
    let clock = CpuClock::start();
    for child in children {
        let handle = PidHandle::open_with(child.id(), backend);
        handle.expect("unreaped").reap_in_background();
    }
    clock
}
