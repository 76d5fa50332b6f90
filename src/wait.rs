// Tests: tests/it/timeout.rs, tests/it/wait.rs, tests/it/storm.rs, tests/idle.rs

//! The wait engine: the one place for timeouts, backoff and the rule for traced zombies.
//!
//! Every wait for a status is [`reap`] of a [`Waitable`]: a handle, or std's `Child`.
//!
//! # Races
//!
//! - **Two waits, one status.** Thread A and thread B block for the same child. By pidfd both block
//!   in a `waitid` that reaps. The kernel gives the status to A, and B fails with ECHILD. A can be
//!   preempted before it stores the status, while B's caller already asks for it. So blocking reaps
//!   are counted in the handle's state, and a wait that fails with ECHILD lets the others finish
//!   first.
//! - **Reap during a blocking peek, by PID.** A is about to block in `waitid(P_PID, WNOWAIT)`; B
//!   reaps; the PID goes to another child, and A waits for that one. So blocking peeks are counted,
//!   and B reaps only when none is in flight. B does not wait long: it has seen a zombie, and so
//!   each blocking peek returns.
//! - **Signal during a reap, by PID.** A peeks and finds the child unreaped; B reaps it; the PID is
//!   reused; A sends its signal to an unrelated process. So a peek and its `kill` run under one lock,
//!   and so does each reap.
//! - **A zombie that a tracer holds.** Its pidfd is readable, but it cannot be reaped until the tracer
//!   releases it. After the event, `reap` retries with a backoff, so it neither spins nor fails.
//! - **A trace stop.** `waitid` may return for the stop of a child that this process traces. It is
//!   not an exit: the wait continues, with the same backoff.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, SIGCONT, SIGKILL, SIGTERM};

use crate::sys;

/// How long a wait may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    Poll,
    At(Instant),
    Infinite,
}

impl Timeout {
    /// A timeout that the clock cannot represent is infinite.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Timeout::Poll;
        }
        sys::now()
            .checked_add(timeout)
            .map_or(Timeout::Infinite, Timeout::At)
    }

    /// A deadline in the past is one try, which needs no descriptor and no watcher thread.
    pub(crate) fn until(deadline: Instant) -> Self {
        match deadline <= sys::now() {
            true => Timeout::Poll,
            false => Timeout::At(deadline),
        }
    }

    /// The deadline, as `poll` takes it: `None` is never.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Timeout::Poll => Some(sys::now()),
            Timeout::At(deadline) => Some(deadline),
            Timeout::Infinite => None,
        }
    }
}

/// The delays between repeated checks, where there is no event to wait for: a twentieth of the time
/// waited so far, at least 1 ms and at most 50 ms.
#[derive(Debug)]
pub(crate) struct Backoff {
    start: Instant,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(50);

    pub(crate) fn new() -> Self {
        Self { start: sys::now() }
    }

    /// The next delay, which ends by the deadline; `None` once that has passed.
    pub(crate) fn next_delay(&self, deadline: Option<Instant>) -> Option<Duration> {
        let now = sys::now();
        let waited = now.saturating_duration_since(self.start);
        let delay = (waited / 20).clamp(Self::SHORTEST, Self::LONGEST);
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

/// Calls `check` repeatedly, with a backoff, until it has a result. `None` once the deadline has
/// passed.
pub(crate) fn poll_until<T, E>(
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

/// A child to wait for.
pub(crate) trait Waitable {
    /// Reaps the child if that is possible now.
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Reaps the child in one call that blocks, if there is such a call. `None`: there is none, or
    /// it returned for something other than the exit.
    fn reap_blocking(&mut self) -> io::Result<Option<ExitStatus>> {
        self.try_reap()
    }

    /// Blocks until `try_reap` may succeed. False once the deadline has passed.
    fn block_until_waitable(&mut self, deadline: Option<Instant>) -> io::Result<bool>;
}

/// Waits for a child and reaps it. `None` once the time has passed.
pub(crate) fn reap(child: &mut impl Waitable, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
    let (first, deadline) = match timeout {
        Timeout::Poll => return child.try_reap(),
        Timeout::At(deadline) => (child.try_reap()?, Some(deadline)),
        Timeout::Infinite => (child.reap_blocking()?, None),
    };
    if first.is_some() {
        return Ok(first);
    }
    let mut backoff = None;
    loop {
        if !child.block_until_waitable(deadline)? {
            return Ok(None);
        }
        if let Some(status) = child.try_reap()? {
            return Ok(Some(status));
        }
        // A tracer holds the zombie, or it was a trace stop.
        if !backoff.get_or_insert_with(Backoff::new).sleep(deadline) {
            return Ok(None);
        }
    }
}

/// Waits for a child without a timeout.
pub(crate) fn reap_unlimited(child: &mut impl Waitable) -> io::Result<ExitStatus> {
    // Without a timeout, `reap` does not return `None`.
    reap(child, Timeout::Infinite)?.ok_or_else(|| Errno::ECHILD.into())
}

/// The steps of `terminate`, for anything that can be signalled and reaped.
pub(crate) fn terminate<T>(
    target: &mut T,
    first: c_int,
    grace: Duration,
    signal: impl Fn(&T, c_int) -> io::Result<()>,
    reap: impl Fn(&mut T, Timeout) -> io::Result<Option<ExitStatus>>,
) -> io::Result<ExitStatus> {
    if let Some(status) = reap(target, Timeout::Poll)? {
        return Ok(status);
    }
    let send = |target: &mut T, number| match signal(target, number) {
        // Another wait has reaped the child since. It may not have stored the status yet: this poll
        // lets it finish first.
        Err(error) if is_echild(&error) => reap(target, Timeout::Poll).and(Err(error)),
        sent => sent,
    };
    send(target, first)?;
    // A stopped child handles the first signal only when it continues.
    send(target, SIGCONT)?;
    if let Some(status) = reap(target, Timeout::after(grace))? {
        return Ok(status);
    }
    send(target, SIGKILL)?;
    // Without a timeout, `reap` does not return `None`.
    reap(target, Timeout::Infinite)?.ok_or_else(|| Errno::ECHILD.into())
}

/// The signal that `terminate` sends first.
pub(crate) const FIRST_SIGNAL: c_int = SIGTERM;

/// Returns whether an error is ECHILD: there is no status to wait for, now or later.
///
/// A call fails with ECHILD if the process was reaped, by an earlier wait or by other code; if its
/// status was thrown away because SIGCHLD is ignored; if it is not a child of this process, even if
/// it runs; or if there is no such process.
///
/// # Examples
///
/// ```
/// # use pidwait::PidHandle;
/// let missing = PidHandle::open(i32::MAX as u32)?;
/// assert!(pidwait::is_echild(&missing.wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_echild(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ECHILD as i32)
}

/// Whether an error of a wait through a handle is final: the handle is done or released, or the process
/// is a non-child.
pub(crate) fn is_final(error: &io::Error) -> bool {
    is_echild(error) || error.raw_os_error() == Some(Errno::EINVAL as i32)
}
