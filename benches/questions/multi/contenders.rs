//! Ways to wait for many children at once.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;

use futures_lite::future::Boxed;
use futures_lite::{FutureExt, StreamExt};
use futures_util::stream::FuturesUnordered;
use nix::libc::pid_t;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use pidwait::WaitSet;
use tokio::task::JoinSet;

use crate::{api, peers, raw};

pub(crate) trait MultiWait {
    const NAME: &'static str;
    type Child;

    fn new() -> Self;
    fn start(command: Command) -> Self::Child;
    /// Returns its PID.
    fn add(&mut self, child: Self::Child) -> pid_t;
    /// Waits until one more has exited, and returns its PID.
    fn next(&mut self) -> pid_t;
}

pub(super) fn spawn(mut command: Command) -> Child {
    command.spawn().expect("the child starts")
}

fn insert(set: &mut WaitSet<()>, child: &Child) -> pid_t {
    let handle = api::open_child(child);
    let pid = handle.id() as pid_t;
    set.insert(handle, ()).expect("the child is inserted");
    pid
}

pub(crate) struct Set(WaitSet<()>);

impl MultiWait for Set {
    const NAME: &'static str = "pidwait WaitSet";
    type Child = Child;

    fn new() -> Self {
        Self(WaitSet::new().expect("a set"))
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        insert(&mut self.0, &child)
    }
    fn next(&mut self) -> pid_t {
        let exited = self.0.wait().expect("no error").expect("not empty");
        exited.status.expect("a status");
        exited.handle.id() as pid_t
    }
}

/// The set reports exits, and the caller reaps.
pub(crate) struct SetExited(WaitSet<()>);

impl MultiWait for SetExited {
    const NAME: &'static str = "pidwait wait_exited";
    type Child = Child;

    fn new() -> Self {
        Self(WaitSet::new().expect("a set"))
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        insert(&mut self.0, &child)
    }
    fn next(&mut self) -> pid_t {
        let exited = self.0.wait_exited().expect("no error");
        let handle = exited.expect("not empty").handle;
        handle.wait().expect("a status");
        handle.id() as pid_t
    }
}

/// A loop written by hand: a batch of events, and for each exit one call that reaps and the close.
pub(crate) struct RawEpoll {
    epoll: Epoll,
    pidfds: Vec<Option<OwnedFd>>,
    batch: [EpollEvent; 256],
    ready: std::ops::Range<usize>,
}

impl MultiWait for RawEpoll {
    const NAME: &'static str = "raw epoll";
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
        let pidfd = raw::pidfd_open(child.id() as pid_t);
        let pid_and_index = u64::from(child.id()) << 32 | self.pidfds.len() as u64;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, pid_and_index);
        self.epoll.add(&pidfd, event).expect("the pidfd is added");
        self.pidfds.push(Some(pidfd));
        child.id() as pid_t
    }
    fn next(&mut self) -> pid_t {
        if self.ready.is_empty() {
            let waited = self.epoll.wait(&mut self.batch, EpollTimeout::NONE);
            self.ready = 0..waited.expect("events");
        }
        let event = self.batch[self.ready.next().expect("an event")].data();
        let pidfd = self.pidfds[event as u32 as usize].take();
        let pidfd = pidfd.expect("one event for each exit");
        raw::waitid_pidfd(&pidfd, 0).expect("a status");
        (event >> 32) as pid_t
    }
}

/// Reaps any child, also those that other code in the process waits for.
pub(crate) struct RawWait4;

impl MultiWait for RawWait4 {
    const NAME: &'static str = "raw wait4(-1)";
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
        let (pid, _) = raw::waitpid(-1, 0).expect("a status");
        pid
    }
}

pub(crate) struct Threads {
    sender: mpsc::Sender<pid_t>,
    exits: mpsc::Receiver<pid_t>,
}

impl MultiWait for Threads {
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
        thread::spawn(move || {
            child.wait().expect("a status");
            sender.send(pid).expect("the receiver lives");
        });
        pid
    }
    fn next(&mut self) -> pid_t {
        self.exits.recv().expect("an exit")
    }
}

pub(crate) struct Tokio(JoinSet<pid_t>);

impl Tokio {
    fn next_of(tasks: &mut JoinSet<pid_t>) -> pid_t {
        let exit = peers::RUNTIME.block_on(tasks.join_next());
        exit.expect("not empty").expect("no panic")
    }
}

impl MultiWait for Tokio {
    const NAME: &'static str = "tokio";
    type Child = tokio::process::Child;

    fn new() -> Self {
        Self(JoinSet::new())
    }
    fn start(command: Command) -> Self::Child {
        let _inside = peers::RUNTIME.enter();
        let child = tokio::process::Command::from(command).spawn();
        child.expect("the child starts")
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
        Self::next_of(&mut self.0)
    }
}

pub(crate) struct AsyncProcess(FuturesUnordered<Boxed<pid_t>>);

impl AsyncProcess {
    fn next_of(futures: &mut FuturesUnordered<Boxed<pid_t>>) -> pid_t {
        async_io::block_on(futures.next()).expect("not empty")
    }
}

impl MultiWait for AsyncProcess {
    const NAME: &'static str = "async-process";
    type Child = async_process::Child;

    fn new() -> Self {
        Self(FuturesUnordered::new())
    }
    fn start(command: Command) -> Self::Child {
        let child = async_process::Command::from(command).spawn();
        child.expect("the child starts")
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
        Self::next_of(&mut self.0)
    }
}

#[cfg(feature = "runtimes")]
pub(crate) struct PidwaitTokio(JoinSet<pid_t>);

#[cfg(feature = "runtimes")]
impl MultiWait for PidwaitTokio {
    const NAME: &'static str = "pidwait on tokio";
    type Child = Child;

    fn new() -> Self {
        Self(JoinSet::new())
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        let handle = api::open_child(&child);
        let pid = handle.id() as pid_t;
        let wait = async move {
            api::wait_on_tokio(handle).await.expect("a status");
            pid
        };
        self.0.spawn_on(wait, peers::RUNTIME.handle());
        pid
    }
    fn next(&mut self) -> pid_t {
        Tokio::next_of(&mut self.0)
    }
}

#[cfg(feature = "runtimes")]
pub(crate) struct PidwaitAsyncIo(FuturesUnordered<Boxed<pid_t>>);

#[cfg(feature = "runtimes")]
impl MultiWait for PidwaitAsyncIo {
    const NAME: &'static str = "pidwait on async-io";
    type Child = Child;

    fn new() -> Self {
        Self(FuturesUnordered::new())
    }
    fn start(command: Command) -> Child {
        spawn(command)
    }
    fn add(&mut self, child: Child) -> pid_t {
        let handle = api::open_child(&child);
        let pid = handle.id() as pid_t;
        let wait = async move {
            api::wait_on_async_io(handle).await.expect("a status");
            pid
        };
        self.0.push(wait.boxed());
        pid
    }
    fn next(&mut self) -> pid_t {
        AsyncProcess::next_of(&mut self.0)
    }
}
