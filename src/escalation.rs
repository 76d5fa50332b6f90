// Tests: below, and tests/it/terminate.rs

//! `Escalation`: the signals that end a process, in order; and the state machine that says when each is
//! due. It makes no system call.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};

use crate::sys;

/// The signals that end a process, in order, each with its grace period. SIGKILL is always the last.
///
/// Every call that ends something takes one: [`PidHandle::terminate`](crate::PidHandle::terminate),
/// [`ProcessGroup::terminate`](crate::ProcessGroup::terminate),
/// [`Capture::terminate_on_timeout`](crate::Capture::terminate_on_timeout) and others. They accept a
/// [`Duration`] as well, which is SIGTERM with that grace period.
///
/// In each step the call sends the signal, and then SIGCONT, so that a stopped process can handle it.
/// SIGCONT is left out if the signal is SIGKILL, SIGCONT, or one that stops. Then the call waits until
/// the target has ended, for at most the grace period. Once the target has ended, nothing more is sent.
/// A grace period that the clock cannot represent, such as [`Duration::MAX`], is no limit.
///
/// A child starts with the signal mask of the thread that spawned it. If that blocks SIGTERM, the child
/// ignores the signal until the grace period is over.
///
/// # Errors
///
/// Signals are checked by the calls that take an escalation. They fail with EINVAL, before anything is
/// sent, if a step has signal 0 or one that does not exist.
///
/// # Examples
///
/// A database is asked to shut down, then told to; it is killed after 15 seconds:
///
/// ```
/// use nix::libc::{SIGINT, SIGTERM};
/// use pidwait::{Escalation, PidHandle};
/// use std::os::unix::process::ExitStatusExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// let shut_down = Escalation::new(SIGTERM, Duration::from_secs(10))
///     .then(SIGINT, Duration::from_secs(5));
/// let server = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// assert_eq!(server.terminate(shut_down)?.signal(), Some(SIGTERM));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it does nothing until a call takes it"]
pub struct Escalation {
    wait_first: Duration,
    steps: Vec<Step>,
    kill_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    signal: c_int,
    grace: Duration,
}

impl Escalation {
    /// Sends `signal`, waits for at most `grace`, then sends SIGKILL.
    ///
    /// # Examples
    ///
    /// ```
    /// use nix::libc::SIGINT;
    /// use pidwait::Escalation;
    /// use std::time::Duration;
    ///
    /// let interrupt = Escalation::new(SIGINT, Duration::from_secs(2));
    /// assert_eq!(interrupt, Escalation::kill().then(SIGINT, Duration::from_secs(2)));
    /// ```
    pub fn new(signal: c_int, grace: Duration) -> Self {
        Self::kill().then(signal, grace)
    }

    /// Sends SIGKILL at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Escalation, PidHandle};
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// assert_eq!(child.terminate(Escalation::kill())?.signal(), Some(9));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill() -> Self {
        Self {
            wait_first: Duration::ZERO,
            steps: Vec::new(),
            kill_timeout: Duration::MAX,
        }
    }

    /// Adds a step before SIGKILL: sends `signal`, and waits for at most `grace`.
    ///
    /// # Examples
    ///
    /// See [`Escalation`].
    pub fn then(mut self, signal: c_int, grace: Duration) -> Self {
        self.steps.push(Step { signal, grace });
        self
    }

    /// Waits for at most `grace` before the first signal.
    ///
    /// For a process that ends by itself, because its input was closed, for example. A second call
    /// replaces the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Escalation, PidHandle};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let mut filter = PidHandle::spawn(Command::new("cat").stdin(Stdio::piped()))?;
    /// drop(filter.stdin.take());
    /// let end = Escalation::kill().wait_first(Duration::from_secs(5));
    /// assert!(filter.handle.terminate(end)?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_first(mut self, grace: Duration) -> Self {
        self.wait_first = grace;
        self
    }

    /// Sets how long to wait after SIGKILL. Without this the wait has no limit.
    ///
    /// SIGKILL does not end a process that is in an uninterruptible sleep, in a frozen cgroup, or, until
    /// its tracer reaps it, traced. Once the time has passed, the call fails with
    /// [`TimedOut`](std::io::ErrorKind::TimedOut). The process is not reaped and the handle stays live,
    /// so the caller can wait again, or call
    /// [`reap_in_background`](crate::PidHandle::reap_in_background).
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Escalation;
    /// use std::time::Duration;
    ///
    /// let end = Escalation::from(Duration::from_secs(5)).kill_timeout(Duration::from_secs(1));
    /// # let _ = end;
    /// ```
    pub fn kill_timeout(mut self, timeout: Duration) -> Self {
        self.kill_timeout = timeout;
        self
    }

    /// The same, but with this limit on the wait after SIGKILL if it has a longer one or none.
    pub(crate) fn kill_within(mut self, longest: Duration) -> Self {
        self.kill_timeout = self.kill_timeout.min(longest);
        self
    }

    /// EINVAL: a step has signal 0, or one that does not exist.
    pub(crate) fn check(&self) -> nix::Result<()> {
        let is_valid = |step: &Step| step.signal != 0 && sys::is_signal(step.signal);
        if self.steps.iter().all(is_valid) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
}

impl From<Duration> for Escalation {
    /// SIGTERM with that grace period, then SIGKILL.
    fn from(grace: Duration) -> Self {
        Self::new(SIGTERM, grace)
    }
}

