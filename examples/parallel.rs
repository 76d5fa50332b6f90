//! Runs command lines side by side, and says what each of them took.
//!
//! ```text
//! printf '%s\n' 'sleep 1' 'seq 1000000 | sort -R | tail -1' false |
//!     cargo run --example parallel -- -j 2
//! ```

mod common;

use std::cell::Cell;
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

use common::{describe, parse_duration};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use lexopt::prelude::*;
use nix::libc::{c_int, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGTERM};
use pidwait::{KillOnDrop, PidHandle, ResourceUsage, WaitSet};
use signal_hook::flag;

const USAGE: &str = "\
usage: parallel [OPTION]... [FILE]

Runs each line of FILE, or of standard input, by sh.

  -j, --jobs N                how many at a time; as many as there are CPUs
      --time-limit SECONDS    end a command, and all that it started, after so long: TERM
  -k, --kill-after SECONDS    and KILL that much later; 5

Exit code: 0 all succeeded, 1 not all did, 2 parallel failed, 128 + signal where one ended it.
";

struct Options {
    jobs: usize,
    time_limit: Duration,
    kill_after: Duration,
    file: Option<PathBuf>,
}

fn main() -> ExitCode {
    match parse().map_err(Into::into).and_then(run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("parallel: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut options = Options {
        jobs: thread::available_parallelism().map_or(1, NonZeroUsize::get),
        time_limit: Duration::MAX,
        kill_after: Duration::from_secs(5),
        file: None,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Short('j') | Long("jobs") => {
                options.jobs = args.value()?.parse::<NonZeroUsize>()?.get();
            }
            Long("time-limit") => options.time_limit = args.value()?.parse_with(parse_duration)?,
            Short('k') | Long("kill-after") => {
                options.kill_after = args.value()?.parse_with(parse_duration)?;
            }
            Value(file) if options.file.is_none() => options.file = Some(file.into()),
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Ok(options)
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
    // Before the first command is there: a signal must not leave any behind.
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
    runner.end_all("parallel failed", SIGKILL); // Nobody is left unless it did.
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

/// A command that runs.
struct Job {
    line: usize,
    process: KillOnDrop,
    started: Instant,
    /// The signal that it gets next, and when.
    next: Cell<Option<(Instant, c_int)>>,
    /// Why it was told to end.
    ended_for: Cell<Option<&'static str>>,
}

struct Report {
    status: ExitStatus,
    ended_for: Option<&'static str>,
    wall: Duration,
    usage: ResourceUsage,
}

impl Runner {
    /// Returns once all commands have ended, or, after a signal, all that were started.
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
            if let Some(exited) = self.set.wait_timeout(self.until_next())? {
                let job = exited.value;
                self.reports[job.line] = Some(job.finish()?);
                bar.inc(1);
            }
            self.send_what_is_due();
        }
    }

    fn start(&mut self, number: usize, line: &str) -> io::Result<()> {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).stdin(Stdio::null());
        let mut child = command.process_group(0).spawn()?;
        // By pid: made of the Child, a handle would reap one that has exited already.
        let process = match PidHandle::open(child.id()) {
            Ok(process) => KillOnDrop::new(process),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        // The set reaps by the handle that it has, and does not say what was used. So it gets
        // another one, which cannot reap: released, it still has its exit reported.
        let lookout = PidHandle::open(child.id())?;
        let limit = started.checked_add(self.options.time_limit);
        let job = Job {
            line: number,
            process,
            started,
            next: Cell::new(limit.map(|at| (at, SIGTERM))),
            ended_for: Cell::new(None),
        };
        let key = self.set.insert(lookout, job)?;
        match self.set.get(key) {
            Some((lookout, _)) => lookout.release(),
            None => Ok(()),
        }
    }

    /// How long nothing is to be done but wait. Ten times a second the bar's clock is drawn, and
    /// a signal that has come is noticed.
    fn until_next(&self) -> Duration {
        const BEAT: Duration = Duration::from_millis(100);
        let next = self.set.iter().filter_map(|(_, _, job)| job.next.get());
        let now = Instant::now();
        next.map(|(at, _)| at.saturating_duration_since(now))
            .fold(BEAT, Duration::min)
    }

    fn send_what_is_due(&self) {
        let now = Instant::now();
        for (_, _, job) in self.set.iter() {
            match job.next.get() {
                Some((at, signal)) if at <= now => {
                    job.end("time limit", signal, self.options.kill_after);
                }
                _ => {}
            }
        }
    }

    fn end_all(&self, why: &'static str, signal: c_int) {
        for (_, _, job) in self.set.iter() {
            job.end(why, signal, self.options.kill_after);
        }
    }
}

impl Job {
    /// Tells the command and all that it has started to end, and decides when to say it louder.
    fn end(&self, why: &'static str, signal: c_int, kill_after: Duration) {
        // SIGCONT, for a stopped process takes no other. An error: none is there to take it.
        for signal in [signal, SIGCONT] {
            let _ = self.process.process_group().signal(signal);
        }
        let kill_at = Instant::now().checked_add(kill_after);
        self.next.set(match signal {
            SIGKILL => None,
            _ => kill_at.map(|at| (at, SIGKILL)),
        });
        self.ended_for.set(self.ended_for.get().or(Some(why)));
    }

    /// Reaps the command, which has exited.
    fn finish(&self) -> io::Result<Report> {
        let wall = self.started.elapsed();
        if self.ended_for.get().is_some() {
            // A zombie's group is still its own: here go those of it that did not listen.
            let _ = self.process.process_group().signal(SIGKILL);
        }
        let (status, usage) = self.process.wait_usage()?;
        Ok(Report {
            status,
            ended_for: self.ended_for.get(),
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
