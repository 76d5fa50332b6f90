//! Runs a command, and ends it when a signal interrupts the wait.
//!
//! `PidHandle::wait` cannot be interrupted. To wait for an exit *or* something else, poll
//! `PidHandle::exit_fd` together with another descriptor. Here that is a self-pipe, to which a signal
//! handler writes; it can also be a signalfd, a socket or a timer.
//!
//! ```text
//! cargo run --example interruptible -- sleep 60
//! ```

mod common;

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use common::{asks_for_help, describe, print_usage, shell_code, signal_name};
use nix::errno::Errno;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use pidwait::PidHandle;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// How long the command may take to end after a signal.
const GRACE: Duration = Duration::from_secs(5);

const USAGE: &str = "\
usage: interruptible COMMAND [ARGUMENT]...

Exit code: that of the command, 128 + N if signal N killed it, 125 if interruptible failed.
";

fn main() -> ExitCode {
    if asks_for_help() {
        return ExitCode::from(print_usage(USAGE));
    }
    let mut args = env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprint!("{USAGE}");
        return ExitCode::from(125);
    };
    match run(Command::new(program).args(args)) {
        Ok(status) => {
            eprintln!("interruptible: {}", describe(status));
            ExitCode::from(shell_code(status))
        }
        Err(error) => {
            eprintln!("interruptible: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(command: &mut Command) -> io::Result<ExitStatus> {
    // Before the command starts, so that no signal ends this program and leaves the command behind.
    let (read, write) = UnixStream::pair()?;
    let signals = [SIGHUP, SIGINT, SIGTERM];
    let mut signals = SignalDelivery::with_pipe(read, write, SignalOnly, signals)?;
    let child = PidHandle::spawn(command)?.handle;
    let exit = child.exit_fd()?;
    loop {
        let mut fds = [
            PollFd::new(exit.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.get_read().as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if fds[0].any().unwrap_or(false) {
            return child.wait();
        }
        if let Some(signal) = signals.pending().next() {
            eprintln!("interruptible: {}, ending the command", signal_name(signal));
            return child.terminate(GRACE);
        }
    }
}
