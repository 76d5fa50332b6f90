//! Runs command lines in parallel, and prints how each ended and which resources it used.
//!
//! ```text
//! printf '%s\n' 'sleep 1' 'seq 1000000 | sort -R | tail -1' false |
//!     cargo run --example parallel -- -j 2
//! ```

mod common;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{describe, parse_duration, print_usage};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use lexopt::prelude::*;
use nix::libc::{c_int, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use pidwait::{KillOnDrop, PidHandle, ResourceUsage, Spawned, WaitSet};
use signal_hook::flag;

const USAGE: &str = "\
usage: parallel [OPTION]... [FILE]

Runs each line of FILE, or of standard input, with sh.

  -j, --jobs N              run N commands at a time (default: the number of CPUs)
  -t, --timeout SECONDS     send TERM to a command and its process group after this time
  -k, --kill-after SECONDS  send KILL to those that still run this long after that (default: 5)
  -h, --help                print this

Exit code: 0 if all commands succeeded, 1 if not, 2 if parallel failed, 128 + N if parallel got signal N.
";

struct Options {
    jobs: usize,
    timeout: Duration,
    kill_after: Duration,
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match parse() {
        Ok(Some(options)) => run(options),
        Ok(None) => Ok(print_usage(USAGE)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("parallel: {error}");
            ExitCode::from(2)
        }
    }
}

/// `None`: only the usage is asked for.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut options = Options {
        jobs: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        timeout: Duration::MAX,
        kill_after: Duration::from_secs(5),
        file: None,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Short('j') | Long("jobs") => {
                options.jobs = args.value()?.parse::<NonZeroUsize>()?.get();
            }
            Short('t') | Long("timeout") => {
                options.timeout = args.value()?.parse_with(parse_duration)?;
            }
            Short('k') | Long("kill-after") => {
                options.kill_after = args.value()?.parse_with(parse_duration)?;
            }
            Short('h') | Long("help") => return Ok(None),
            Value(file) if options.file.is_none() => options.file = Some(file.into()),
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Ok(Some(options))
}

fn run(options: Options) -> Result<u8, Box<dyn Error>> {
    let input = match &options.file {
        Some(file) => fs::read_to_string(file).map_err(|error| format!("{file:?}: {error}"))?,
        None => io::read_to_string(io::stdin())?,
    };
    let lines: Vec<&str> = input
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    // Before the first command starts, so that a signal leaves none behind.
    let interrupted = Arc::new(AtomicUsize::new(0));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register_usize(signal, Arc::clone(&interrupted), usize::try_from(signal)?)?;
    }
    let mut runner = Runner {
        options,
        set: WaitSet::new()?,
        reports: lines.iter().map(|_| None).collect(),
    };
    let result = runner.run(&lines, &interrupted);
    runner.end_all("parallel failed", SIGKILL); // If it did not fail, none is left.
    result?;
    print(&lines, &runner.reports)?;
    match interrupted.load(Ordering::Relaxed) {
        0 => Ok(u8::from(!runner.reports.iter().all(succeeded))),
        signal => Ok(u8::try_from(128 + signal)?),
    }
}

struct Runner {
    options: Options,
    set: WaitSet<Job>,
    reports: Vec<Option<Report>>,
}

/// A running command.
struct Job {
    line: usize,
    /// A clone of the handle in the set, which kills the command if this program fails.
    process: KillOnDrop<Spawned>,
    started: Instant,
    /// When to send the next signal, and which.
    next: Option<(Instant, c_int)>,
    /// Why it was signalled to end.
    ended_for: Option<&'static str>,
}

struct Report {
    status: ExitStatus,
    ended_for: Option<&'static str>,
    wall: Duration,
    usage: ResourceUsage,
}

