// Tests: tests/it/wait.rs, tests/it/timeout.rs, src/sys/model/tests.rs

//! The wait engine: the one place for timeouts, backoff and the rule for traced zombies.
//!
//! A [`Subject`] is what calls wait for, signal and end: a process by its handle, or a child by std's
//! `Child`. Every wait for a status is [`reap`] of a subject.
//!
//! # Races
//!
//! - **Signal during a reap, by PID.** A peeks and finds the child unreaped; B reaps it; the PID is
//!   reused; A sends its signal to an unrelated process. So a peek and its `kill` run under the handle's
//!   lock, and so does each reap. A wait that blocks does so without the lock, and then reaps under it.
//! - **Two waits, one status.** A and B wake up for the same exit. A reaps and stores the status under
//!   one lock, so B either finds the status or reaps itself.
//! - **Reap during a blocking peek, by PID.** A is about to block in `waitid(P_PID, WNOWAIT)`; B
//!   reaps; the PID goes to another child, and A waits for that one. So blocking peeks are counted. While
//!   there are any, B takes the status by a peek, and the last peek to return reaps. It returns at once,
//!   because there is a zombie.
//! - **A wait beside the end of a group.** A wait takes the leader's status; the group's number is
//!   reused; an end in another thread kills an unrelated group. So while a
//!   [`ProcessGroup`](crate::ProcessGroup) lives, a wait takes the status by a peek, and the zombie stays.
//! - **A zombie that a tracer holds.** Its pidfd is readable, but it cannot be reaped until the tracer
//!   releases it. After the event, `reap` retries with a backoff, so it neither spins nor fails.
//! - **A trace stop.** `waitid` may return for the stop of a child that this process traces. It is
//!   not an exit: the wait continues, with the same backoff.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::handle::ExitFd;
use crate::support::Backend;
use crate::sys;

/// How long a wait may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    /// Check once, without blocking.
    Now,
    At(Instant),
    Infinite,
}

impl Timeout {
    /// A timeout that the clock cannot represent is infinite.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Timeout::Now;
        }
        sys::now()
            .checked_add(timeout)
            .map_or(Timeout::Infinite, Timeout::At)
    }

    /// A deadline in the past is one check, which needs no descriptor and no watcher thread.
    pub(crate) fn until(deadline: Instant) -> Self {
        if deadline <= sys::now() {
            Timeout::Now
        } else {
            Timeout::At(deadline)
        }
    }

    /// The deadline, as `poll` takes it: `None` is never.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Timeout::Now => Some(sys::now()),
            Timeout::At(deadline) => Some(deadline),
            Timeout::Infinite => None,
        }
    }
}

/// The earlier of two deadlines. `None` is never.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The delays between repeated checks, where there is no event to wait for: a twentieth of the time
/// waited so far, within limits.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    start: Instant,
    longest: Duration,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(1);
    pub(crate) const LONGEST: Duration = Duration::from_millis(50);

    /// From 1 ms to 50 ms.
    pub(crate) fn new() -> Self {
        Self::up_to(Self::LONGEST)
    }

    pub(crate) fn up_to(longest: Duration) -> Self {
        Self {
            start: sys::now(),
            longest,
        }
    }

    /// The next delay, which ends by the deadline; `None` once that has passed.
    pub(crate) fn next_delay(&self, deadline: Option<Instant>) -> Option<Duration> {
        let now = sys::now();
        let waited = now.saturating_duration_since(self.start);
        let delay = (waited / 20).clamp(Self::SHORTEST, self.longest);
        let delay = match deadline {
            None => delay,
            Some(at) => delay.min(at.saturating_duration_since(now)),
        };
        (!delay.is_zero()).then_some(delay)
    }

    /// When the next delay ends, for a poll to take as its deadline.
    pub(crate) fn next_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        let delay = self.next_delay(deadline).unwrap_or_default();
        Timeout::after(delay).deadline()
    }

    /// Sleeps for the next delay. Returns false at once if the deadline has passed.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> bool {
        self.next_delay(deadline).map(sys::sleep).is_some()
    }
}

/// Runs checks that a thread repeats without end. Returns how long it has to rest after them, so that they
/// take at most a twentieth of the time of one processor.
///
/// Not by the clock: after a time in which the thread did not run, because the process was stopped, it would
/// rest for twenty times as long.
pub(crate) fn rest_after(checks: impl FnOnce()) -> Duration {
    let before = sys::processor_time();
    checks();
    sys::processor_time()
        .saturating_sub(before)
        .saturating_mul(20)
}

