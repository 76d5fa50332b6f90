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

pub(crate) enum Verdict {
    Holds(Spread),
    Fails(Spread),
    /// The range crosses the limit. The ratio is not printed, because it would say nothing.
    Undecided,
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

    pub(crate) fn verdict(&self, answers: &Answers) -> Option<Verdict> {
        let answer = answers.get(self.question)?;
        let ratio = answer.ratio(self.contender, self.reference)?;
        Some(match ratio {
            ratio if ratio.crosses(self.at_most) => Verdict::Undecided,
            ratio if ratio.high <= self.at_most => Verdict::Holds(ratio),
            ratio => Verdict::Fails(ratio),
        })
    }
}

const PIDFD: &str = "pidwait pidfd";
const WAITPID: &str = "pidwait waitpid";
const EXT: &str = "pidwait ChildExt";
const SET: &str = "pidwait WaitSet";
const EPOLL: &str = "raw epoll";

/// The titles of the groups and their claims.
#[rustfmt::skip] // One line for each.
pub(crate) const CLAIMS: &[(&str, &[Claim])] = &[
    ("Handle to raw system call", &[
        Claim::new("`try_wait` by pidfd", "call/try_wait", PIDFD, "raw pidfd", 1.1),
        Claim::new("`signal` by pidfd", "call/signal", PIDFD, "raw pidfd", 1.1),
        Claim::new("`try_wait` by PID", "call/try_wait", WAITPID, "raw waitpid", 1.1),
    ]),
    ("`ChildExt` to std's `Child`", &[
        Claim::new("`pidfd_try_wait`, running child", "call/try_wait", EXT, "std", 3.0),
        Claim::new("`pidfd_wait`, exited child", "wait/zombie", EXT, "std", 1.8),
    ]),
    ("Spawn and wait, to std", &[
        Claim::new("`PidHandle`", "spawn/wait", PIDFD, "std", 1.05),
        Claim::new("`ChildExt`", "spawn/wait", EXT, "std", 1.05),
    ]),
    ("CPU per exit, `WaitSet` to raw epoll", &[
        Claim::new("10 children", "multi/exit_cpu/10", SET, EPOLL, 1.4),
        Claim::new("100 children", "multi/exit_cpu/100", SET, EPOLL, 1.15),
        Claim::new("1,000 children", "multi/exit_cpu/1000", SET, EPOLL, 1.15),
        Claim::new("10,000 children", "multi/exit_cpu/10000", SET, EPOLL, 1.15),
    ]),
    ("CPU per exit of 1,000, other waits", &[
        Claim::new("`WaitSet`, to a thread each", "multi/exit_cpu/1000", SET, "a thread each", 1.0),
        Claim::new("`wait_exited`, to raw epoll", "multi/exit_cpu/1000", "pidwait wait_exited", EPOLL, 1.3),
        Claim::new("on tokio, to tokio", "multi/exit_cpu/1000", "pidwait on tokio", "tokio", 1.1),
    ]),
    ("Reap 1,000 in the background, CPU, to", &[
        Claim::new("raw epoll", "background/cpu/1000", PIDFD, "raw epoll in a thread", 1.15),
        Claim::new("a thread each", "background/cpu/1000", PIDFD, "a thread each", 1.0),
    ]),
    ("CPU per exit of 10,000, `WaitSet` to", &[
        Claim::new("tokio", "multi/exit_cpu/10000", SET, "tokio", 1.0),
        Claim::new("async-process", "multi/exit_cpu/10000", SET, "async-process", 1.0),
    ]),
    ("Find one exit of 10,000, `WaitSet` to", &[
        Claim::new("tokio", "multi/first_exit/10000", SET, "tokio", 1.0),
        Claim::new("async-process", "multi/first_exit/10000", SET, "async-process", 1.0),
    ]),
    ("Find one exit of 1,000, `WaitSet` to", &[
        Claim::new("`wait4(-1)`", "multi/first_exit/1000", SET, "raw wait4(-1)", 1.0),
    ]),
    ("Captured output, to std", &[
        Claim::new("1 KiB", "capture/1KiB", "pidwait", "std", 1.1),
        Claim::new("64 MiB", "capture/64MiB", "pidwait", "std", 1.05),
        Claim::new("64 MiB, 64 KiB kept", "capture/64MiB_capped", "pidwait", "std and a thread", 1.1),
    ]),
];
