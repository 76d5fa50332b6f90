//! The kernel that the unit tests run on: processes, PIDs, descriptors and a clock, all in memory.
//!
//! It does the worst that a real kernel may do. A free PID is reused at once, by the process that does
//! the most harm. A process can be gone before a call by its PID acts on it. Time passes at the worst
//! moments. A signal or a reap that reaches an unrelated process fails the test with a panic.

use std::cell::RefCell;
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use nix::libc::pid_t;
use shuttle::current::{me, TaskId};
use shuttle::future::block_on;
use shuttle::rand::{thread_rng, Rng};

use super::files::{File, Files};
use super::process::{Id, Life, Process, PID, THIS};
use crate::exit::Event;

thread_local! {
    /// One kernel for each test: all of shuttle's threads run on the thread of their test.
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::new(Rules::default()));
}

/// The configuration of one simulated run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) reuse: Reuse,
    /// The same for the PIDs of the other members of the group.
    pub(super) reuse_of_members: Reuse,
    /// SIGCHLD is ignored: children are gone when they exit.
    pub(super) sigchld_ignored: bool,
    /// The kernel keeps a record of how a reaped process ended.
    pub(super) exit_records: bool,
    /// No descriptor can be opened.
    pub(super) no_descriptors: bool,
    /// No thread can be started.
    pub(super) no_threads: bool,
    /// `/proc` is mounted and belongs to this PID namespace.
    pub(super) procfs: bool,
    /// A signal by PID may hit the next process with that PID, or the next group with that number, if the
    /// sender's last check found the target or a member of its group. This is the window that other code
    /// that reaps leaves.
    pub(super) signal_window: bool,
    /// `poll` may report a running process as exited, once: while one of its threads execs.
    pub(super) early_poll: bool,
    /// The kernel has PIDFD_SIGNAL_PROCESS_GROUP.
    pub(super) group_signals: bool,
    /// `/proc/loadavg` shows the PID that was given out last.
    pub(super) loadavg: bool,
    /// The zombies of members are reaped by their parents.
    pub(super) members_are_reaped: bool,
    pub(super) fault: Option<Fault>,
}

/// What happens to a free PID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reuse {
    #[default]
    Never,
    /// It is reused at once, by a child, a zombie child or a non-child; or never.
    Any,
    /// It is reused at once, by a child that runs on: a wait for that one never ends.
    ByRunningChild,
}

/// A mistake that the library must not make. The kernel makes it instead, to show that the tests would
/// find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A signal by PID is sent after its sender has unlocked the handle.
    SignalWithoutLock,
    /// A blocking peek reaps the zombie without the lock.
    ReapInBlockingPeek,
    /// A release closes the descriptor even if other threads use it.
    CloseAtRelease,
    /// A notification closes only the other end of the socket pair.
    NotifyByClosing,
    /// What was seen of a process is forgotten before the next call.
    ForgetSeen,
    /// A group is forgotten before the next call, so that it does not keep the zombie of its leader.
    ForgetGroup,
    /// A wait that blocks reaps when it wakes up, without the lock.
    ReapWithoutLock,
    /// The start time of every process is the same.
    IgnoreStartTimes,
    /// A forked process mistakes the parent's children for its own, so ECHILD means "reaped" to it.
    IgnoreForks,
    /// `poll` reports a running process as exited again and again, as if no second check were made.
    RepeatEarlyPolls,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) rules: Rules,
    booted: bool,
    /// Steps of calls on processes, of all threads.
    pub(super) calls: usize,
    pub(super) processes: Vec<Process>,
    /// The process that the handles were opened for.
    pub(super) target: Id,
    /// How many groups of the target live, if it is a child.
    pub(super) kept: usize,
    /// The PID that was given out last.
    pub(super) newest_pid: pid_t,
    /// All PIDs that were the newest one.
    pub(super) given_pids: Vec<pid_t>,
    /// Forks that have a PID and are not done.
    pub(super) forks_in_flight: usize,
    pub(super) files: Files,
    sleepers: Vec<Waker>,
    /// Threads that the library or the kernel started and that have not ended yet.
    pub(super) threads: usize,
    /// How many threads the library has started, not in a fork.
    pub(super) watchers: usize,
    /// Which process each thread found at its last check by PID.
    pub(super) last_checks: Vec<(TaskId, Id)>,
    /// Threads that run in a forked process.
    forked: Vec<TaskId>,
    epoch: Instant,
    clock: Duration,
    /// What [`Fault::ReapInBlockingPeek`] has reaped, and in which thread.
    reaped_too_early: Option<(TaskId, Event)>,
}

/// Starts a fresh kernel, one for each schedule.
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