/// Calls `check` repeatedly, with a backoff, until it has a result. `None` once the deadline has
/// passed.
pub(crate) fn check_until<T, E>(
    deadline: Option<Instant>,
    mut check: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let backoff = Backoff::new();
    loop {
        if let Some(found) = check()? {
            return Ok(Some(found));
        }
        if !backoff.sleep(deadline) {
            return Ok(None);
        }
    }
}

/// A process to wait for, to signal or to end, with the group that it may lead.
pub trait Subject {
    fn pid(&self) -> pid_t;

    fn backend(&self) -> Backend;

    /// Takes the status if the child has exited. `None` while it runs, or while a tracer holds its
    /// zombie. ECHILD: there is no status, now or later. EINVAL: the handle is released.
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>>;

    /// The status, if another wait got it or the kernel has a record of it.
    fn known_status(&mut self) -> Option<ExitStatus>;

    /// Whether the process is a zombie, traced or not, or gone. Reaps nothing.
    fn has_exited(&mut self) -> io::Result<bool>;

    /// ECHILD: it was reaped.
    fn signal(&mut self, signal: c_int) -> nix::Result<()>;

    /// ESRCH: no process is in the group that it leads or has led. ECHILD: it was reaped.
    fn signal_group(&mut self, signal: c_int) -> nix::Result<()>;

    /// Whether the group can be signalled once other code has reaped its leader: by a pidfd, on Linux 6.9
    /// and later.
    fn group_outlives_leader(&mut self) -> bool;

    /// Blocks until it may have exited: the caller checks for that. False once the deadline has passed.
    fn block(&mut self, deadline: Option<Instant>) -> io::Result<bool>;

    /// A descriptor that is readable once it has exited, if there is one that needs no thread.
    fn exit_fd(&mut self) -> Option<ExitFd>;
}

/// Waits for a child and reaps it. `None` once the time has passed.
pub(crate) fn reap(child: &mut impl Subject, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_reap()? {
        return Ok(Some(status));
    }
    let deadline = match timeout {
        Timeout::Now => return Ok(None),
        Timeout::At(deadline) => Some(deadline),
        Timeout::Infinite => None,
    };
    let mut backoff = None;
    while child.block(deadline)? {
        if let Some(status) = child.try_reap()? {
            return Ok(Some(status));
        }
        // A tracer holds the zombie, or it was a trace stop.
        if !backoff.get_or_insert_with(Backoff::new).sleep(deadline) {
            break;
        }
    }
    Ok(None)
}

/// Waits until a process has exited. False once the time has passed.
pub(crate) fn wait_exited(subject: &mut impl Subject, timeout: Timeout) -> io::Result<bool> {
    if subject.has_exited()? {
        return Ok(true);
    }
    let deadline = match timeout {
        Timeout::Now => return Ok(false),
        Timeout::At(deadline) => Some(deadline),
        Timeout::Infinite => None,
    };
    let mut backoff = None;
    while subject.block(deadline)? {
        if subject.has_exited()? {
            return Ok(true);
        }
        // A trace stop, or a thread other than the main thread execs.
        if !backoff.get_or_insert_with(Backoff::new).sleep(deadline) {
            break;
        }
    }
    Ok(false)
}

/// Waits for a child without a timeout.
pub(crate) fn reap_unlimited(child: &mut impl Subject) -> io::Result<ExitStatus> {
    // Without a timeout, `reap` does not return `None`.
    reap(child, Timeout::Infinite)?.ok_or_else(|| Errno::ECHILD.into())
}

/// Takes the status of a child that another wait may take first: then it is that wait's status.
pub(crate) fn try_share(child: &mut (impl Subject + ?Sized)) -> io::Result<Option<ExitStatus>> {
    child.try_reap().or_else(|error| shared(child, error))
}

/// The same, with a wait.
pub(crate) fn share(child: &mut impl Subject, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
    reap(child, timeout).or_else(|error| shared(child, error))
}

fn shared(child: &mut (impl Subject + ?Sized), error: io::Error) -> io::Result<Option<ExitStatus>> {
    child.known_status().map(Some).ok_or(error)
}
