//! The wait engine: the one place that has timeouts, backoff and the rule for traced zombies.
//!
//! Every wait for a status is [`reap`], on something that can try to reap, and can block until that
//! may succeed: a handle, or std's `Child`.
//!
//! # Races
//!
//! - **Two waits, one status.** Thread A and thread B block for the same child. By pidfd both block
//!   in a `waitid` that reaps; the kernel gives the status to one of them, and the other fails with
//!   ECHILD. A could return from the kernel and be preempted before it notes the status, while B
//!   tells its caller that the status is known. Hence blocking reaps are counted in the handle's
//!   state, and a wait that fails with ECHILD lets the others finish first.
//! - **Reap beside a blocking peek, by PID.** A blocks in `waitid(P_PID, WNOWAIT)` and is about to
//!   call it again; B reaps; the PID goes to another child, and A waits for that one. Hence
//!   blocking peeks are counted, and B reaps only when none is under way. They end at once, because
//!   B has seen a zombie, and so does each of them.
//! - **Signal beside a reap, by PID.** A peeks and finds the child unreaped; B reaps it; the PID is
//!   reused; A sends its signal to an unrelated process. Hence peek and `kill` are under one lock,
//!   and so is each reap.
//! - **A zombie that a tracer holds.** It is readable by pidfd and cannot be reaped until the tracer
//!   lets go of it. After the event, `reap` retries with a backoff, so it neither spins nor fails.
//! - **A trace stop.** `waitid` may return for the stop of a child that this process traces. It is
//!   no exit: the wait continues, with the same backoff.

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

/// The delays between repeated looks where no event can be waited for: a twentieth of the time
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

    /// Sleeps for the next delay; false, at once, if the deadline has passed.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> bool {
        self.next_delay(deadline).map(sys::sleep).is_some()
    }
}

/// Looks repeatedly, with a backoff, until there is a result; `None` once the deadline has passed.
pub(crate) fn poll_until<T, E>(
    deadline: Option<Instant>,
    mut look: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let backoff = Backoff::new();
    loop {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if !backoff.sleep(deadline) {
            return Ok(None);
        }
    }
}

/// A child to wait for.
pub(crate) trait Waitable {
    /// Reaps the child if that can be done now.
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Reaps the child in one call that blocks, where there is such a call. `None`: there is none,
    /// or it returned for something else than the exit.
    fn reap_blocking(&mut self) -> io::Result<Option<ExitStatus>> {
        self.try_reap()
    }

    /// Blocks until `try_reap` may succeed; false once the deadline has passed.
    fn block_until_waitable(&mut self, deadline: Option<Instant>) -> io::Result<bool>;
}

/// Waits for a child and reaps it; `None` once the time has passed.
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
        // Another wait has reaped the child since. It may not have noted the status yet, and this
        // wait lets it finish first.
        Err(error) if error.raw_os_error() == Some(Errno::ECHILD as i32) => {
            reap(target, Timeout::Poll).and(Err(error))
        }
        sent => sent,
    };
    send(target, first)?;
    // A stopped child takes the first signal only when it continues.
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
