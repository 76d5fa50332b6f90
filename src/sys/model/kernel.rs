//! The kernel that the tests run on: processes, pids, descriptors and a clock, all in memory.
//!
//! It is as unkind as a real one may be. A pid that is free is given away at once, to whoever can
//! do the most harm; whoever is named by a call may have gone before the call gets at it; and time
//! passes when it suits nobody. What must never happen, a signal or a reap that reaches a bystander,
//! ends the test by a panic.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGKILL, SIGTERM};
use nix::Result;
use shuttle::current::{me, TaskId};
use shuttle::future::block_on;
use shuttle::rand::{thread_rng, Rng};

use super::files::{File, Files};
use crate::exit::Event;

/// The pid of the process that the tests are about, and of those that get it next.
pub(super) const PID: pid_t = 100;

thread_local! {
    /// One to each test, for all of shuttle's threads live on the thread of their test.
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::new(Rules::default()));
}

/// What kind of a day it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// A pid that is free gets a new owner at once, or else none for good.
    pub(super) reused: bool,
    /// SIGCHLD is ignored: children are gone when they exit.
    pub(super) ignored: bool,
    /// The kernel tells how a reaped process ended.
    pub(super) recorded: bool,
    /// No descriptors are to be had.
    pub(super) exhausted: bool,
    pub(super) sabotage: Option<Sabotage>,
}

/// What the code under test takes care not to do, done to it by the kernel: so it is seen that
/// these tests would notice if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// A signal by pid goes out when the lock that its sender held is free again.
    SignalWithoutLock,
    /// A look that blocks reaps what it sees, before it is seen under the lock.
    ReapBeforeLook,
    /// Release closes the descriptor, whoever is using it.
    CloseAtRelease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Zombie,
    /// Being reaped: waits find it no longer, but its pid is still its own, and there is no record.
    Dead,
    Reaped,
}

impl Life {
    pub(super) fn is_nobodys(self) -> bool {
        matches!(self, Life::Dead | Life::Reaped)
    }
}

/// A process itself, whatever became of its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(usize);

#[derive(Debug)]
struct Process {
    pid: pid_t,
    child: bool,
    /// The one that the handles were opened for. Everybody else is to be left in peace.
    meant: bool,
    life: Life,
    status: c_int,
    reaped_by_us: bool,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) rules: Rules,
    booted: bool,
    /// Of all threads together.
    pub(super) steps: usize,
    processes: Vec<Process>,
    pub(super) files: Files,
    sleepers: Vec<Waker>,
    /// Threads of the kernel's own making that have not ended yet.
    threads: usize,
    /// How many watchers there ever were.
    pub(super) watchers: usize,
    epoch: Instant,
    clock: Duration,
    /// Of a sabotaged look: what it reaped, and for whom.
    taken: Option<(TaskId, Event)>,
}

/// A kernel of its own for each schedule.
pub(super) fn boot(rules: Rules) {
    let fresh = Kernel {
        booted: true,
        ..Kernel::new(rules)
    };
    with(|kernel| *kernel = fresh);
}

pub(super) fn with<T>(run: impl FnOnce(&mut Kernel) -> T) -> T {
    KERNEL.with(|kernel| run(&mut kernel.borrow_mut()))
}

/// Lets the scheduler run others, as it may before anything that they could notice.
pub(super) fn step() {
    let booted = with(|kernel| {
        kernel.steps += 1;
        kernel.booted
    });
    // Not when the probe asks, before there are threads; and not in the midst of a failure.
    if booted && !std::thread::panicking() {
        shuttle::thread::sleep(Duration::ZERO);
        with(Kernel::bury_some);
    }
}

/// Blocks until there is an answer. That nobody will ever wake it is for shuttle to see.
pub(super) fn block_until<T>(mut answer: impl FnMut(&mut Kernel) -> Option<T>) -> T {
    if let Some(answer) = with(&mut answer) {
        return answer;
    }
    block_on(poll_fn(|context| {
        with(|kernel| match answer(kernel) {
            Some(answer) => Poll::Ready(answer),
            None => {
                kernel.sleepers.push(context.waker().clone());
                Poll::Pending
            }
        })
    }))
}

/// Starts a thread that [`everybody_is_done`] waits for.
pub(super) fn spawn(run: impl FnOnce() + Send + 'static) {
    with(|kernel| kernel.threads += 1);
    shuttle::thread::spawn(move || {
        run();
        with(|kernel| {
            kernel.threads -= 1;
            kernel.wake();
        });
    });
}

pub(super) fn everybody_is_done() {
    block_until(|kernel| (kernel.threads == 0).then_some(()));
}

impl Kernel {
    fn new(rules: Rules) -> Self {
        let ourselves = Process {
            pid: pid_t::try_from(std::process::id()).unwrap_or(pid_t::MAX),
            child: false,
            meant: false,
            life: Life::Running,
            status: 0,
            reaped_by_us: false,
        };
        Self {
            rules,
            booted: false,
            steps: 0,
            processes: vec![ourselves],
            files: Files::default(),
            sleepers: Vec::new(),
            threads: 0,
            watchers: 0,
            epoch: Instant::now(),
            clock: Duration::ZERO,
            taken: None,
        }
    }

    // ---- processes ----

    /// The process that the test is about.
    pub(super) fn start(&mut self, child: bool) -> Id {
        self.add(child, true, Life::Running)
    }

    fn add(&mut self, child: bool, meant: bool, life: Life) -> Id {
        self.processes.push(Process {
            pid: PID,
            child,
            meant,
            life,
            // Nobody ends as the one that is meant does.
            status: if meant { 3 << 8 } else { 4 << 8 },
            reaped_by_us: false,
        });
        Id(self.processes.len() - 1)
    }

