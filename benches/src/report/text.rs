//! The text of the report.

use std::fmt::Write;

use pidwait_benches::{Answer, Answers, Spread};

use super::claims::{Verdict, CLAIMS};
use super::machine;

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo run -p pidwait-benches` from the results of `cargo bench`.

The contenders of a question take turns: each of 20 to 50 rounds measures every contender once, in a
new random order. A time is the median of all rounds. A ratio is the median of the ratios of the rounds.
In brackets are its quartiles: half of the rounds have a ratio in that range. If the range includes 1,
the difference is smaller than the noise, and the table says *same*. If it includes the limit of a claim,
the claim is *undecided*, and no ratio is given.

`raw pidfd`, `raw waitpid` and `raw epoll` make only the system calls that the task needs.

";

const ONE_CHILD: &str = "
## One child

`pidwait pidfd` and `pidwait waitpid` are `PidHandle` with its two backends; `pidwait ChildExt` is the
trait for std's `Child`. A ratio is to the contender in the last column. Crates without such a call are
missing.
";

const QUESTIONS: [(&str, &str, &str); 8] = [
    (
        "wait/zombie",
        "Wait for a child that has exited",
        "A wait by pidfd also closes the descriptor. std makes a single `wait4`. `ChildExt` peeks before \
         and after std's own wait, so that it fails with ECHILD if the child was reaped before.",
    ),
    (
        "wait/zombie_with_timeout",
        "The same with a timeout",
        "",
    ),
    (
        "wait/exit_latency",
        "From the exit until the wait returns",
        "The kernel takes most of this time, to end the process and to wake the waiter.",
    ),
    (
        "wait/exit_latency_with_timeout",
        "The same with a timeout",
        "Without pidfds, pidwait's watcher thread sees the exit first and then wakes the waiter.",
    ),
    (
        "wait/overshoot",
        "How late a timeout of 5 ms is",
        "A timeout of `poll` is late by the thread's timer slack, 50 µs by default. async-process waits \
         with a timerfd, which has no slack. wait-timeout is missing because it returns too early.",
    ),
    (
        "call/try_wait",
        "`try_wait` of a running child",
        "std calls `wait4`, which does less work in the kernel than `waitid`.",
    ),
    (
        "call/signal",
        "Signal a running child",
        "By PID, pidwait checks first that the child is unreaped, so that the PID cannot belong to \
         another process.",
    ),
    (
        "spawn/wait",
        "Spawn `true` and wait for it",
        "",
    ),
];

const MANY_CHILDREN: &str = "
## Many children

In brackets is the ratio to a raw epoll loop. All children exit at once, except for *the first exit*:
there one child has exited, and the others sleep. Each turn runs in a new process. Most of the time of
each exit is spent in the kernel, which ends the children on all CPUs. The CPU time is the cost of waiting.

`pidwait wait_exited` is a `WaitSet` that only reports the exits: the caller reaps each child through
its handle. `pidwait on tokio` and `pidwait on async-io` await a `TokioPidHandle` or an
`AsyncIoPidHandle` for each child, as `tokio` and `async-process` await their own children.
";

const BACKGROUND: &str = "
## Reaping in the background

The caller hands over N children to be reaped in the background, and then all of them exit at once. This
is the CPU time of each child, from handing them over until all are reaped. Each turn runs in a new
process. In brackets is the ratio to a thread with a raw epoll loop. `pidwait pidfd` and `pidwait waitpid`
are `reap_in_background` with the two backends. Without pidfds it checks all children at intervals: one
check finds many exits, but later. tokio and async-process reap the children whose `Child` was dropped.
";

const GROUP: &str = "
## Ending a process group

This is the time from the first signal to a group of N processes until the call returns. The leader is a
child of the caller, and the other members are the leader's children. The ratio is to `kill` with SIGKILL
and `waitpid` for the leader: after that, as after process-wrap's calls, members may still be alive.
pidwait's `terminate` sends SIGTERM, and returns when no member is alive. It reads `/proc` for that, so
its time grows with the number of processes on the system. `raw kill(-pgid), all gone` notices the last
exit by a socket that all members keep open, which works only for members that cooperate.
";

const GROUPS: [(&str, &str); 2] = [
    ("group/terminate/1", "1 process"),
    ("group/terminate/100", "100 processes"),
];

const NUMBERS: [&str; 4] = ["10", "100", "1000", "10000"];
const MANY: [(&str, &str); 3] = [
    ("multi/exit_cpu", "CPU time of each exit"),
    ("multi/exit_time", "Time of each exit"),
    ("multi/first_exit", "Time to find the first exit"),
];

const CAPTURE: &str = "
## Captured output

This is the time from spawning the child until the caller has its status and all output, with a timeout
that is not reached (std has none). The ratio is to std. `and a thread` means that the benchmark adds a
thread for what the crate cannot do. If 64 KiB are kept, duct has neither the timeout nor a limit for
stderr, which is empty.
";

const SIZES: [(&str, &str); 4] = [
    ("capture/1KiB", "1 KiB"),
    ("capture/64MiB", "64 MiB"),
    ("capture/64MiB_capped", "64 MiB, of which 64 KiB are kept"),
    ("capture/4MiB_through_cat", "4 MiB of input through `cat`"),
];

const COST: &str = "
## System calls, threads and memory

The number of system calls as strace counts them, including those of threads that the call starts.
*threads* is the largest number of threads that the process had afterwards.
";

const CALLS: [(&str, &str); 6] = [
    ("cost/syscalls/wait", "wait"),
    ("cost/syscalls/try_wait", "try_wait"),
    ("cost/syscalls/signal", "signal"),
    ("cost/syscalls/timed_wait_zombie", "timed wait, exited"),
    ("cost/syscalls/timed_wait_running", "timed wait, 20 ms"),
    ("cost/threads", "threads"),
];

pub(crate) fn report(answers: &Answers) -> String {
    let mut text = String::from(INTRODUCTION);
    text += &machine::describe();
    text += "\n## Claims\n\n![What pidwait adds](claims.svg)\n";
    claims(&mut text, answers);
    text += ONE_CHILD;
    text += "\n![The time to wait for a child that has exited](single.svg)\n";
    for (question, title, note) in QUESTIONS {
        if let Some(answer) = answers.get(question) {
            one(&mut text, answer, title, note);
        }
    }
    text += MANY_CHILDREN;
    text += "\n![CPU time of each exit](many.svg)\n";
    for (question, title) in MANY {
        many(&mut text, answers, question, title);
    }
    text += BACKGROUND;
    many(
        &mut text,
        answers,
        "background/cpu",
        "CPU time of each child",
    );
    text += GROUP;
    for (question, title) in GROUPS {
        if let Some(answer) = answers.get(question) {
            to_first(&mut text, answer, title);
        }
    }
    text += CAPTURE;
    text += "\n![The time to capture 64 MiB](capture.svg)\n";
    for (question, title) in SIZES {
        if let Some(answer) = answers.get(question) {
            to_first(&mut text, answer, title);
        }
    }
    text += COST;
    costs(&mut text, answers);
    text
}

fn claims(text: &mut String, answers: &Answers) {
    for (title, claims) in CLAIMS {
        let _ = write!(
            text,
            "\n**{title}**\n\n| | at most | measured | |\n|---|---:|---|---|\n"
        );
        for claim in *claims {
            let (measured, verdict) = match claim.verdict(answers) {
                Some(Verdict::Holds(ratio)) => (range(ratio), "holds"),
                Some(Verdict::Fails(ratio)) => (range(ratio), "**does not hold**"),
                Some(Verdict::Undecided) => ("–".to_owned(), "undecided"),
                None => ("–".to_owned(), "not measured"),
            };
            let (name, limit) = (claim.text, claim.at_most);
            let _ = writeln!(text, "| {name} | {limit:.2} | {measured} | {verdict} |");
        }
    }
}

/// A question about one child, a row for each contender.
fn one(text: &mut String, answer: &Answer, title: &str, note: &str) {
    let _ = write!(text, "\n### {title}\n\n");
    if !note.is_empty() {
        let _ = write!(text, "{note}\n\n");
    }
    *text += "| | time | ratio | to |\n|---|---:|---|---|\n";
    for (name, _) in &answer.contenders {
        let Some(time) = answer.spread(name) else {
            continue;
        };
        let to = reference(name).filter(|to| answer.values(to).is_some());
        let ratio = to.and_then(|to| answer.ratio(name, to));
        let (ratio, to) = (ratio.map_or(String::new(), same_or_range), to.unwrap_or(""));
        let _ = writeln!(
            text,
            "| {name} | {} | {ratio} | {to} |",
            duration(time.median)
        );
    }
}

/// What a contender is compared with.
fn reference(contender: &str) -> Option<&'static str> {
    match contender {
        "pidwait pidfd" => Some("raw pidfd"),
        "pidwait waitpid" => Some("raw waitpid"),
        "pidwait ChildExt" => Some("std"),
        raw if raw.starts_with("raw") => None,
        _ => Some("pidwait pidfd"),
    }
}

/// A question with a number of children, a row for each contender.
fn many(text: &mut String, answers: &Answers, question: &str, title: &str) {
    let numbers = NUMBERS.map(|n| (n, answers.get(&format!("{question}/{n}"))));
    let numbers = numbers.into_iter();
    let numbers: Vec<_> = numbers
        .filter_map(|(n, answer)| Some((n, answer?)))
        .collect();
    let Some((_, first)) = numbers.first() else {
        return;
    };
    let _ = write!(text, "\n### {title}\n\n|");
    for (n, _) in &numbers {
        let _ = write!(text, " | {n}");
    }
    let _ = write!(text, " |\n|---{}|\n", "|---:".repeat(numbers.len()));
    for (row, (name, _)) in first.contenders.iter().enumerate() {
        let _ = write!(text, "| {name}");
        for (_, answer) in &numbers {
            let (reference, _) = &answer.contenders[0];
            let time = answer.spread(name).map(|time| duration(time.median));
            let ratio = answer.ratio(name, reference).filter(|_| row > 0);
            let ratio = ratio.map_or(String::new(), |ratio| {
                format!(" ({})", same_or_median(ratio))
            });
            let _ = write!(text, " | {}{ratio}", time.unwrap_or("–".to_owned()));
        }
        *text += " |\n";
    }
}

/// A row for each contender, compared with the first.
fn to_first(text: &mut String, answer: &Answer, title: &str) {
    let _ = write!(
        text,
        "\n### {title}\n\n| | time | ratio |\n|---|---:|---|\n"
    );
    let (reference, _) = &answer.contenders[0];
    for (row, (name, _)) in answer.contenders.iter().enumerate() {
        let time = answer.spread(name).map(|time| duration(time.median));
        let ratio = answer.ratio(name, reference).filter(|_| row > 0);
        let (time, ratio) = (
            time.unwrap_or_default(),
            ratio.map_or(String::new(), same_or_range),
        );
        let _ = writeln!(text, "| {name} | {time} | {ratio} |");
    }
}

fn costs(text: &mut String, answers: &Answers) {
    let count = |question: &str, name: &str| {
        let values = answers.get(question)?.values(name)?;
        values.first().map(|value| format!("{value:.0}"))
    };
    let cell = |question: &str, name: &str| count(question, name).unwrap_or("–".to_owned());
    let names = |question: &str| {
        let contenders = answers.get(question).map(|answer| &answer.contenders);
        let contenders = contenders.into_iter().flatten();
        contenders.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    *text += "\n|";
    for (_, title) in CALLS {
        let _ = write!(text, " | {title}");
    }
    let _ = write!(text, " |\n|---{}|\n", "|---:".repeat(CALLS.len()));
    for name in names("cost/threads") {
        let _ = write!(text, "| {name}");
        for (question, _) in CALLS {
            let _ = write!(text, " | {}", cell(question, &name));
        }
        *text += " |\n";
    }
    *text += "\nPeak memory for each child, in bytes:\n";
    *text += "\n| | of 100 | of 10000 |\n|---|---:|---:|\n";
    for name in names("cost/bytes_each/100") {
        let few = cell("cost/bytes_each/100", &name);
        let many = cell("cost/bytes_each/10000", &name);
        let _ = writeln!(text, "| {name} | {few} | {many} |");
    }
}

// ---- numbers ----

/// Whether the range includes 1, to the two digits that are printed.
fn is_same(ratio: Spread) -> bool {
    ratio.low < 1.005 && ratio.high >= 0.995
}

fn same_or_range(ratio: Spread) -> String {
    if is_same(ratio) {
        "same".to_owned()
    } else {
        range(ratio)
    }
}

fn same_or_median(ratio: Spread) -> String {
    if is_same(ratio) {
        "same".to_owned()
    } else {
        format!("{:.2}", ratio.median)
    }
}

pub(crate) fn range(ratio: Spread) -> String {
    let Spread { low, median, high } = ratio;
    format!("{median:.2} ({low:.2} to {high:.2})")
}

pub(crate) fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 9995.0 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 99_950.0 => format!("{:.1} µs", ns / 1e3),
        ns if ns < 999_500.0 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 9_995_000.0 => format!("{:.2} ms", ns / 1e6),
        ns if ns < 99_950_000.0 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.0} ms", ns / 1e6),
    }
}
