//! Waits for processes, children or not, and prints how each ended.
//!
//! ```text
//! cargo run --example pwait -- -t 60 PID...
//! ```

mod common;

use std::error::Error;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use common::{describe, parse_duration, print_usage};
use lexopt::prelude::*;
use nix::poll::{poll, PollFd, PollFlags};
use pidwait::{is_echild, Exited, PidHandle, WaitSet};

const USAGE: &str = "\
usage: pwait [-t SECONDS] PID...

  -t, --timeout SECONDS  stop waiting after this time (default: never)
  -h, --help             print this

Exit code: 0 if all have ended, 1 if one did not exist, 2 if pwait failed, 124 if the time was up.
";

fn main() -> ExitCode {
    let result = match parse() {
        Ok(Some(options)) => wait_for_all(options),
        Ok(None) => Ok(print_usage(USAGE)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pwait: {error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    limit: Duration,
    pids: Vec<u32>,
}

/// `None`: only the usage is asked for.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut limit = Duration::MAX;
    let mut pids = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Short('t') | Long("timeout") => limit = args.value()?.parse_with(parse_duration)?,
            Short('h') | Long("help") => return Ok(None),
            Value(pid) => pids.push(pid.parse()?),
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    if pids.is_empty() {
        return Err(format!("no PID given\n\n{USAGE}").into());
    }
    Ok(Some(Options { limit, pids }))
}

fn wait_for_all(options: Options) -> Result<u8, Box<dyn Error>> {
    let mut out = io::stdout();
    let mut code = 0;
    let mut set = WaitSet::new()?;
    for pid in options.pids {
        let handle = PidHandle::open(pid).map_err(|error| format!("process {pid}: {error}"))?;
        match set.insert(handle, pid) {
            Ok(_) => {}
            Err(refused) if is_echild(&refused.error) => {
                writeln!(out, "{pid}: no such process")?;
                code = 1;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    // A timeout that the clock cannot represent is no limit.
    let deadline = Instant::now().checked_add(options.limit);
    let left = || {
        deadline.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        })
    };
    while let Some(exited) = set.wait_timeout(left())? {
        writeln!(out, "{}: {}", exited.value, ending(&exited))?;
    }
    for (_, _, pid) in set.iter() {
        writeln!(out, "{pid}: still running")?;
        code = 124;
    }
    Ok(code)
}

fn ending(exited: &Exited<u32>) -> String {
    let status = exited.status.or_else(|| status_once_reaped(&exited.handle));
    let unreaped = || !matches!(exited.handle.signal(0), Err(error) if is_echild(&error));
    match status {
        Some(status) => describe(status),
        None if unreaped() => "ended; its parent has not asked for the status yet".to_owned(),
        None => "ended; this kernel keeps no status".to_owned(),
    }
}

/// The kernel records the status of a non-child when its parent reaps it, usually soon after the exit.
fn status_once_reaped(handle: &PidHandle) -> Option<ExitStatus> {
    const MOMENT_MS: u16 = 1000;
    let exit = handle.exit_fd().ok()?;
    // With no events requested, poll reports only POLLHUP, after the reap.
    let mut fds = [PollFd::new(exit.as_fd(), PollFlags::empty())];
    poll(&mut fds, MOMENT_MS).ok()?;
    handle.exit_status()
}