impl Runner {
    /// Returns once all commands have ended. After a signal no further command is started.
    fn run(&mut self, lines: &[&str], interrupted: &AtomicUsize) -> io::Result<()> {
        let bar = ProgressBar::new(lines.len() as u64).with_style(style());
        let mut waiting = lines.iter().enumerate();
        let mut stopping = false;
        loop {
            if !stopping && interrupted.load(Ordering::Relaxed) != 0 {
                stopping = true;
                self.end_all("interrupted", SIGTERM);
            }
            while !stopping && self.set.len() < self.options.jobs {
                let Some((number, line)) = waiting.next() else {
                    break;
                };
                self.start(number, line)?;
            }
            if self.set.is_empty() {
                bar.finish_and_clear();
                return Ok(());
            }
            bar.tick();
            // It does not reap, so the number of the command's group is not reused yet.
            if let Some(exited) = self.set.wait_exited_timeout(self.until_next())? {
                let job = exited.value;
                self.reports[job.line] = Some(job.finish()?);
                bar.inc(1);
            }
            self.send_due_signals();
        }
    }

    fn start(&mut self, number: usize, line: &str) -> io::Result<()> {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).stdin(Stdio::null());
        let spawned = PidHandle::spawn(command.process_group(0))?;
        let handle = spawned.handle.clone();
        let limit = started.checked_add(self.options.timeout);
        let job = Job {
            line: number,
            process: KillOnDrop::new(spawned),
            started,
            next: limit.map(|at| (at, SIGTERM)),
            ended_for: None,
        };
        self.set.insert(handle, job)?;
        Ok(())
    }

    /// The longest time to wait: until the next signal is due, and at most 100 ms, to draw the progress
    /// bar and to check the flag of the signal handler.
    fn until_next(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(100);
        let next = self.set.iter().filter_map(|(_, _, job)| job.next);
        let now = Instant::now();
        next.map(|(at, _)| at.saturating_duration_since(now))
            .fold(TICK, Duration::min)
    }

    fn send_due_signals(&mut self) {
        let now = Instant::now();
        for (_, _, job) in &mut self.set {
            if let Some((_, signal)) = job.next.filter(|(at, _)| *at <= now) {
                job.end("time limit", signal, self.options.kill_after);
            }
        }
    }

    fn end_all(&mut self, why: &'static str, signal: c_int) {
        for (_, _, job) in &mut self.set {
            job.end(why, signal, self.options.kill_after);
        }
    }
}

impl Job {
    /// Signals the command and its process group, and decides when to send SIGKILL.
    fn end(&mut self, why: &'static str, signal: c_int, kill_after: Duration) {
        // SIGCONT, because a stopped process handles the signal only when it continues.
        for signal in [signal, SIGCONT] {
            self.signal(signal);
        }
        let kill_at = Instant::now().checked_add(kill_after);
        self.next = match signal {
            SIGKILL => None,
            _ => kill_at.map(|at| (at, SIGKILL)),
        };
        self.ended_for = self.ended_for.or(Some(why));
    }

    /// Signals the command and all that it has started.
    fn signal(&self, signal: c_int) {
        if let Some(group) = &self.process.group {
            let _ = group.signal(signal); // An error means that no process of the group is left.
        }
    }

    /// Reaps the command, which has exited.
    fn finish(&self) -> io::Result<Report> {
        let wall = self.started.elapsed();
        if self.ended_for.is_some() {
            // The rest of its group.
            self.signal(SIGKILL);
        }
        let (status, usage) = self.process.handle.wait_usage()?;
        Ok(Report {
            status,
            ended_for: self.ended_for,
            wall,
            usage,
        })
    }
}

fn succeeded(report: &Option<Report>) -> bool {
    report
        .as_ref()
        .is_some_and(|report| report.status.success() && report.ended_for.is_none())
}

fn print(lines: &[&str], reports: &[Option<Report>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{:>9} {:>9} {:>11}  {:32} COMMAND",
        "WALL", "CPU", "PEAK", "STATUS"
    )?;
    for (line, report) in lines.iter().zip(reports) {
        let Some(report) = report else {
            writeln!(
                out,
                "{:>9} {:>9} {:>11}  {:32} {line}",
                "-", "-", "-", "not run"
            )?;
            continue;
        };
        let status = match report.ended_for {
            None => describe(report.status),
            Some(why) => format!("{} ({why})", describe(report.status)),
        };
        let cpu = report.usage.user_time + report.usage.system_time;
        let [wall, cpu] = [report.wall, cpu].map(|time| format!("{:.2} s", time.as_secs_f64()));
        let peak = HumanBytes(report.usage.max_rss).to_string();
        writeln!(out, "{wall:>9} {cpu:>9} {peak:>11}  {status:32} {line}")?;
    }
    Ok(())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
