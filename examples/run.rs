//! Runs a command, prints how it ended and which backend waited, and exits as a shell does.
//!
//! ```text
//! cargo run --example run -- sh -c 'exit 3'
//! ```

mod common;

use std::env;
use std::process::{Command, ExitCode};

use common::{asks_for_help, describe, print_usage, shell_code, shell_code_of_failure};
use pidwait::ChildExt;

const USAGE: &str = "\
usage: run COMMAND [ARGUMENT]...

Exit code: that of the command, 128 + N if signal N killed it, 125 if run failed, 126 or 127 if the command
could not be run.
";

fn main() -> ExitCode {
    if asks_for_help() {
        return ExitCode::from(print_usage(USAGE));
    }
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprint!("{USAGE}");
        return ExitCode::from(125);
    };
    // Before the command starts, because PIDWAIT_BACKEND can require a backend that is missing.
    let support = match pidwait::support() {
        Ok(support) => support,
        Err(error) => {
            eprintln!("run: {error}");
            return ExitCode::from(125);
        }
    };
    let mut child = match Command::new(&program).args(words).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("run: cannot run {program:?}: {error}");
            return ExitCode::from(shell_code_of_failure(&error));
        }
    };
    match child.pidfd_wait() {
        Ok(status) => {
            // `support` prints a reason if the backend is not pidfd.
            eprintln!("run: {} (backend {support})", describe(status));
            ExitCode::from(shell_code(status))
        }
        Err(error) => {
            eprintln!("run: cannot wait for {program:?}: {error}");
            ExitCode::from(125)
        }
    }
}
