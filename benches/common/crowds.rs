//! Ways to wait for many children at once, and children that cost next to nothing.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use futures_lite::future::Boxed;
use futures_lite::{FutureExt, StreamExt};
use futures_util::stream::FuturesUnordered;
use nix::libc::pid_t;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pidwait::{PidHandle, WaitSet};
use tokio::task::JoinSet;

use super::{bare, peers};

/// Children that are behind it end together, when it is dropped.
pub(crate) struct Gate {
    _ours: UnixStream,
    theirs: UnixStream,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (_ours, theirs) = UnixStream::pair().expect("two descriptors");
        Self { _ours, theirs }
    }

    /// A child that is a fork of this process, never becomes another program, and sleeps.
    pub(crate) fn sleeper(&self) -> Command {
        let gate = self.theirs.as_raw_fd();
        let mut command = Command::new("never run");
        // SAFETY: between fork and its end the child makes system calls only.
        unsafe { command.pre_exec(move || bare::sleep_until_closed(gate)) };
        command
    }
}

pub(crate) trait Crowd {
    const NAME: &'static str;
    type Child;

    fn new() -> Self;
    fn start(command: Command) -> Self::Child;
    /// Its pid.
    fn add(&mut self, child: Self::Child) -> pid_t;
    /// Waits until one more has exited, and says which.
    fn next(&mut self) -> pid_t;
}

fn spawn(mut command: Command) -> Child {
    command.spawn().expect("it starts")
}

/// Why this system does not let a process have so many children, a thread and a descriptor for
/// each, if it does not.
pub(crate) fn hindrance(n: usize) -> Option<String> {
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
    let raised = bare::raise_descriptor_limit(n as u64 + 100);
    let error = raised.err()?;
    Some(format!("the limit of open descriptors: {error}"))
}

pub(crate) struct Set(WaitSet<()>);

impl Crowd for Set {
    const NAME: &'static str = "pidwait WaitSet";
    type Child = Child;

    fn new() -> Self {
        Self(WaitSet::new().expect("a descriptor"))
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        let handle = PidHandle::open(child.id()).expect("a handle");
        self.0.insert(handle, ()).expect("it is inserted");
        child.id() as pid_t
    }
    fn next(&mut self) -> pid_t {
        let exited = self.0.wait().expect("an answer").expect("not empty");
        exited.status.expect("a status");
        exited.handle.id() as pid_t
    }
}

/// What one would write by hand: a batch of events, the one call that reaps, and no more.
pub(crate) struct BareEpoll {
    epoll: Epoll,
    pidfds: Vec<Option<OwnedFd>>,
    batch: [EpollEvent; 256],
    ready: std::ops::Range<usize>,
}

impl Crowd for BareEpoll {
    const NAME: &'static str = "bare epoll";
    type Child = Child;

    fn new() -> Self {
        Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor"),
            pidfds: Vec::new(),
            batch: [EpollEvent::empty(); 256],
            ready: 0..0,
        }
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        let fd = bare::pidfd_open(child.id() as pid_t);
        let both = u64::from(child.id()) << 32 | self.pidfds.len() as u64;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, both);
        self.epoll.add(&fd, event).expect("it is added");
        self.pidfds.push(Some(fd));
        child.id() as pid_t
    }
    fn next(&mut self) -> pid_t {
        if self.ready.is_empty() {
            let waited = self.epoll.wait(&mut self.batch, EpollTimeout::NONE);
            self.ready = 0..waited.expect("events");
        }
        let event = self.batch[self.ready.next().expect("an event")].data();
        let fd = self.pidfds[event as u32 as usize].take();
        let fd = fd.expect("an exit comes once");
        bare::waitid_pidfd(&fd, 0).expect("a status");
        (event >> 32) as pid_t
    }
}

/// `wait4(-1)`: whatever child it is, whoever waits for it.
pub(crate) struct WaitAny;

impl Crowd for WaitAny {
    const NAME: &'static str = "bare wait4(-1)";
    type Child = Child;

    fn new() -> Self {
        Self
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        child.id() as pid_t
    }
    fn next(&mut self) -> pid_t {
        let (pid, _) = bare::waitpid(-1, 0).expect("a status");
        pid
    }
}

pub(crate) struct Threads {
    sender: mpsc::Sender<pid_t>,
    exits: mpsc::Receiver<pid_t>,
}

impl Crowd for Threads {
    const NAME: &'static str = "a thread each";
    type Child = Child;

    fn new() -> Self {
        let (sender, exits) = mpsc::channel();
        Self { sender, exits }
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, mut child: Child) -> pid_t {
        let pid = child.id() as pid_t;
        let sender = self.sender.clone();
        let wait = move || {
            child.wait().expect("a status");
            sender.send(pid).expect("somebody listens");
        };
        thread::spawn(wait);
        pid
    }
    fn next(&mut self) -> pid_t {
        self.exits.recv().expect("an exit")
    }
}

pub(crate) struct Tokio(JoinSet<pid_t>);

impl Crowd for Tokio {
    const NAME: &'static str = "tokio";
    type Child = tokio::process::Child;

    fn new() -> Self {
        Self(JoinSet::new())
    }
    fn start(command: Command) -> Self::Child {
        let _inside = peers::RUNTIME.enter();
        let started = tokio::process::Command::from(command).spawn();
        started.expect("it starts")
    }
    fn add(&mut self, mut child: Self::Child) -> pid_t {
        let pid = child.id().expect("not waited for before") as pid_t;
        let wait = async move {
            child.wait().await.expect("a status");
            pid
        };
        self.0.spawn_on(wait, peers::RUNTIME.handle());
        pid
    }
    fn next(&mut self) -> pid_t {
        let exit = peers::RUNTIME.block_on(self.0.join_next());
        exit.expect("not empty").expect("no panic")
    }
}

pub(crate) struct AsyncProcess(FuturesUnordered<Boxed<pid_t>>);

impl Crowd for AsyncProcess {
    const NAME: &'static str = "async-process";
    type Child = async_process::Child;

    fn new() -> Self {
        Self(FuturesUnordered::new())
    }
    fn start(command: Command) -> Self::Child {
        let started = async_process::Command::from(command).spawn();
        started.expect("it starts")
    }
    fn add(&mut self, mut child: Self::Child) -> pid_t {
        let pid = child.id() as pid_t;
        let wait = async move {
            child.status().await.expect("a status");
            pid
        };
        self.0.push(wait.boxed());
        pid
    }
    fn next(&mut self) -> pid_t {
        async_io::block_on(self.0.next()).expect("not empty")
    }
}
