//! The tables of docs/contract.md, row by row: what each call returns in each case.
//!
//! Each row runs on both backends. After changing a row, run
//! `PIDWAIT_UPDATE_CONTRACT=1 cargo test --test contract` to write the tables into the document.

// Some code is only for rows of Linux.
#![cfg_attr(
    any(not(target_os = "linux"), pidwait_poll),
    allow(dead_code, unused_imports)
)]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod child;
#[cfg(target_os = "linux")]
mod group;
mod handle;
mod identity;
mod others;
mod outcome;

use std::fs;
use std::io::{self, Write};

use common::isolated;
use pidwait::Backend;

/// One row of the table.
struct Row {
    case: &'static str,
    call: &'static str,
    /// The required outcome, by the order of `BACKENDS`.
    expected: [&'static str; 2],
    /// Sets up the case and makes the call, on the backend that the environment selects. Returns
    /// the outcome, or [`outcome::SKIPPED`].
    observe: fn() -> String,
    /// With pidfds, the outcome is from the kernel's record of the exit. Without one it is as by PID.
    is_recorded: bool,
}

impl Row {
    /// The required outcome on one backend, on this kernel.
    fn expected(&self, backend: usize) -> &'static str {
        if self.is_recorded && !common::has_exit_records(Backend::Pidfd) {
            return self.expected[1];
        }
        self.expected[backend]
    }
}

fn row(
    case: &'static str,
    call: &'static str,
    expected: [&'static str; 2],
    observe: fn() -> String,
) -> Row {
    Row {
        case,
        call,
        expected,
        observe,
        is_recorded: false,
    }
}

/// A row whose first outcome is that of Linux 6.15 and later.
fn recorded(
    case: &'static str,
    call: &'static str,
    expected: [&'static str; 2],
    observe: fn() -> String,
) -> Row {
    Row {
        is_recorded: true,
        ..row(case, call, expected, observe)
    }
}

/// The same outcome on both backends.
fn both(outcome: &'static str) -> [&'static str; 2] {
    [outcome; 2]
}

const BACKENDS: [&str; 2] = ["pidfd", "waitpid"];

fn tables() -> Vec<(&'static str, Vec<Row>)> {
    Vec::from([
        ("`PidHandle`: open, wait, signal, release", handle::rows()),
        (
            "`PidHandle`: spawn, `wait_shared`, clones, identities",
            identity::rows(),
        ),
        ("`PidHandle` and `WaitSet`: all other calls", others::rows()),
        #[cfg(target_os = "linux")]
        (
            "`ProcessGroup`, `KillOnDrop`, `reap_in_background`",
            group::rows(),
        ),
        ("`ChildExt` and `Capture`", child::rows()),
    ])
}

#[test]
fn pidfd_rows() {
    check_column("pidfd_rows", 0);
}

#[test]
fn waitpid_rows() {
    check_column("waitpid_rows", 1);
}

/// Runs every row on one backend, in a separate process: a process chooses its backend once, and
/// some cases change process-wide state.
fn check_column(test: &str, backend: usize) {
    let name = BACKENDS[backend];
    if isolated::current_part().is_none() {
        if common::all_backends().iter().any(|b| b.to_string() == name) {
            isolated::run_isolated(test, name, |command| {
                command.env("PIDWAIT_BACKEND", name);
            });
        }
        return;
    }
    // Ends the process if a row blocks forever. The last line printed names that row.
    nix::unistd::alarm::set(60);
    let mut wrong = String::new();
    for row in tables().iter().flat_map(|(_, rows)| rows) {
        let (case, call, expected) = (row.case, row.call, row.expected(backend));
        write!(io::stdout(), "\n{case}: {call}: ").expect("stdout");
        let outcome = (row.observe)();
        write!(io::stdout(), "{outcome}").expect("stdout");
        if outcome != expected && outcome != outcome::SKIPPED {
            wrong += &format!("\n{case}: {call}: expected {expected}, got {outcome}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const BEGIN: &str = "<!-- tables: written by tests/contract -->\n";
const END: &str = "<!-- end of tables -->";

#[cfg(all(target_os = "linux", not(pidwait_poll)))] // Elsewhere there are fewer rows.
#[test]
#[allow(clippy::print_stdout)] // The test harness captures it.
fn document_has_these_tables() {
    let tables = markdown();
    print!("{tables}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/contract.md");
    let Ok(document) = fs::read_to_string(path) else {
        return common::skip("docs/contract.md is not on this machine");
    };
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (shown, after) = rest.split_once(END)?;
        Some((before, shown, after))
    });
    let Some((before, shown, after)) = parts else {
        panic!("docs/contract.md must have the lines {BEGIN:?} and {END:?} around its tables");
    };
    if std::env::var_os("PIDWAIT_UPDATE_CONTRACT").is_some_and(|value| value == "1") {
        let updated = format!("{before}{BEGIN}{tables}{END}{after}");
        return fs::write(path, updated).expect("docs/contract.md is writable");
    }
    assert!(
        shown == tables,
        "docs/contract.md differs from tests/contract; to update it, run \
         PIDWAIT_UPDATE_CONTRACT=1 cargo test --test contract"
    );
}

fn markdown() -> String {
    let mut text = String::new();
    for (title, rows) in tables() {
        text += &format!("\n### {title}\n\n| case | call | pidfd | waitpid |\n|---|---|---|---|\n");
        for row in rows {
            let (case, call) = (row.case, row.call);
            let [pidfd, waitpid] = row.expected;
            text += &format!("| {case} | {call} | {pidfd} | {waitpid} |\n");
        }
    }
    text + "\n"
}
