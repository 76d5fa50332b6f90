//! What the benches share: the lines of every table, and how children are made and ended.

#![allow(dead_code)] // No bench needs all of it.
#![allow(unsafe_code)] // The bare system calls that the crate is measured by.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // As the calls have it.
#![allow(clippy::cast_sign_loss)]

pub(crate) mod bare;
pub(crate) mod crowds;
pub(crate) mod lines;
pub(crate) mod peers;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use criterion::Criterion;
use nix::libc::pid_t;
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

/// A program to start, the same one for every line.
pub(crate) struct Program {
    name: OsString,
    args: Vec<OsString>,
    stdin: Option<OwnedFd>,
}

impl Program {
    pub(crate) fn new(name: impl Into<OsString>, args: &[&str]) -> Self {
        Self {
            name: name.into(),
            args: args.iter().map(Into::into).collect(),
            stdin: None,
        }
    }

    /// One that runs until it is killed.
    pub(crate) fn sleeper() -> Self {
        Self::new("sleep", &["600"])
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    pub(crate) fn into_command(self) -> Command {
        let mut command = Command::new(self.name);
        command.args(self.args);
        if let Some(stdin) = self.stdin {
            command.stdin(Stdio::from(stdin));
        }
        command
    }

    pub(crate) fn into_exec(self) -> subprocess::Exec {
        let exec = subprocess::Exec::cmd(self.name).args(self.args);
        match self.stdin {
            Some(stdin) => exec.stdin(std::fs::File::from(stdin)),
            None => exec,
        }
    }
}

/// Makes a zombie of a child that is nobody else's yet to reap.
pub(crate) fn end(pid: pid_t) {
    bare::kill(pid, nix::libc::SIGKILL);
    bare::look_by_pid(pid, true);
}

/// Half a second of warm-up and two of measurement, unless a group says otherwise.
pub(crate) fn criterion() -> Criterion {
    // A program that has threads pays for it in every system call that takes a descriptor. Some
    // of the peers start threads; this one makes the same program of it for all lines.
    thread::spawn(thread::park);
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args()
}

/// Whether this is `cargo bench`, and not a test that all of it runs.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Runs a line with its own SIGCHLD handler, if it has ever set one, and takes that away again:
/// no other line is to be interrupted by it.
pub(crate) fn with_own_handler(name: &'static str, run: impl FnOnce()) {
    thread_local! {
        static HANDLERS: RefCell<HashMap<&'static str, SigAction>> = RefCell::default();
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let own = HANDLERS.with_borrow(|handlers| handlers.get(name).copied());
    set_sigchld(&own.unwrap_or(default));
    run();
    let left = set_sigchld(&default);
    HANDLERS.with_borrow_mut(|handlers| handlers.insert(name, left));
}

fn set_sigchld(action: &SigAction) -> SigAction {
    // SAFETY: the action is the default one, or one that a crate has set for this very signal.
    unsafe { sigaction(Signal::SIGCHLD, action) }.expect("SIGCHLD has handlers")
}
