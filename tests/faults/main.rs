//! One call of a libc function fails, at any place of a flow. Each flow must then return that error or the
//! right result; no status is lost, and no descriptor or thread is left.
//!
//! Every run is a process of its own. By default the test takes a random sample.
//! `PIDWAIT_FAULTS=all cargo test --all-features --test faults` takes all, PIDWAIT_FAULTS=1000 a larger
//! sample, and PIDWAIT_FAULTS_SEED repeats a sample, as far as a flow makes the same calls again.
//!
//! Not failed: calls of which std or a runtime survives no error (`is_possible` says which), memory, clocks,
//! and async-io's own system calls, which do not go through libc.

#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../stress/random.rs"]
mod random;

mod flows;
mod libc;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use common::isolated::{current_part, try_isolated};
use common::{
    backends, has_no_children, open_descriptors, reap_externally, state_of, thread_count,
};
use flows::FLOWS;
use libc::Fault;
use nix::libc::{EACCES, EAGAIN, EINTR, EMFILE, ENOMEM, ENOSYS, EPERM};
use pidwait::Backend;
use random::Random;

const TEST: &str = "one_failed_call_loses_and_leaks_nothing";
const ERRNOS: [i32; 7] = [EINTR, EMFILE, ENOMEM, EAGAIN, EPERM, EACCES, ENOSYS];
/// Each of the first calls of a function is failed.
const FIRST: u32 = 10;
/// How many runs a sample has.
const SAMPLE: usize = 100;
/// A flow that takes longer hangs. It is longer than `eventually`, which says what it waits for.
const LONGEST: u32 = 40;

/// A fault in a flow on a backend.
#[derive(Clone, Debug)]
struct Run {
    flow: &'static str,
    backend: Backend,
    /// `None`: to find out what the flow calls.
    fault: Option<Fault>,
    /// The descriptors and threads that may be left.
    left: (usize, usize),
}

#[test]
fn one_failed_call_loses_and_leaks_nothing() {
    if let Some(part) = current_part() {
        return run_flow(&part);
    }
    let seed = std::env::var("PIDWAIT_FAULTS_SEED").map_or_else(
        |_| clock(),
        |seed| seed.parse().expect("PIDWAIT_FAULTS_SEED: a number"),
    );
    let sample = match std::env::var("PIDWAIT_FAULTS") {
        Ok(all) if all == "all" => None,
        Ok(count) => Some(count.parse().expect("PIDWAIT_FAULTS: all, or a number")),
        Err(_) => Some(SAMPLE),
    };
    let only = std::env::var("PIDWAIT_FAULTS_FLOW").unwrap_or_default();
    let mut trials: Vec<Run> = backends()
        .into_iter()
        .flat_map(|backend| FLOWS.iter().map(move |flow| (flow.0, backend)))
        .filter(|(flow, _)| flow.contains(&only))
        .map(|(flow, backend)| Run {
            flow,
            backend,
            fault: None,
            left: (0, 0),
        })
        .collect();
    let mut random = Random::new(seed);
    if let Some(count) = sample {
        let (always, mut others): (Vec<_>, _) =
            trials.into_iter().partition(Run::is_in_each_sample);
        take(&mut others, count.div_ceil(10), &mut random);
        trials = [always, others].concat();
    }
    let (outcomes, mut failures) = run_all(&trials);
    let mut runs: Vec<Run> = outcomes
        .into_iter()
        .flat_map(|(run, out)| faults(&run, &out))
        .collect();
    if let Some(count) = sample {
        // They were run in any order.
        runs.sort_by_key(|run| format!("{run:?}"));
        let (always, mut others): (Vec<_>, _) = runs.into_iter().partition(Run::is_in_each_sample);
        take(&mut others, count, &mut random);
        runs = [always, others].concat();
    }
    let (outcomes, failed) = run_all(&runs);
    let fired = outcomes
        .iter()
        .filter(|(_, out)| out.contains("fired"))
        .count();
    // Not println, because the test harness captures its output.
    let _ = writeln!(
        std::io::stderr(),
        "faults: {} runs of {} flows on {} backends, {fired} faults fired, seed {seed}",
        runs.len(),
        FLOWS.len(),
        backends().len(),
    );
    failures.extend(failed);
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Leaves so many of a list.
fn take(runs: &mut Vec<Run>, count: usize, random: &mut Random) {
    while runs.len() > count {
        runs.swap_remove(random.below(runs.len()));
    }
}

fn clock() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    now.as_secs() * 1_000_000 + u64::from(now.subsec_micros())
}

