//! What the report claims, and whether the results show it.

use pidwait_benches::{Answers, Spread};

/// A ratio of two contenders of one question that is at most some limit.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) question: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) reference: &'static str,
    pub(crate) at_most: f64,
}

impl Claim {
    const fn new(
        text: &'static str,
        question: &'static str,
        contender: &'static str,
        reference: &'static str,
        at_most: f64,
    ) -> Self {
        Self {
            text,
            question,
            contender,
            reference,
            at_most,
        }
    }

    /// The ratio, if it was measured.
    pub(crate) fn ratio(&self, answers: &Answers) -> Option<Spread> {
        let answer = answers.get(self.question)?;
        answer.ratio(self.contender, self.reference)
    }

    pub(crate) fn verdict(&self, ratio: Spread) -> &'static str {
        match ratio {
            _ if ratio.high <= self.at_most => "holds",
            _ if ratio.low > self.at_most => "**does not hold**",
            _ => "undecided",
        }
    }
}

const PIDFD: &str = "pidwait pidfd";
const WAITPID: &str = "pidwait waitpid";
const EXT: &str = "pidwait ChildExt";
const SET: &str = "pidwait WaitSet";
const TOKIO: &str = "pidwait on tokio";
const ASYNC_IO: &str = "pidwait on async-io";

/// By time.
#[rustfmt::skip] // One line for each.
pub(crate) const TIMES: &[Claim] = &[
    Claim::new("`try_wait` by pidfd, to the bare `waitid`", "call/try_wait", PIDFD, "raw pidfd", 1.10),
    Claim::new("`try_wait` by PID, to the bare `waitpid`", "call/try_wait", WAITPID, "raw waitpid", 1.10),
    Claim::new("`pidfd_try_wait`, to std's `try_wait`", "call/try_wait", EXT, "std", 2.30),
    Claim::new("`signal` by pidfd, to the bare call", "call/signal", PIDFD, "raw pidfd", 1.10),
    Claim::new("`pidfd_wait` of an exited child, to std's `wait`", "wait/exited", EXT, "std", 1.70),
    Claim::new("end a group of one by pidfd, to a bare kill and wait", "group/end", PIDFD, "raw pidfd", 2.50),
    Claim::new("end a group of one by PID, to a bare kill and wait", "group/end", WAITPID, "raw waitpid", 4.00),
    Claim::new("CPU per exit of 10,000, `WaitSet` to tokio", "set/cpu/10000", SET, "tokio", 0.80),
    Claim::new("CPU per exit of 1,000, `WaitSet` to a thread each", "set/cpu/1000", SET, "std, a thread each", 0.20),
    Claim::new("CPU per exit of 1,000, pidwait on tokio to tokio", "set/cpu/1000", TOKIO, "tokio", 1.10),
    Claim::new("find one exit of 1,000, `WaitSet` to tokio", "set/one/1000", SET, "tokio", 0.75),
    Claim::new("reap 1,000 in the background, to a thread each", "background/cpu/1000", PIDFD, "std, a thread each", 0.20),
    Claim::new("capture 1 KiB, to std", "capture/1KiB", "pidwait", "std", 1.10),
    Claim::new("capture 1 KiB, pidwait on tokio to tokio", "capture/1KiB", TOKIO, "tokio", 1.10),
    Claim::new("capture 64 MiB, to std", "capture/64MiB", "pidwait", "std", 1.25),
    Claim::new("capture 64 MiB, pidwait on tokio to tokio", "capture/64MiB", TOKIO, "tokio", 1.10),
    Claim::new("200 captures at once, pidwait on tokio to tokio", "capture/200_at_once", TOKIO, "tokio", 1.10),
    Claim::new("delay of another task, pidwait on tokio to tokio", "capture/delay", TOKIO, "tokio", 1.40),
    Claim::new("delay of another task, pidwait on async-io to async-process", "capture/delay", ASYNC_IO, "async-process", 0.03),
];

/// By counts of system calls.
#[rustfmt::skip] // One line for each.
pub(crate) const COUNTS: &[Claim] = &[
    Claim::new("wait for an exited child by pidfd, to the bare calls", "calls/wait", PIDFD, "raw pidfd", 1.0),
    Claim::new("wait for an exited child by PID, to the bare call", "calls/wait", WAITPID, "raw waitpid", 1.0),
    Claim::new("`signal` by PID, to the bare calls", "calls/signal", WAITPID, "raw waitpid", 1.0),
    Claim::new("spawn and wait by pidfd, to the bare calls", "calls/spawn_and_wait", PIDFD, "raw pidfd", 1.5),
    Claim::new("each exit of a `WaitSet`, to the bare calls", "calls/exit_of_100", SET, "raw epoll", 1.5),
    Claim::new("each exit of a `WaitSet`, to tokio", "calls/exit_of_100", SET, "tokio", 1.0),
    Claim::new("capture 1 KiB, to std", "calls/capture_1KiB", "pidwait", "std", 1.05),
    Claim::new("capture 1 KiB, pidwait on tokio to tokio", "calls/capture_1KiB", TOKIO, "tokio", 1.10),
    Claim::new("capture 1 KiB, pidwait on async-io to async-process", "calls/capture_1KiB", ASYNC_IO, "async-process", 1.0),
];
