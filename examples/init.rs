//! A small init for containers: runs a command as PID 1.
//!
//! It forwards signals to the command's process group and reaps orphans. When the command has exited,
//! it ends the processes that are left, and exits with the command's code.
//!
//! ```text
//! cargo build --example init
//! unshare --pid --fork --mount-proc target/debug/examples/init sh -c 'sleep 1 & exit 3'; echo $?
//! ```

mod common;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use common::{parse_duration, print_usage, shell_code, shell_code_of_failure};
use lexopt::prelude::*;
use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use pidwait::{reap_orphans, ExitFd, PidHandle, ProcessGroup, Spawned};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

const USAGE: &str = "\
usage: init [OPTION]... COMMAND [ARGUMENT]...

  -k, --kill-after SECONDS  send KILL to processes that still run this long after the command (default: 5)
  -h, --help                print this

Exit code: that of the command, 128 + N if signal N killed it, 125 if init failed, 126 or 127 if the
command could not be run.
";

/// The signals that are forwarded.
const FORWARDED: [c_int; 9] = [
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
];

type Signals = SignalDelivery<UnixStream, SignalOnly>;

struct Options {
    grace: Duration,
    program: OsString,
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match parse() {
        Ok(Some(options)) => run(&options),
        Ok(None) => Ok(print_usage(USAGE)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("init: {error}");
            ExitCode::from(125)
        }
    }
}

/// `None`: only the usage is asked for.
fn parse() -> Result<Option<Options>, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut grace = Duration::from_secs(5);
    while let Some(arg) = args.next()? {
        match arg {
            Short('k') | Long("kill-after") => grace = args.value()?.parse_with(parse_duration)?,
            Short('h') | Long("help") => return Ok(None),
            Value(program) => {
                let args = args.raw_args()?.collect();
                return Ok(Some(Options {
                    grace,
                    program,
                    args,
                }));
            }
            _ => return Err(format!("{}\n\n{USAGE}", arg.unexpected()).into()),
        }
    }
    Err(format!("no command is given\n\n{USAGE}").into())
}

fn run(options: &Options) -> Result<u8, Box<dyn Error>> {
    // Before the command starts. PID 1 gets only signals that it has a handler for.
    let (read, write) = UnixStream::pair()?;
    let signals = FORWARDED.iter().chain(&[SIGCHLD]);
    let mut signals = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
    let mut command = Command::new(&options.program);
    command.args(&options.args).process_group(0);
    let Spawned { handle, group, .. } = match PidHandle::spawn(&mut command) {
        Ok(spawned) => spawned,
        Err(error) => {
            eprintln!("init: cannot run {:?}: {error}", options.program);
            return Ok(shell_code_of_failure(&error));
        }
    };
    let group = group.ok_or("the command leads no process group")?;
    let exit = handle.exit_fd()?;
    while !handle.has_exited()? {
        await_event(&signals, &exit)?;
        for signal in signals.pending().filter(|&signal| signal != SIGCHLD) {
            let _ = group.signal(signal); // An error means that no process of the group is left.
        }
        // The command is not one of them: its group keeps it. Out of descriptors, they stay until a later
        // call.
        let _ = reap_orphans(|_| false);
    }
    Ok(shell_code(end_all(group, &mut signals, options.grace)?))
}

/// Sleeps until there is a signal, or the command exits.
fn await_event(signals: &Signals, exit: &ExitFd) -> io::Result<()> {
    let mut fds = [
        PollFd::new(signals.get_read().as_fd(), PollFlags::POLLIN),
        PollFd::new(exit.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Ends the rest of the command's group and, as PID 1, all other processes. Returns the status of
/// the command.
fn end_all(group: ProcessGroup, signals: &mut Signals, grace: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now().checked_add(grace);
    signal_others(Signal::SIGTERM);
    signal_others(Signal::SIGCONT);
    let status = group.terminate(grace)?;
    drop(group); // Reaps the command.
    if is_init() && !reap_all(signals, deadline)? {
        signal_others(Signal::SIGKILL);
        reap_all(signals, None)?;
    }
    Ok(status)
}

/// As PID 1, signals all other processes of its PID namespace. The kernel kills them when PID 1 exits;
/// this gives them time to end.
fn signal_others(signal: Signal) {
    if is_init() {
        // It fails with ESRCH if there are no others.
        let _ = kill(Pid::from_raw(-1), signal);
    }
}

fn is_init() -> bool {
    process::id() == 1
}

/// Reaps orphans until no other process is left. False once the deadline has passed.
fn reap_all(signals: &mut Signals, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        // First, so that a SIGCHLD that arrives after the reaps below ends the next poll.
        signals.pending().for_each(drop);
        let _ = reap_orphans(|_| false);
        if kill(Pid::from_raw(-1), None) == Err(Errno::ESRCH) {
            return Ok(true);
        }
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            let millis = left.as_millis().saturating_add(1);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        let fd = PollFd::new(signals.get_read().as_fd(), PollFlags::POLLIN);
        match poll(&mut [fd], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