impl From<&Escalation> for Escalation {
    fn from(escalation: &Escalation) -> Self {
        escalation.clone()
    }
}

/// Whether SIGCONT follows a signal, so that a stopped process can handle it.
pub(crate) fn is_followed_by_sigcont(signal: c_int) -> bool {
    !matches!(
        signal,
        SIGKILL | SIGCONT | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU
    )
}

/// How far an escalation has come.
#[derive(Debug)]
pub(crate) struct Progress {
    escalation: Escalation,
    /// The steps whose signal was due.
    begun: usize,
    /// When SIGKILL was first due.
    killed: Option<Instant>,
    /// When the next step is due. `None`: never.
    until: Option<Instant>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before [`Progress::until`].
    Nothing,
    /// This signal. SIGKILL can be due more than once.
    Signal(c_int),
    /// The time after SIGKILL has passed.
    GiveUp,
}

impl Progress {
    /// SIGKILL is due again after this time: a process can join a group after a signal was sent to it.
    const REPEAT: Duration = Duration::from_millis(50);

    pub(crate) fn new(escalation: Escalation, now: Instant) -> Self {
        Self {
            until: now.checked_add(escalation.wait_first),
            escalation,
            begun: 0,
            killed: None,
        }
    }

    /// The next thing that is due. The caller does it, and asks again.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if self.until.map_or(true, |until| now < until) {
            return Due::Nothing;
        }
        if let Some(step) = self.escalation.steps.get(self.begun) {
            self.begun += 1;
            self.until = now.checked_add(step.grace);
            return Due::Signal(step.signal);
        }
        let is_first = self.killed.is_none();
        let killed = *self.killed.get_or_insert(now);
        let give_up = killed.checked_add(self.escalation.kill_timeout);
        if !is_first && give_up.is_some_and(|at| at <= now) {
            return Due::GiveUp;
        }
        let repeat = now.checked_add(Self::REPEAT);
        self.until = crate::engine::earlier(repeat, give_up);
        Due::Signal(SIGKILL)
    }

    /// Until when there is nothing to do. `None`: there is no limit.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// When SIGKILL was first due.
    pub(crate) fn killed(&self) -> Option<Instant> {
        self.killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{SIGINT, SIGUSR1};

    const SECOND: Duration = Duration::from_secs(1);

    /// What becomes due, and when, if the process never ends.
    fn run(escalation: Escalation, for_long: Duration) -> Vec<(Duration, Due)> {
        let start = Instant::now();
        let mut progress = Progress::new(escalation, start);
        let (mut now, mut all) = (start, Vec::new());
        while now - start <= for_long {
            match progress.due(now) {
                Due::Nothing => match progress.until() {
                    Some(until) => now = until,
                    None => break,
                },
                due => {
                    all.push((now - start, due));
                    if due == Due::GiveUp {
                        break;
                    }
                }
            }
        }
        all
    }

    #[test]
    fn each_step_is_due_after_the_grace_of_the_one_before() {
        let escalation = Escalation::new(SIGINT, SECOND)
            .then(SIGTERM, 2 * SECOND)
            .wait_first(SECOND);
        let expected = [
            (SECOND, Due::Signal(SIGINT)),
            (2 * SECOND, Due::Signal(SIGTERM)),
            (4 * SECOND, Due::Signal(SIGKILL)),
        ];
        assert_eq!(run(escalation, 4 * SECOND), expected);
    }

    #[test]
    fn sigkill_is_repeated_until_the_kill_timeout() {
        let escalation = Escalation::kill().kill_timeout(Duration::from_millis(120));
        let at = Duration::from_millis;
        let kill = Due::Signal(SIGKILL);
        let expected = [
            (at(0), kill),
            (at(50), kill),
            (at(100), kill),
            (at(120), Due::GiveUp),
        ];
        assert_eq!(run(escalation, SECOND), expected);
    }

    #[test]
    fn a_kill_timeout_of_zero_still_kills() {
        let expected = [
            (Duration::ZERO, Due::Signal(SIGKILL)),
            (Duration::ZERO, Due::GiveUp),
        ];
        let escalation = Escalation::kill().kill_timeout(Duration::ZERO);
        assert_eq!(run(escalation, SECOND), expected);
    }

    #[test]
    fn a_grace_that_the_clock_cannot_represent_is_no_limit() {
        let escalation = Escalation::from(Duration::MAX);
        let expected = [(Duration::ZERO, Due::Signal(SIGTERM))];
        assert_eq!(run(escalation, SECOND), expected);
    }

    #[test]
    fn kill_with_a_step_equals_new() {
        let grace = Duration::from_secs(2);
        assert_eq!(
            Escalation::kill().then(SIGUSR1, grace),
            Escalation::new(SIGUSR1, grace)
        );
        assert_eq!(
            Escalation::from(grace),
            Escalation::from(&Escalation::new(SIGTERM, grace))
        );
    }

    #[test]
    fn signal_zero_and_unknown_signals_are_invalid() {
        for signal in [0, -1, 1000] {
            let escalation = Escalation::new(SIGTERM, SECOND).then(signal, SECOND);
            assert_eq!(escalation.check(), Err(Errno::EINVAL));
        }
        assert_eq!(Escalation::kill().check(), Ok(()));
    }

    #[test]
    fn sigcont_does_not_follow_a_stop_or_a_kill() {
        for signal in [SIGKILL, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU] {
            assert!(!is_followed_by_sigcont(signal));
        }
        assert!(is_followed_by_sigcont(SIGTERM));
    }
}
