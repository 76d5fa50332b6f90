//! Writes `benches/REPORT.md` and its charts from what the last `cargo bench` has measured:
//! `cargo bench --bench report`.

#![allow(clippy::print_stdout)] // It says what it did.

mod charts;
mod machine;
mod results;

use std::fmt::Write;
use std::fs;

use results::Results;

const SINGLE: [&str; 8] = [
    "wait, exited",
    "spawn and wait",
    "from exit to return",
    "try_wait, running",
    "signal, running",
    "timed wait, exited",
    "timed wait, from exit to return",
    "timed wait, how late",
];
const CPU_TIME: &str = "all of N, CPU time per exit";
const MANY: [&str; 3] = ["first of N", "all of N, time per exit", CPU_TIME];
const OUTPUT: &str = "output";

const LINES: [&str; 13] = [
    "bare pidfd",
    "bare waitpid",
    "bare ChildExt",
    "pidwait pidfd",
    "pidwait waitpid",
    "pidwait ChildExt",
    "std Child",
    "wait-timeout",
    "shared_child",
    "process_control",
    "subprocess",
    "async-process",
    "tokio",
];
const CROWDS: [&str; 6] = [
    "bare epoll",
    "pidwait WaitSet",
    "bare wait4(-1)",
    "a thread each",
    "tokio",
    "async-process",
];
const NUMBERS: [&str; 4] = ["10", "100", "1000", "10000"];
const OUTPUTS: [&str; 7] = [
    "bare poll and read",
    "pidwait ChildExt",
    "std Child, no limit",
    "process_control",
    "subprocess",
    "async-process",
    "tokio",
];
const SIZES: [(&str, &str); 2] = [("1024", "1 KiB"), ("67108864", "64 MiB")];

const ONE_CHILD: &str = "
## One child

`bare X` makes the system calls that `pidwait X` cannot do without, and nothing else: *to bare* is
what pidwait adds to them. *To the best peer*: the fastest line that is neither bare nor pidwait is
1.

Where pidwait takes longer than the best peer, *to bare* says how much of it is pidwait's own doing.
What the rest is for:

- *wait, exited* and *timed wait, exited*, by descriptor: the `close`, which std's one `wait4` does
  not need. It is the price of a name that never comes to mean another process.
- *wait, exited* and *try_wait*, by pid: these are std's own call. More than that are two locks, for
  others may signal meanwhile, and memory that is shared with them.
- *try_wait*, by descriptor: in the kernel `waitid` does more than `wait4`.
- `ChildExt`, all that takes only microseconds: a descriptor is opened for each call, and one looks
  through it before and after std's own wait, so that whatever was reaped already is ECHILD.
- *signal*, by pid: it looks first whether the child is still there to be signalled.
- *timed wait, from exit to return*, by pid: the exit is seen by a watcher thread, which has to run
  first. Without pidfds peers set a SIGCHLD handler, or start a thread too.
- *how late*: by what the thread's timer slack allows, 50 µs unless the program says otherwise,
  wherever a limit is one of `poll`. That of async-process is a timerfd's, which knows no slack, and
  is a descriptor more for each wait.
";

const N_CHILDREN: &str = "
## N children

In brackets: to a bare epoll loop. Each line has a process of its own.

The time per exit is mostly that of the children's own ending, on all CPUs. On a machine that others
use too it differs by half from one minute to the next, and so between lines that are minutes apart;
what waiting costs is the CPU time.
";

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // A test that it runs.
    }
    let results = Results::read();
    if let Some(missing) = missing(&results) {
        println!("No report is written: {missing}. Run `cargo bench`, and then this again.");
        return;
    }
    fs::write("benches/REPORT.md", report(&results)).expect("the report is written");
    charts::single(&results).expect("a chart is written");
    charts::many(&results).expect("a chart is written");
    println!("benches/REPORT.md, single.svg and many.svg are written.");
}

/// What keeps the results from being those of one whole run. Cargo runs the benches by name, and
/// the questions above stand in the order in which they are asked.
fn missing(results: &Results) -> Option<String> {
    let mut last = None;
    for question in MANY.iter().chain([&OUTPUT]).chain(&SINGLE) {
        let time = results.time(question);
        if time.is_none() {
            return Some(format!("there are no results for \"{question}\""));
        }
        if time < last {
            return Some(format!("\"{question}\" was not answered in the last run"));
        }
        last = time;
    }
    None
}

