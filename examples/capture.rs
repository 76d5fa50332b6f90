//! Runs a command with a time limit, passes its output on as it arrives, up to a limit, and prints a
//! summary.
//!
//! ```text
//! cargo run --example capture -- -t 10 -m 65536 -i 'some input' sort
//! ```

mod common;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::{describe, parse_duration, print_usage, shell_code, shell_code_of_failure};
use lexopt::prelude::*;
use pidwait::{Capture, Captured, PidHandle, Pipe};

const USAGE: &str = "\
usage: capture [OPTION]... COMMAND [ARGUMENT]...

  -t, --timeout SECONDS       end the command after this time (default: never)
  -k, --kill-after SECONDS    send KILL if it still runs this long after that (default: 5)
  -l, --leak-timeout SECONDS  stop reading this long after it has exited (default: 0.5)
  -m, --max-bytes BYTES       pass on this many bytes of each stream, and discard the rest
  -i, --input TEXT            write TEXT to its standard input (default: no input)
  -g, --group                 run it in a process group, and end the whole group
  -h, --help                  print this

Exit code: that of the command, 128 + N if signal N killed it, 124 if the time was up, 125 if capture
failed, 126 or 127 if the command could not be run.
";

struct Options {
    capture: Capture,
    max_bytes: usize,
    group: bool,
    has_input: bool,
    program: OsString,
    arguments: Vec<OsString>,
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
            eprintln!("capture: {error}");
            ExitCode::from(125)
        }
    }
}

/// `None`: only the usage is asked for.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut capture = Capture::new();
    let mut max_bytes = usize::MAX;
    let (mut group, mut has_input, mut grace) = (false, false, Duration::from_secs(5));
    while let Some(arg) = args.next()? {
        match arg {
            Short('t') | Long("timeout") => {
                capture = capture.timeout(args.value()?.parse_with(parse_duration)?);
            }
            Short('k') | Long("kill-after") => grace = args.value()?.parse_with(parse_duration)?,
            Short('l') | Long("leak-timeout") => {
                capture = capture.leak_timeout(args.value()?.parse_with(parse_duration)?);
            }
            Short('m') | Long("max-bytes") => max_bytes = args.value()?.parse()?,
            Short('i') | Long("input") => {
                capture = capture.input(args.value()?.string()?);
                has_input = true;
            }
            Short('g') | Long("group") => group = true,
            Short('h') | Long("help") => return Ok(None),
            Value(program) => {
                return Ok(Some(Options {
                    capture: capture.terminate_on_timeout(grace).terminate_on_leak(grace),
                    max_bytes,
                    group,
                    has_input,
                    program,
                    arguments: args.raw_args()?.collect(),
                }));
            }
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Err(format!("no command is given\n\n{USAGE}").into())
}

fn run(options: Options) -> Result<u8, Box<dyn Error>> {
    let stdin = match options.has_input {
        true => Stdio::piped(),
        false => Stdio::null(),
    };
    let mut command = Command::new(&options.program);
    command.args(options.arguments).stdin(stdin);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if options.group {
        command.process_group(0);
    }
    let start = Instant::now();
    let mut child = match PidHandle::spawn(&mut command) {
        Ok(child) => child,
        Err(error) => {
            eprintln!("capture: cannot run {:?}: {error}", options.program);
            return Ok(shell_code_of_failure(&error));
        }
    };
    let (mut passed, mut discarded) = ([0, 0], 0);
    let captured = options.capture.run_with(&mut child, |pipe, new| {
        let passed = &mut passed[usize::from(pipe == Pipe::Stderr)];
        let (first, rest) = new.split_at(new.len().min(options.max_bytes - *passed));
        *passed += first.len();
        discarded += rest.len();
        match pipe {
            Pipe::Stdout => pass_on(io::stdout().lock(), first),
            Pipe::Stderr => pass_on(io::stderr().lock(), first),
        }
    })?;
    let bytes: usize = passed.iter().sum();
    let text = summary(&captured, bytes, discarded, start.elapsed());
    eprintln!("capture: {text}");
    Ok(match captured.status {
        Some(status) if captured.stopped_by.is_none() => shell_code(status),
        _ => 124,
    })
}

fn pass_on(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

fn summary(captured: &Captured, bytes: usize, discarded: usize, wall: Duration) -> String {
    let ending = captured.status.map_or("still running".to_owned(), describe);
    let mut text = match captured.stopped_by {
        Some(_) => format!("timed out, {ending}"),
        None => ending,
    };
    text += &format!(", {bytes} bytes");
    if discarded > 0 {
        text += &format!(", {discarded} discarded");
    }
    if captured.leaked {
        text += ", leaked: another process may still write";
    }
    text += &format!(", {:.3} s", wall.as_secs_f64());
    // Of the command, and of the processes that it waited for.
    if let Some(usage) = captured.usage {
        let cpu = usage.user_time + usage.system_time;
        text += &format!(", CPU {:.3} s", cpu.as_secs_f64());
    }
    text
}
