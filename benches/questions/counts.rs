//! What hardly differs between machines: system calls, counted by strace, and instructions of the
//! program itself, counted by valgrind.
//!
//! The tasks are samples that other questions time. Each runs in a process of its own, and what is
//! counted is the second sample: in the first, a crate does what it does once in a process.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pidwait_benches::Answer;

use crate::child::CONTENDERS;
use crate::harness::{Bench, Sample};
use crate::{capture, many, one, raw};

// ---- the clock ----

static COUNTING: AtomicBool = AtomicBool::new(false);

/// The time of a call in nanoseconds; or lets the tools count it, and returns nothing of use.
pub(crate) fn time(mut call: impl FnMut()) -> f64 {
    if COUNTING.load(Ordering::Relaxed) {
        raw::mark();
        count(&mut call);
        raw::mark();
        return 0.0;
    }
    let start = Instant::now();
    call();
    start.elapsed().as_nanos() as f64
}

/// Valgrind finds the call by the name of this function.
#[inline(never)]
fn count(call: &mut dyn FnMut()) {
    call();
}

/// The time of one of many calls.
pub(crate) fn per_call(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 500;
    if COUNTING.load(Ordering::Relaxed) {
        return time(call);
    }
    let all = time(|| {
        for _ in 0..CALLS {
            call();
        }
    });
    all / f64::from(CALLS)
}

// ---- the questions ----

const TASKS: &[(&str, one::Task)] = &[
    ("wait", one::wait),
    ("wait_timeout", one::wait_timeout),
    ("wait_timeout_5ms", one::late),
    ("try_wait", one::try_wait),
    ("signal", one::signal),
    ("spawn_and_wait", one::spawn_and_wait),
    ("end_group", one::end_group),
];

const CAPTURE: &str = "capture_1KiB";
const SET: &str = "exit_of_100";

/// The children of `exit_of_100`. With more of them, the calls for each stay the same.
const CHILDREN: usize = 100;

/// How often the calls are counted. The smallest count is taken: whether a pipe's end is seen with
/// its last bytes, or by one call more, is a matter of scheduling.
const RUNS: usize = 7;

pub(crate) fn ask(bench: &Bench) {
    let runs = if bench.quick { 1 } else { RUNS };
    let names = TASKS.iter().map(|(name, _)| *name).chain([CAPTURE, SET]);
    for task in names {
        put(bench, &format!("calls/{task}"), task, |contender| {
            let counts = (0..runs).filter_map(|_| system_calls(task, contender));
            let least = counts.reduce(f64::min)?;
            Some(if task == SET {
                least / CHILDREN as f64
            } else {
                least
            })
        });
    }
    for task in ["try_wait", "signal"] {
        let question = format!("instructions/{task}");
        put(bench, &question, task, |contender| {
            instructions(task, contender)
        });
    }
}

fn put(bench: &Bench, question: &str, task: &str, count: impl Fn(&str) -> Option<f64>) {
    if !bench.wants(question) {
        return;
    }
    let counts = contenders(task).into_iter();
    let counts = counts.filter_map(|name| Some((name.to_owned(), vec![count(name)?])));
    let answer = Answer {
        question: question.to_owned(),
        contenders: counts.collect(),
    };
    if answer.contenders.is_empty() {
        eprintln!("skipped: {question}: strace, unshare or valgrind does not work here");
    } else {
        bench.record(&answer);
    }
}

fn contenders(task: &str) -> Vec<&'static str> {
    match task {
        CAPTURE => capture::small().map(|(name, _)| name).collect(),
        SET => many::set_names()
            .filter(|name| *name != many::THREADS)
            .collect(),
        _ => CONTENDERS.iter().map(|(name, _)| *name).collect(),
    }
}

fn sample(task: &str, contender: &str) -> Option<Sample<'static>> {
    match task {
        CAPTURE => capture::small()
            .find(|(name, _)| *name == contender)
            .map(|(_, it)| it),
        SET => many::all_exited(contender, CHILDREN),
        _ => {
            let (_, task) = TASKS.iter().find(|(name, _)| *name == task)?;
            let (_, start) = CONTENDERS.iter().find(|(name, _)| *name == contender)?;
            task(*start)
        }
    }
}

/// The first argument that makes this program the process that is counted.
pub(crate) const CALL: &str = "count-call";

/// What this process does: nothing, if the contender lacks this.
pub(crate) fn call(task: &str, contender: &str) {
    if let Some(mut sample) = sample(task, contender) {
        sample();
        COUNTING.store(true, Ordering::Relaxed);
        sample();
    }
}

pub(crate) fn path_of_this_program() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

// ---- the tools ----

/// In a PID namespace of its own: ending a group looks at all processes.
fn system_calls(task: &str, contender: &str) -> Option<f64> {
    let log = env::temp_dir().join(format!("pidwait-bench-{}", std::process::id()));
    let mut strace = Command::new("unshare");
    strace.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
    ]);
    strace.args(["strace", "--follow-forks", "-o"]).arg(&log);
    strace
        .arg(path_of_this_program())
        .args([CALL, task, contender]);
    let succeeded = strace
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success());
    let calls = succeeded.then(|| between_marks(&log)).flatten();
    let _ = fs::remove_file(log);
    calls
}

/// The calls of a process and its threads between the two marks, without those of its children.
fn between_marks(log: &Path) -> Option<f64> {
    let log = fs::read_to_string(log).ok()?;
    let children: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("--- SIGCHLD"))
        .filter_map(|line| line.split_once("si_pid=")?.1.split(',').next())
        .collect();
    let mut parts = log.split("getsid(2147483647");
    let inside = parts.nth(1)?;
    let calls = inside.lines().skip(1).filter(|line| {
        let (pid, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        let is_start = call.starts_with(|it: char| it.is_ascii_lowercase());
        is_start && !children.contains(&pid) && !call.starts_with("restart_syscall")
    });
    Some(calls.count() as f64)
}

/// By PID: valgrind denies `pidfd_open` before 3.24, and `pidfd_send_signal` after.
fn instructions(task: &str, contender: &str) -> Option<f64> {
    if contender.ends_with("pidfd") {
        return None;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg("--toggle-collect=questions::counts::count");
    valgrind
        .arg(path_of_this_program())
        .args([CALL, task, contender]);
    let output = valgrind.output().ok().filter(|it| it.status.success())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, count) = text.rsplit_once("Collected : ")?;
    let count: f64 = count.split_whitespace().next()?.parse().ok()?;
    (count > 0.0).then_some(count)
}
