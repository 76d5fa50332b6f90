//! Works like coreutils' `timeout`: runs a command, and ends it and prints how if it takes too long.
//!
//! ```text
//! cargo run --example timeout -- -k 2s 1.5s sleep 60
//! ```
//!
//! Unlike coreutils' program, it starts the command as the leader of a process group. So the signal
//! reaches all processes that the command has started, and not this program. A command that reads from
//! the terminal needs `--foreground`.

mod common;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{
    describe, parse_duration, parse_signal, print_usage, shell_code, shell_code_of_failure,
    signal_name,
};
use lexopt::prelude::*;
use nix::libc::{c_int, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};
use pidwait::{is_echild, PidHandle, ProcessGroup};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
usage: timeout [OPTION]... DURATION COMMAND [ARGUMENT]...

  -s, --signal SIGNAL        send SIGNAL when the time is up (default: TERM)
  -k, --kill-after DURATION  also send KILL if the command still runs this long after that
      --foreground           keep the command in the foreground, and signal only the command
      --preserve-status      exit with the command's exit code even if the time was up
  -h, --help                 print this

DURATION is a number, optionally followed by s (the default), m, h or d; 0 is no limit.
Exit code: 124 if the time was up, 125 if timeout failed, 126 if COMMAND cannot be run, 127 if there is
no COMMAND, 137 if KILL ended COMMAND, otherwise the exit code of COMMAND.
";

struct Options {
    limit: Duration,
    command: Vec<OsString>,
    signal: c_int,
    kill_after: Duration,
    foreground: bool,
    preserve_status: bool,
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => ExitCode::from(run(options)),
        Ok(None) => ExitCode::from(print_usage(USAGE)),
        Err(error) => {
            eprintln!("timeout: {error}");
            ExitCode::from(125)
        }
    }
}

/// `None`: only the usage is asked for.
fn parse(mut args: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut signal = SIGTERM;
    let mut kill_after = Duration::ZERO;
    let mut foreground = false;
    let mut preserve_status = false;
    while let Some(arg) = args.next()? {
        match arg {
            Short('s') | Long("signal") => signal = args.value()?.parse_with(parse_signal)?,
            Short('k') | Long("kill-after") => {
                kill_after = args.value()?.parse_with(parse_duration)?;
            }
            Long("foreground") => foreground = true,
            Long("preserve-status") => preserve_status = true,
            Short('h') | Long("help") => return Ok(None),
            // Everything after the duration belongs to the command.
            Value(duration) => {
                return Ok(Some(Options {
                    limit: duration.parse_with(parse_duration)?,
                    command: args.raw_args()?.collect(),
                    signal,
                    kill_after,
                    foreground,
                    preserve_status,
                }))
            }
            _ => return Err(arg.unexpected()),
        }
    }
    Err("no duration and no command given; see --help".into())
}

fn run(options: Options) -> u8 {
    let Some((program, args)) = options.command.split_first() else {
        eprintln!("timeout: no command given; see --help");
        return 125;
    };
    let mut command = Command::new(program);
    command.args(args);
    if !options.foreground {
        command.process_group(0);
    }
    // Before the command starts, so that no signal ends this program and leaves the command behind.
    let signals = match Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("timeout: cannot catch signals: {error}");
            return 125;
        }
    };
    let child = match PidHandle::spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) => {
            eprintln!("timeout: cannot run {program:?}: {error}");
            return shell_code_of_failure(&error);
        }
    };
    let running = Arc::new(Running {
        child: child.handle,
        group: child.group,
        options,
    });
    forward(signals, &running);
    running.wait().unwrap_or_else(|error| {
        eprintln!("timeout: {error}");
        125
    })
}

struct Running {
    child: PidHandle,
    /// With `--foreground` the command leads no group.
    group: Option<ProcessGroup>,
    options: Options,
}

impl Running {
    /// Waits for the command, ends it if the time is up, and returns the exit code.
    fn wait(&self) -> io::Result<u8> {
        let start = Instant::now();
        let limit = match self.options.limit {
            Duration::ZERO => Duration::MAX,
            limit => limit,
        };
        if let Some(status) = self.child.wait_timeout(limit)? {
            return Ok(shell_code(status));
        }
        self.end(self.options.signal);
        let status = self.child.wait()?;
        eprintln!(
            "timeout: the time was up; {} after {:.1} s (backend {})",
            describe(status),
            start.elapsed().as_secs_f64(),
            self.child.backend()
        );
        if self.options.preserve_status || status.signal() == Some(SIGKILL) {
            Ok(shell_code(status))
        } else {
            Ok(124)
        }
    }

    /// Sends the signal, and SIGKILL if the command still runs after `kill_after`.
    fn end(&self, signal: c_int) {
        self.send(signal);
        let kill_after = self.options.kill_after;
        if !kill_after.is_zero() && matches!(self.child.wait_exited_timeout(kill_after), Ok(false))
        {
            self.send(SIGKILL);
        }
    }

    /// Signals the command and, unless it is in the foreground, all processes that it has started.
    fn send(&self, signal: c_int) {
        // A stopped process handles the signal only when it continues.
        for signal in [signal, SIGCONT] {
            let sent = match &self.group {
                Some(group) => group.signal(signal),
                None => self.child.signal(signal),
            };
            match sent {
                Err(error) if !is_echild(&error) => {
                    eprintln!("timeout: cannot send {}: {error}", signal_name(signal));
                }
                _ => {}
            }
        }
    }
}

/// Forwards the signals that this program gets to the command.
fn forward(mut signals: Signals, running: &Arc<Running>) {
    let running = Arc::clone(running);
    thread::spawn(move || {
        for signal in signals.forever() {
            running.end(signal);
        }
    });
}