    /// Gives the pid away.
    pub(super) fn reuse(&mut self) {
        match thread_rng().gen_range(0..4) {
            0 => {}
            1 => drop(self.add(true, false, Life::Running)),
            2 => drop(self.add(true, false, Life::Zombie)),
            _ => drop(self.add(false, false, Life::Running)),
        }
    }

    pub(super) fn life(&self, id: Id) -> Life {
        self.processes[id.0].life
    }

    pub(super) fn status(&self, id: Id) -> ExitStatus {
        ExitStatus::from_raw(self.processes[id.0].status)
    }

    pub(super) fn reaped_by_us(&self, id: Id) -> bool {
        self.processes[id.0].reaped_by_us
    }

    pub(super) fn pid(&self, id: Id) -> pid_t {
        self.processes[id.0].pid
    }

    /// The pid of its parent, if that is anybody whom the tests know.
    pub(super) fn parent(&self, id: Id) -> u32 {
        match self.processes[id.0].child {
            true => std::process::id(),
            false => 0,
        }
    }

    /// Who has the pid now.
    pub(super) fn owner(&self, pid: pid_t) -> Result<Id> {
        let has_it = |process: &Process| process.pid == pid && process.life != Life::Reaped;
        let found = self.processes.iter().rposition(has_it);
        found.map(Id).ok_or(Errno::ESRCH)
    }

    /// The same, for one who would wait for it.
    pub(super) fn child(&self, pid: pid_t) -> Result<Id> {
        let owner = self.owner(pid).map_err(|_| Errno::ECHILD)?;
        self.processes[owner.0]
            .child
            .then_some(owner)
            .ok_or(Errno::ECHILD)
    }

    /// What a wait finds: ECHILD if there is nobody to wait for, or not any longer.
    pub(super) fn look(&self, id: Id) -> Result<Event> {
        let process = &self.processes[id.0];
        match process.life {
            Life::Dead | Life::Reaped => Err(Errno::ECHILD),
            _ if !process.child => Err(Errno::ECHILD),
            Life::Running => Ok(Event::Running),
            Life::Zombie => Ok(Event::Exited(self.status(id))),
        }
    }

    /// The same, and if there is a zombie, reaps it.
    pub(super) fn take(&mut self, id: Id) -> Result<Event> {
        let event = self.look(id)?;
        if let Event::Exited(_) = event {
            assert!(self.processes[id.0].meant, "a bystander was reaped");
            self.processes[id.0].reaped_by_us = true;
            self.reap(id);
        }
        Ok(event)
    }

    /// Anybody's reaping, which takes its time.
    pub(super) fn reap(&mut self, id: Id) {
        self.processes[id.0].life = Life::Dead;
        self.wake();
    }

    /// The end of a reaping: the pid is free, and the record there.
    pub(super) fn bury(&mut self, id: Id) {
        if self.processes[id.0].life != Life::Dead {
            return;
        }
        self.processes[id.0].life = Life::Reaped;
        if self.rules.reused {
            self.reuse();
        }
        self.wake();
    }

    fn bury_some(&mut self) {
        let all = (0..self.processes.len()).map(Id);
        let dead: Vec<_> = all.filter(|id| self.life(*id) == Life::Dead).collect();
        for id in dead {
            if thread_rng().gen() {
                self.bury(id);
            }
        }
    }

    pub(super) fn exit(&mut self, id: Id) {
        let process = &mut self.processes[id.0];
        if process.life != Life::Running {
            return;
        }
        process.life = Life::Zombie;
        if process.child && self.rules.ignored {
            self.reap(id);
        }
        self.wake();
    }

    /// A signal arrives. It is up to the process whether SIGTERM ends it.
    pub(super) fn deliver(&mut self, id: Id, signal: c_int) {
        let process = &mut self.processes[id.0];
        if signal == 0 {
            return;
        }
        assert!(process.meant, "signal {signal} reached a bystander");
        let ends_it = signal == SIGKILL || signal == SIGTERM && thread_rng().gen();
        if ends_it && process.life == Life::Running {
            process.status = signal;
            self.exit(id);
        }
    }

    // ---- descriptors ----

    pub(super) fn close(&mut self, number: RawFd) {
        self.files.close(number);
        self.wake();
    }

    pub(super) fn is_readable(&self, file: File) -> bool {
        match file {
            File::Pidfd(id) => self.life(id) != Life::Running,
            File::Readable(channel) => self.files.has_ended(channel),
            File::Dropped(_) => false,
        }
    }

    // ---- time ----

    pub(super) fn now(&self) -> Instant {
        self.epoch + self.clock
    }

    pub(super) fn pass_time_until(&mut self, then: Instant) {
        self.clock = self.clock.max(then.duration_since(self.epoch));
    }

    fn wake(&mut self) {
        self.sleepers.drain(..).for_each(Waker::wake);
    }

    // ---- sabotage ----

    /// Instead of a look that blocks: takes what it sees, for the caller to find where it will
    /// look for it.
    pub(super) fn take_early(&mut self, id: Id) -> Result<Event> {
        let event = self.take(id)?;
        self.taken = event.exited().map(|_| (me(), event));
        Ok(event)
    }

    pub(super) fn taken_early(&mut self, and_forget: bool) -> Option<Event> {
        let (_, event) = self.taken.filter(|(who, _)| *who == me())?;
        if and_forget {
            self.taken = None;
        }
        Some(event)
    }
}
