//! coreutils' `timeout`: runs a command, and ends it if it takes too long.
//!
//! ```text
//! cargo run --example timeout -- -k 2s 1.5s sleep 60
//! ```
//!
//! One thing differs. The command leads a process group of its own, so that the signal reaches
//! whatever it has started, and not this program. To read from the terminal it therefore needs
//! `--foreground`, at a shell prompt, too.

mod common;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{parse_duration, parse_signal, shell_code, shell_code_of_failure, signal_name};
use lexopt::prelude::*;
use nix::libc::{c_int, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM};
use pidwait::{is_echild, PidHandle};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
usage: timeout [OPTION]... DURATION COMMAND [ARGUMENT]...

  -s, --signal SIGNAL        what to send when the time is up, instead of TERM
  -k, --kill-after DURATION  send KILL, too, if it still runs that much later
      --foreground           leave it in the terminal's foreground; signal it alone
      --preserve-status      exit as the command did, even when the time was up

DURATION is a number with s, m, h or d behind it; 0 is no limit.
Exit code: 124 time was up, 125 timeout failed, 126 cannot run COMMAND, 127 no such COMMAND,
137 COMMAND was killed, otherwise COMMAND's own.
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
        Ok(None) => {
            let _ = io::stdout().write_all(USAGE.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("timeout: {error}");
            ExitCode::from(125)
        }
    }
}

/// `None`: help is wanted.
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
            Long("help") => return Ok(None),
            // What follows the duration is the command's, options and all.
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
    Err("no duration and no command are given; see --help".into())
}

fn run(options: Options) -> u8 {
    let Some((program, args)) = options.command.split_first() else {
        eprintln!("timeout: no command is given; see --help");
        return 125;
    };
    let mut command = Command::new(program);
    command.args(args);
    if !options.foreground {
        command.process_group(0);
    }
    // Before the command is there: none of them may end this program and leave the command behind.
    let signals = match Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("timeout: cannot catch signals: {error}");
            return 125;
        }
    };
    let child = match PidHandle::spawn(&mut command) {
        Ok(spawned) => spawned.handle,
        Err(error) => {
            eprintln!("timeout: cannot run {program:?}: {error}");
            return shell_code_of_failure(&error);
        }
    };
    let running = Arc::new(Running { child, options });
    forward(signals, &running);
    running.wait().unwrap_or_else(|error| {
        eprintln!("timeout: {error}");
        125
    })
}

struct Running {
    child: PidHandle,
    options: Options,
}

impl Running {
    /// Waits for the command, within its limit and then without, and says what to exit with.
    fn wait(&self) -> io::Result<u8> {
        let limit = match self.options.limit {
            Duration::ZERO => Duration::MAX,
            limit => limit,
        };
        if let Some(status) = self.child.wait_timeout(limit)? {
            return Ok(shell_code(status));
        }
        self.end(self.options.signal);
        let status = self.child.wait()?;
        if self.options.preserve_status || status.signal() == Some(SIGKILL) {
            Ok(shell_code(status))
        } else {
            Ok(124)
        }
    }

    /// Sends the signal, and SIGKILL where that was not enough in time.
    fn end(&self, signal: c_int) {
        self.send(signal);
        let kill_after = self.options.kill_after;
        if !kill_after.is_zero() && matches!(self.child.wait_exited_timeout(kill_after), Ok(false))
        {
            self.send(SIGKILL);
        }
    }

    /// To the command and, unless in the foreground, all that it has started.
    fn send(&self, signal: c_int) {
        // SIGCONT, for a stopped process takes no other.
        for signal in [signal, SIGCONT] {
            let sent = if self.options.foreground {
                self.child.signal(signal)
            } else {
                self.child.signal_group(signal)
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

/// Passes on to the command what this program is told, for as long as it runs.
fn forward(mut signals: Signals, running: &Arc<Running>) {
    let running = Arc::clone(running);
    thread::spawn(move || {
        for signal in signals.forever() {
            running.end(signal);
        }
    });
}
