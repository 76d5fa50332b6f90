//! The text of the report.

use std::fmt::Write;

use pidwait_benches::{Answer, Answers, Spread};

use super::claims::{Claim, COUNTS, TIMES};
use super::machine;

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo run -p pidwait-benches` from the results of `cargo bench --all-features`.

The contenders of a question take turns: each round measures every contender once, in a new random
order. A time is the median of all rounds. A ratio is the median of the ratios of the rounds. In
brackets are its quartiles: half of the rounds have a ratio in that range. A claim holds if the whole
range is at or below the limit, and is undecided if the limit is inside of the range.

`pidwait pidfd` and `pidwait waitpid` are `PidHandle` with its two backends, `pidwait ChildExt` is the
trait for std's `Child`. `raw …` makes only the system calls that the task needs.

";

const CLAIMS_BY_COUNT: &str = "
### By system calls

Where the times of one contender vary more than those of two contenders differ, the number of system
calls decides.
";

/// A question about time: its name, its title, the contender that the others are compared with, and
/// what to know about it.
struct Section(&'static str, &'static str, &'static str, &'static str);

const SECTIONS: &[Section] = &[
    Section(
        "wait/exited",
        "Wait for a child that has exited",
        "raw pidfd",
        "A wait by pidfd also closes the descriptor. `ChildExt` peeks before and after std's own wait, so \
         that it fails with ECHILD if other code has reaped the child. wait-timeout and \
         tokio-process-tools have only a wait with a timeout.",
    ),
    Section(
        "wait/latency",
        "From the exit until a wait with a timeout returns",
        "raw pidfd",
        "The kernel takes most of this time, to end the process and to wake the waiter. By PID, a thread \
         of pidwait sees the exit first and wakes the waiter.",
    ),
    Section(
        "wait/late",
        "How late a timeout of 5 ms is",
        "raw pidfd",
        "A timeout of `poll` is late by the thread's timer slack, 50 µs by default. wait-timeout is \
         missing, because it can return too early.",
    ),
    Section(
        "call/try_wait",
        "`try_wait` of a running child",
        "raw pidfd",
        "By PID the call is `waitpid`, which does less work in the kernel than `waitid`.",
    ),
    Section(
        "call/signal",
        "Signal a running child",
        "raw pidfd",
        "By PID, pidwait checks first that the child is unreaped, so that the PID cannot belong to another \
         process.",
    ),
    Section("spawn/wait", "Spawn `true` and wait for it", "std", ""),
    Section(
        "group/end",
        "End a process group of one",
        "raw pidfd",
        "From the first signal until the call returns. `raw …` sends SIGKILL and waits for the leader. \
         tokio-process-tools sends SIGTERM and waits for the leader. pidwait sends SIGTERM, and returns \
         when no member is alive: it lists `/proc` for that, so its time grows with the number of \
         processes.",
    ),
    Section(
        "set/cpu/1000",
        "CPU time for each exit of 1,000 children",
        "raw epoll",
        "All children have exited. This is the CPU time of the process to learn of each exit and to \
         reap. `pidwait on …` awaits an async handle for each child.",
    ),
    Section(
        "set/cpu/10000",
        "CPU time for each exit of 10,000 children",
        "raw epoll",
        "",
    ),
    Section(
        "set/one/1000",
        "Time to find one exit among 1,000 children",
        "raw epoll",
        "",
    ),
    Section(
        "background/cpu/1000",
        "CPU time to reap each of 1,000 children in the background",
        "raw epoll in a thread",
        "The caller hands the children over, and then they exit. `pidwait …` is `reap_in_background`. By \
         PID it checks all children at intervals: one check finds many exits, but later. tokio and \
         async-process reap the children whose `Child` was dropped.",
    ),
    Section(
        "capture/1KiB",
        "Capture 1 KiB of output",
        "std",
        "From spawning the child until the caller has its status and all output, with a timeout that is \
         not reached (std has none). tokio and what is built on it run on a current-thread runtime; \
         tokio-process-tools needs several threads only to terminate on drop.",
    ),
    Section("capture/64MiB", "Capture 64 MiB of output", "std", ""),
    Section(
        "capture/200_at_once",
        "200 captures of 1 KiB at once",
        "std",
        "A call that blocks runs in a thread of its own. The futures run in one thread.",
    ),
    Section(
        "capture/delay",
        "Longest delay of another task during a capture of 64 MiB",
        "tokio",
        "The other task always wants to run, on the thread that captures. In CPU time of that thread: what \
         other processes take from it does not count.",
    ),
];

const COUNTED: &str = "
## Counts

The counts of calls that block are the same on every machine with this kernel and these versions. Those
of futures can differ by a few with the scheduling of the child.

System calls are counted by strace, with those of all threads of the process. Each task runs seven times
and the smallest count is taken: whether the end of a pipe is seen with its last bytes or by one call
more is a matter of scheduling. The group is ended in a PID namespace that has no other processes. *each
exit* is of 100 children that have all exited.

Instructions are those of the program itself, counted by valgrind, for calls by PID.
";

const COLUMNS: [(&str, &str); 11] = [
    ("calls/wait", "wait, exited"),
    ("calls/wait_timeout", "timed wait, exited"),
    ("calls/wait_timeout_5ms", "timed wait, 5 ms"),
    ("calls/try_wait", "`try_wait`"),
    ("calls/signal", "signal"),
    ("calls/spawn_and_wait", "spawn and wait"),
    ("calls/end_group", "end a group"),
    ("calls/exit_of_100", "each exit"),
    ("calls/capture_1KiB", "capture 1 KiB"),
    ("instructions/try_wait", "instructions, `try_wait`"),
    ("instructions/signal", "instructions, signal"),
];

/// All that the report is made of.
pub(crate) fn questions() -> impl Iterator<Item = &'static str> {
    let sections = SECTIONS.iter().map(|Section(question, ..)| *question);
    sections.chain(COLUMNS.iter().map(|(question, _)| *question))
}

pub(crate) fn report(answers: &Answers) -> String {
    let mut text = String::from(INTRODUCTION);
    text += &machine::describe();
    text += "\n## Claims\n\n### By time\n";
    claims(&mut text, answers, TIMES);
    text += CLAIMS_BY_COUNT;
    claims(&mut text, answers, COUNTS);
    text += "\n## Times\n";
    for section in SECTIONS {
        if let Some(answer) = answers.get(section.0) {
            times(&mut text, section, answer);
        }
    }
    text += COUNTED;
    counts(&mut text, answers);
    text
}

fn claims(text: &mut String, answers: &Answers, claims: &[Claim]) {
    *text += "\n| ratio | at most | measured | |\n|---|---:|---|---|\n";
    for claim in claims {
        let (measured, verdict) = match claim.ratio(answers) {
            Some(ratio) if ratio.low == ratio.high => {
                (format!("{:.2}", ratio.median), claim.verdict(ratio))
            }
            Some(ratio) => (range(ratio), claim.verdict(ratio)),
            None => ("–".to_owned(), "not measured"),
        };
        let (name, limit) = (claim.text, claim.at_most);
        let _ = writeln!(text, "| {name} | {limit:.2} | {measured} | {verdict} |");
    }
}

fn times(text: &mut String, section: &Section, answer: &Answer) {
    let Section(question, title, reference, note) = section;
    let _ = write!(text, "\n### {title}\n\n");
    if !note.is_empty() {
        let _ = write!(text, "{note}\n\n");
    }
    let mut charts = super::charts::CHARTS.iter();
    if let Some((file, _, title)) = charts.find(|(_, of, _)| of == question) {
        let _ = write!(text, "![{title}]({file})\n\n");
    }
    let _ = write!(text, "| | time | to {reference} |\n|---|---:|---|\n");
    for (name, _) in &answer.contenders {
        let time = answer.spread(name).map(|time| duration(time.median));
        let ratio = answer.ratio(name, reference).filter(|_| name != reference);
        let (time, ratio) = (
            time.unwrap_or_default(),
            ratio.map(range).unwrap_or_default(),
        );
        let _ = writeln!(text, "| {name} | {time} | {ratio} |");
    }
}

/// A row for each contender that has some count.
fn counts(text: &mut String, answers: &Answers) {
    let mut names: Vec<&str> = Vec::new();
    for (question, _) in COLUMNS {
        let contenders = answers.get(question).map(|answer| &answer.contenders);
        for (name, _) in contenders.into_iter().flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let titles = COLUMNS.map(|(_, title)| title).join(" | ");
    let _ = write!(
        text,
        "\n| | {titles} |\n|---{}|\n",
        "|---:".repeat(COLUMNS.len())
    );
    for name in names {
        let _ = write!(text, "| {name}");
        for (question, _) in COLUMNS {
            let count = answers.get(question).and_then(|answer| answer.spread(name));
            let count = count.map_or("–".to_owned(), |count| {
                let whole = count.median.fract() < 0.05 || count.median > 10.0;
                format!("{:.*}", usize::from(!whole), count.median)
            });
            let _ = write!(text, " | {count}");
        }
        *text += " |\n";
    }
}

// ---- numbers ----

fn range(ratio: Spread) -> String {
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
