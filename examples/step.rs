//! Runs one step of a CI job, or a tool of an agent: passes its output on, ends it with all that it has
//! started at a time limit, on silence or on Ctrl-C, and prints a report.
//!
//! ```text
//! cargo run --features tokio --example step -- -t 10m -s 60 make test
//! ```

mod common;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use common::{describe, parse_duration, print_usage, shell_code, shell_code_of_failure};
use lexopt::prelude::*;
use pidwait::{Capture, Captured, Escalation, Pipe, ResourceUsage, StoppedBy, Tokio};

const USAGE: &str = "\
usage: step [OPTION]... COMMAND [ARGUMENT]...

  -t, --timeout TIME     end the command after this time (default: never)
  -s, --silence TIME     end it if it writes nothing for this long (default: never)
  -k, --kill-after TIME  send KILL if it still runs this long after TERM (default: 5)
  -r, --report FILE      write the first and the last 32 KiB of its output there
  -h, --help             print this

A TIME is a number of seconds, or has a unit: 90, 1.5m, 2h. Ctrl-C ends the command, too. It runs in a
process group of its own, and the whole group is ended, also what it leaves behind with its output open.

Exit code: that of the command, 128 + N if signal N killed it, 124 if it was stopped by a limit, 130 by
Ctrl-C, 125 if step failed, 126 or 127 if the command could not be run.
";

/// How much of each stream the report has, from its beginning and from its end.
const PART: usize = 32 * 1024;

struct Options {
    capture: Capture,
    grace: Duration,
    report: Option<OsString>,
    program: OsString,
    arguments: Vec<OsString>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match parse() {
        Ok(Some(options)) => run(options).await,
        Ok(None) => Ok(print_usage(USAGE)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("step: {error}");
            ExitCode::from(125)
        }
    }
}

/// `None`: only the usage is asked for.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut args = lexopt::Parser::from_iter(env::args_os());
    let mut capture = Capture::new();
    let (mut grace, mut report) = (Duration::from_secs(5), None);
    while let Some(arg) = args.next()? {
        match arg {
            Short('t') | Long("timeout") => {
                capture = capture.timeout(args.value()?.parse_with(parse_duration)?);
            }
            Short('s') | Long("silence") => {
                capture = capture.idle_timeout(args.value()?.parse_with(parse_duration)?);
            }
            Short('k') | Long("kill-after") => grace = args.value()?.parse_with(parse_duration)?,
            Short('r') | Long("report") => report = Some(args.value()?),
            Short('h') | Long("help") => return Ok(None),
            Value(program) => {
                return Ok(Some(Options {
                    capture,
                    grace,
                    report,
                    program,
                    arguments: args.raw_args()?.collect(),
                }));
            }
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Err(format!("no command is given\n\n{USAGE}").into())
}

async fn run(options: Options) -> Result<u8, Box<dyn Error>> {
    let mut command = Command::new(&options.program);
    command.args(options.arguments).process_group(0);
    let escalation = Escalation::from(options.grace);
    let start = Instant::now();
    let captured = options
        .capture
        .max_bytes(PART)
        .tail_bytes(PART)
        .terminate_on_timeout(&escalation)
        .terminate_on_leak(escalation)
        .on(Tokio)
        .until(tokio::signal::ctrl_c())
        .output_with(&mut command, pass_on)
        .await;
    let captured = match captured {
        Ok(captured) => captured,
        Err(failed) if is_spawn_failure(&failed.error) => {
            eprintln!("step: cannot run {:?}: {failed}", options.program);
            return Ok(shell_code_of_failure(&failed.error));
        }
        Err(failed) => return Err(failed.into()),
    };
    eprintln!("step: {}", summary(&captured, start.elapsed()));
    if let Some(path) = options.report {
        write_report(File::create(path)?, &captured)?;
    }
    Ok(match (captured.stopped_by, captured.status) {
        (None, Some(status)) => shell_code(status),
        (Some(StoppedBy::Cancel), _) => 130,
        _ => 124,
    })
}

fn is_spawn_failure(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}

/// Passes the output on as it comes. If the reader is gone, the step runs on without it.
fn pass_on(pipe: Pipe, bytes: &[u8]) -> io::Result<()> {
    let written = match pipe {
        Pipe::Stdout => write(io::stdout().lock(), bytes),
        Pipe::Stderr => write(io::stderr().lock(), bytes),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn summary(captured: &Captured, wall: Duration) -> String {
    let why = match captured.stopped_by {
        Some(StoppedBy::Timeout) => "the time was up; ",
        Some(StoppedBy::IdleTimeout) => "it was silent for too long; ",
        Some(StoppedBy::Cancel) => "interrupted; ",
        _ => "",
    };
    let ending = captured.status.map_or("it does not end".into(), describe);
    let mut text = format!("{why}{ending}, {:.2} s", wall.as_secs_f64());
    if let Some(ResourceUsage {
        user_time,
        system_time,
        max_rss,
        ..
    }) = captured.usage
    {
        let cpu = (user_time + system_time).as_secs_f64();
        // The peak starts at that of the process that spawned the command, which is this one.
        let peak = max_rss as f64 / f64::from(1 << 20);
        text += &format!(", CPU {cpu:.2} s, peak memory at most {peak:.1} MiB");
    }
    if captured.leaked {
        text += "; processes that it left behind had its output open";
    }
    text
}

fn write_report(mut to: File, captured: &Captured) -> io::Result<()> {
    let stdout = (captured.stdout_parts(), captured.stdout_discarded);
    let stderr = (captured.stderr_parts(), captured.stderr_discarded);
    for (name, ((first, last), missing)) in [("stdout", stdout), ("stderr", stderr)] {
        writeln!(to, "--- {name} ---")?;
        to.write_all(first)?;
        if missing > 0 {
            writeln!(to, "\n--- {missing} bytes are left out ---")?;
        }
        to.write_all(last)?;
    }
    Ok(())
}
