//! A small init for containers: runs a command as PID 1.
//!
//! It forwards signals to the command's process group and reaps orphans. When the command has exited,
//! it ends the processes that are left, and exits with the command's code.
//!
//! ```text
//! cargo build --example init
//! unshare --pid --fork --mount-proc target/debug/examples/init sh -c 'sleep 1 & exit 3'; echo $?
//! ```

#![allow(unsafe_code)] // See `peek_any_child`.

mod common;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use common::{parse_duration, shell_code, shell_code_of_failure};
use lexopt::prelude::*;
use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use pidwait::{is_echild, PidHandle, WaitSet};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

const USAGE: &str = "\
usage: init [-g SECONDS] COMMAND [ARGUMENT]...

  -g, --grace SECONDS  send KILL to processes that still run this long after the command (default: 5)

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
    let options = match parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("init: {error}");
            return ExitCode::from(125);
        }
    };
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("init: {error}");
            ExitCode::from(125)
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut args = lexopt::Parser::from_env();
    let mut grace = Duration::from_secs(5);
    while let Some(arg) = args.next()? {
        match arg {
            Short('g') | Long("grace") => grace = args.value()?.parse_with(parse_duration)?,
            Value(program) => {
                let args = args.raw_args()?.collect();
                return Ok(Options {
                    grace,
                    program,
                    args,
                });
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
    let command = match PidHandle::spawn(&mut command) {
        Ok(spawned) => spawned.handle,
        Err(error) => {
            eprintln!("init: cannot run {:?}: {error}", options.program);
            return Ok(shell_code_of_failure(&error));
        }
    };
    let mut set = WaitSet::new()?;
    set.insert(command.clone(), ())?;
    let ready = set.ready_fd()?;
    let command = loop {
        await_event(&signals, &ready)?;
        for signal in signals.pending().filter(|&signal| signal != SIGCHLD) {
            // An error means that no process of the group is left.
            let _ = command.process_group().signal(signal);
        }
        // Reaps nothing, so that the group can still be ended.
        if let Some(exited) = set.wait_exited_timeout(Duration::ZERO)? {
            break exited.handle;
        }
        reap_orphans(&set)?;
    };
    Ok(shell_code(end_all(&command, &mut signals, options.grace)?))
}

/// Sleeps until there is a signal, or an exit in the set.
fn await_event(signals: &Signals, set: &OwnedFd) -> io::Result<()> {
    let mut fds = [
        PollFd::new(signals.get_read().as_fd(), PollFlags::POLLIN),
        PollFd::new(set.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Reaps the orphans that have exited, but not the processes of the set. If the peek finds one of the
/// set, other zombies are reaped in a later call, after that one.
fn reap_orphans(set: &WaitSet<()>) -> io::Result<()> {
    while let Some(pid) = peek_any_child()? {
        if set.iter().any(|(_, handle, _)| handle.id() == pid) {
            break;
        }
        let Ok(orphan) = PidHandle::open(pid) else {
            break; // Out of descriptors: the zombie stays until a later call.
        };
        orphan.wait()?;
    }
    Ok(())
}

/// Ends the rest of the command's group and, as PID 1, all other processes. Returns the status of
/// the command.
fn end_all(command: &PidHandle, signals: &mut Signals, grace: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now().checked_add(grace);
    signal_others(Signal::SIGTERM);
    signal_others(Signal::SIGCONT);
    let status = command.process_group().terminate(grace)?;
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

/// Reaps children until none is left. False once the deadline has passed.
fn reap_all(signals: &mut Signals, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        // First, so that a SIGCHLD that arrives after the peeks below ends the next poll.
        signals.pending().for_each(drop);
        loop {
            match peek_any_child() {
                Ok(Some(pid)) => drop(PidHandle::open(pid)?.wait()?),
                Ok(None) => break,
                Err(error) if is_echild(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
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

/// Returns the PID of any child that is a zombie, without reaping it: so the PID is not reused before
/// the caller has decided how to reap it. ECHILD: there are no children.
///
/// With libc, because nix's `waitid` fails if a real-time signal has killed the child.
fn peek_any_child() -> io::Result<Option<u32>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writes during the call.
    Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) })?;
    // SAFETY: zeroed above, and written by the kernel if there is a zombie.
    let info = unsafe { info.assume_init() };
    // SAFETY: the field is set, or zero.
    let pid = unsafe { info.si_pid() };
    Ok(u32::try_from(pid).ok().filter(|&pid| pid != 0))
}