/// Lets the scheduler run other threads, as it may before every call on a process.
pub(super) fn step() {
    with(|kernel| kernel.calls += 1);
    switch();
}

/// The same before a call that is not on a process.
pub(super) fn switch() {
    let booted = with(|kernel| kernel.booted);
    // Not in the probe, before there are threads; and not while a failed test unwinds.
    if booted && !std::thread::panicking() {
        shuttle::thread::sleep(Duration::ZERO);
        with(Kernel::free_some_pids);
    }
}

/// Blocks until there is a result. If no thread ends the wait, shuttle reports a deadlock.
pub(super) fn block_until<T>(mut result: impl FnMut(&mut Kernel) -> Option<T>) -> T {
    if let Some(result) = with(&mut result) {
        return result;
    }
    block_on(poll_fn(|context| {
        with(|kernel| match result(kernel) {
            Some(result) => Poll::Ready(result),
            None => {
                kernel.sleepers.push(context.waker().clone());
                Poll::Pending
            }
        })
    }))
}

/// Starts a thread that [`join_threads`] waits for.
pub(super) fn spawn(run: impl FnOnce() + Send + 'static) {
    let forked = with(|kernel| {
        kernel.threads += 1;
        kernel.is_forked()
    });
    shuttle::thread::spawn(move || {
        if forked {
            enter_fork();
        }
        run();
        with(|kernel| {
            kernel.threads -= 1;
            kernel.wake();
        });
    });
}

pub(super) fn join_threads() {
    block_until(|kernel| (kernel.threads == 0).then_some(()));
}

/// From here on, this thread runs in a forked process.
pub(super) fn enter_fork() {
    with(|kernel| kernel.forked.push(me()));
}

impl Kernel {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            booted: false,
            calls: 0,
            processes: vec![Process::this()],
            target: THIS,
            kept: 0,
            newest_pid: PID,
            given_pids: vec![PID],
            forks_in_flight: 0,
            files: Files::default(),
            sleepers: Vec::new(),
            threads: 0,
            watchers: 0,
            last_checks: Vec::new(),
            forked: Vec::new(),
            epoch: Instant::now(),
            clock: Duration::ZERO,
            reaped_too_early: None,
        }
    }

    // ---- forks ----

    pub(super) fn is_forked(&self) -> bool {
        self.booted && !self.forked.is_empty() && self.forked.contains(&me())
    }

    pub(super) fn fork_number(&self) -> u32 {
        u32::from(self.is_forked() && self.rules.fault != Some(Fault::IgnoreForks))
    }

    // ---- descriptors ----

    pub(super) fn close(&mut self, number: RawFd) {
        self.files.close(number);
        self.wake();
    }

    pub(super) fn shut_down(&mut self, number: RawFd) {
        self.files.shut_down(number);
        self.wake();
    }

    pub(super) fn is_readable(&self, file: File) -> bool {
        match file {
            File::Pidfd(id) => self.life(id) != Life::Running,
            File::Notify(pair) => self.files.pair_is_readable(pair),
            File::Peer(_) => false,
        }
    }

    /// What `poll` reports, which can be too early.
    pub(super) fn poll(&mut self, file: File) -> bool {
        let may_be_early = self.rules.early_poll && matches!(file, File::Pidfd(_));
        if may_be_early && !self.is_readable(file) && thread_rng().gen_ratio(1, 3) {
            self.rules.early_poll = self.rules.fault == Some(Fault::RepeatEarlyPolls);
            return true;
        }
        self.is_readable(file)
    }

    // ---- time ----

    pub(super) fn now(&self) -> Instant {
        self.epoch + self.clock
    }

    pub(super) fn advance_clock(&mut self, to: Instant) {
        self.clock = self.clock.max(to.duration_since(self.epoch));
    }

    /// Wakes the threads in [`block_until`].
    pub(super) fn wake(&mut self) {
        self.sleepers.drain(..).for_each(Waker::wake);
    }

    // ---- faults ----

    /// Instead of a blocking peek: reaps, and keeps the event for the next calls of this thread.
    pub(super) fn reap_too_early(&mut self, id: Id) -> nix::Result<Event> {
        let event = self.reap(id)?;
        self.reaped_too_early = event.exited().map(|_| (me(), event));
        Ok(event)
    }

    /// After a poll that blocked, of a wait.
    pub(super) fn reap_without_lock(&mut self, id: Id) {
        if self.rules.fault == Some(Fault::ReapWithoutLock) {
            _ = self.reap_too_early(id);
        }
    }

    pub(super) fn reaped_too_early(&mut self, take: bool) -> Option<Event> {
        let (_, event) = self
            .reaped_too_early
            .filter(|(thread, _)| *thread == me())?;
        if take {
            self.reaped_too_early = None;
        }
        Some(event)
    }
}