/// Runs each in a process of its own. Returns what they printed, and the failures.
fn run_all(runs: &[Run]) -> (Vec<(Run, String)>, Vec<String>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::new(), Vec::new()));
    let work = || {
        while let Some(run) = runs.get(next.fetch_add(1, SeqCst)) {
            let outcome = run.start();
            let mut results = results.lock().expect("no panic");
            match outcome {
                Ok(out) => results.0.push((run.clone(), out)),
                Err(error) => results.1.push(format!("{run:?}: {error}")),
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, |count| 2 * count.get());
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().expect("no panic")
}

impl Run {
    /// A background thread, a watcher or a set must not take an error that passes for an exit, nor miss the
    /// exit because of it.
    fn is_in_each_sample(&self) -> bool {
        let is_watched = [
            "reap_in_background",
            "exit_fd",
            "exit_fd of a non-child",
            "wait_exited, exit_status",
            "WaitSet",
        ]
        .contains(&self.flow);
        let looks_for_exits = |fault: &Fault| {
            let function = fault.function.as_str();
            matches!(function, "raw waitid" | "kill") && fault.errno == EPERM && fault.after < 3
        };
        is_watched && self.fault.as_ref().map_or(true, looks_for_exits)
    }

    fn start(&self) -> Result<String, String> {
        let fault = self.fault.clone().unwrap_or(Fault {
            function: "none".to_owned(),
            after: 0,
            errno: 0,
        });
        let part = format!(
            "{}|{}|{}|{}|{}|{}",
            self.flow, fault.function, fault.after, fault.errno, self.left.0, self.left.1
        );
        try_isolated(TEST, &part, |command| {
            command.env("PIDWAIT_BACKEND", self.backend.to_string());
            command.env("RUST_BACKTRACE", "0");
        })
    }
}

/// The faults for a flow, whose calls a trial has printed.
fn faults(trial: &Run, out: &str) -> Vec<Run> {
    let mut left = (0, 0);
    let mut calls = BTreeMap::new();
    for line in out.lines().filter_map(|line| line.split_once("flow: ")) {
        let mut words = line.1.split(" = ");
        let (name, count) = (
            words.next().expect("a name"),
            words.next().expect("a count"),
        );
        let count: u32 = count.parse().expect("a number");
        match name {
            "descriptors left" => left.0 = count as usize,
            "threads left" => left.1 = count as usize,
            _ => drop(calls.insert(name.to_owned(), count)),
        }
    }
    let mut runs = Vec::new();
    for (function, count) in calls {
        for after in 0..count.min(FIRST) {
            for errno in ERRNOS {
                if !flows::is_possible(trial.flow, &function, errno) {
                    continue;
                }
                let function = function.clone();
                runs.push(Run {
                    fault: Some(Fault {
                        function,
                        after,
                        errno,
                    }),
                    left,
                    ..trial.clone()
                });
            }
        }
    }
    runs
}

/// In a process of its own: runs one flow, and checks what it leaves.
fn run_flow(part: &str) {
    nix::unistd::alarm::set(LONGEST);
    let words: Vec<&str> = part.split('|').collect();
    let [name, function, after, errno, descriptors, threads] = words[..] else {
        panic!("{part}");
    };
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let is_trial = function == "none";
    if !is_trial {
        libc::set(&Fault {
            function: function.to_owned(),
            after: number(after),
            errno: errno.parse().expect("an errno"),
        });
    }
    let (_, flow) = FLOWS.iter().find(|it| it.0 == name).expect("a flow");
    let bystanders = [sleep(false), sleep(true)];
    let before = (open_descriptors(), thread_count());
    flow();
    // Whatever has failed, the background thread works after that, and is there to be counted.
    flows::reap_one_in_background();
    let now = || (open_descriptors() - before.0, thread_count() - before.1);
    if is_trial {
        // What a flow leaves for good: the background thread, say. Others end by themselves.
        common::eventually("few descriptors and threads are left", || {
            let left = now();
            left.0 <= flows::MOST_LEFT.0 && left.1 <= flows::MOST_LEFT.1
        });
        let left = now();
        report(&format!("flow: descriptors left = {}", left.0));
        report(&format!("flow: threads left = {}", left.1));
        for (function, count) in libc::calls() {
            report(&format!("flow: {function} = {count}"));
        }
    } else {
        let most = (number(descriptors) as usize, number(threads) as usize);
        common::eventually(
            "no more descriptors and threads are left than without a fault",
            || {
                let left = now();
                left.0 <= most.0 && left.1 <= most.1
            },
        );
    }
    for mut bystander in bystanders {
        let state = state_of(bystander.id());
        assert!(
            matches!(state, Some('S' | 'R' | 'D')),
            "a bystander was hit: {state:?}"
        );
        bystander.kill().expect("it runs");
        reap_externally(bystander.id());
    }
    assert!(has_no_children(), "a child is left");
    if libc::fired().is_some() {
        report("fired");
    }
}

/// Not println, which the test harness captures.
fn report(text: &str) {
    writeln!(std::io::stdout(), "{text}").expect("stdout");
}

/// Runs long enough for any flow. Not by a `pre_exec`, after which std forks and panics where that fails.
fn sleep(leads_group: bool) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sleep");
    command
        .arg("60")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if leads_group {
        command.process_group(0);
    }
    command.spawn().expect("sleep starts")
}