fn report(results: &Results) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    text += "Written by `cargo bench --bench report` from one run of `cargo bench`. ";
    text += "The numbers are medians.\nA dash: that crate cannot do it.\n\n";
    text += &machine::describe();
    text += "\n![One child](single.svg)\n\n![N children](many.svg)\n";
    text += ONE_CHILD;
    for question in SINGLE {
        single(&mut text, results, question);
    }
    text += N_CHILDREN;
    for question in MANY {
        let median = |line: &str, of: &str| results.median(question, line, of);
        let columns = NUMBERS.map(|n| (n, n));
        table(&mut text, question, &CROWDS, &columns, median);
    }
    text +=
        "\n## Output\n\nIn brackets: to a bare loop of poll and read. From starting the child.\n";
    let median = |line: &str, of: &str| results.median(OUTPUT, line, of);
    table(
        &mut text,
        "A child's output, with a limit",
        &OUTPUTS,
        &SIZES,
        median,
    );
    if let Some(costs) = &results.costs {
        cost(&mut text, costs);
    }
    text
}

/// One question about one child, a row for each line.
fn single(text: &mut String, results: &Results, question: &str) {
    let median = |line: &str| results.median(question, line, "");
    let is_peer = |line: &&&str| !line.starts_with("bare") && !line.starts_with("pidwait");
    let peers = LINES.iter().filter(is_peer).filter_map(|line| median(line));
    let best = peers.min_by(f64::total_cmp);
    let _ = write!(text, "\n### {question}\n\n");
    *text += "| | median | to bare | to the best peer |\n|---|---:|---:|---:|\n";
    for line in LINES {
        let bare = line
            .strip_prefix("pidwait ")
            .map(|way| format!("bare {way}"));
        let bare = bare.and_then(|bare| median(&bare));
        let peer = best.filter(|_| !line.starts_with("bare"));
        let time = median(line);
        let cells = [time.map(duration), ratio(time, bare), ratio(time, peer)];
        let [time, to_bare, to_best] = cells.map(|cell| cell.unwrap_or("–".to_owned()));
        let _ = writeln!(text, "| {line} | {time} | {to_bare} | {to_best} |");
    }
}

/// A question with columns, and the ratio to the first line in brackets.
fn table(
    text: &mut String,
    title: &str,
    lines: &[&str],
    columns: &[(&str, &str)],
    median: impl Fn(&str, &str) -> Option<f64>,
) {
    let _ = write!(text, "\n### {title}\n\n| ");
    for (_, column) in columns {
        let _ = write!(text, "| {column} ");
    }
    let _ = write!(text, "|\n|---{}|\n", "|---:".repeat(columns.len()));
    for line in lines {
        let _ = write!(text, "| {line} ");
        for (of, _) in columns {
            let time = median(line, of);
            let cell = match (time.map(duration), ratio(time, median(lines[0], of))) {
                (Some(time), Some(ratio)) => format!("{time} ({ratio})"),
                _ => "–".to_owned(),
            };
            let _ = write!(text, "| {cell} ");
        }
        *text += "|\n";
    }
}

/// The tables of `benches/syscalls.sh`.
fn cost(text: &mut String, costs: &str) {
    *text += "\n## System calls, threads and memory\n\n";
    *text +=
        "Counted by `benches/syscalls.sh`. Calls per operation, `+N` where it starts N threads; ";
    *text +=
        "*threads*: of the\nprogram afterwards, at most. *Bytes each of* N children: the peak ";
    *text += "of what is resident.\n";
    for table in costs.split("\n\n") {
        *text += "\n";
        for (row, line) in table.lines().enumerate() {
            let cells: Vec<_> = line.split('\t').collect();
            let _ = writeln!(text, "| {} |", cells.join(" | ").replace(" - ", " – "));
            if row == 0 {
                let _ = writeln!(text, "|---{}|", "|---:".repeat(cells.len() - 1));
            }
        }
    }
}

fn ratio(time: Option<f64>, to: Option<f64>) -> Option<String> {
    Some(format!("{:.2}", time? / to?))
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}
