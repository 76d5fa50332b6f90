//! Sections 3 and 4 of the contract, row by row: what each call answers in each case.
//!
//! Every row is tried on both backends, and the README shows the same table. After a change of a
//! row, `PIDWAIT_UPDATE_README=1 cargo test --test contract` writes it there.

#[path = "../common/mod.rs"]
mod common;

mod answer;
mod cases;
mod child;
mod handle;
mod others;

use std::fs;
use std::io::{self, Write};

use common::isolated;

/// One row of the table.
struct Row {
    case: &'static str,
    call: &'static str,
    /// What the contract says: by pidfd, by waitpid.
    must: [&'static str; 2],
    /// Makes the case, does the call by the backend that the environment names, and says what the
    /// answer was, or [`answer::NOT_HERE`].
    observe: fn() -> String,
}

fn row(
    case: &'static str,
    call: &'static str,
    must: [&'static str; 2],
    observe: fn() -> String,
) -> Row {
    Row {
        case,
        call,
        must,
        observe,
    }
}

/// The same by both backends, as nearly everything is.
fn both(answer: &'static str) -> [&'static str; 2] {
    [answer; 2]
}

const BACKENDS: [&str; 2] = ["pidfd", "waitpid"];

fn tables() -> [(&'static str, Vec<Row>); 3] {
    [
        ("`PidHandle`: waits, signals, release", handle::rows()),
        ("`PidHandle`: everything else", others::rows()),
        ("`ChildExt`", child::rows()),
    ]
}

#[test]
fn pidfd() {
    column(0);
}

#[test]
fn waitpid() {
    column(1);
}

/// Tries every row by one backend, in a process of its own: the backend is chosen once in a
/// process, and some cases change all of it.
fn column(backend: usize) {
    let name = BACKENDS[backend];
    if isolated::current_part().is_none() {
        if common::all_backends().iter().any(|b| b.to_string() == name) {
            isolated::run_isolated(name, "column", |command| {
                command.env("PIDWAIT_BACKEND", name);
            });
        }
        return;
    }
    // Should a row block for good, this ends it, and that row was said last.
    nix::unistd::alarm::set(60);
    let mut wrong = String::new();
    for row in tables().iter().flat_map(|(_, rows)| rows) {
        let (case, call, must) = (row.case, row.call, row.must[backend]);
        write!(io::stdout(), "\n{case}: {call}: ").expect("stdout");
        let answer = (row.observe)();
        write!(io::stdout(), "{answer}").expect("stdout");
        if answer != must && answer != answer::NOT_HERE {
            wrong += &format!("\n{case}: {call}: must be {must}, is {answer}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const BEGIN: &str = "<!-- contract table -->\n";
const END: &str = "<!-- end of contract table -->";

#[test]
#[allow(clippy::print_stdout)] // The test harness keeps it unless it is asked for.
fn readme_shows_the_table() {
    let table = markdown();
    print!("{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let Ok(readme) = fs::read_to_string(path) else {
        return common::skip("there is no README.md here");
    };
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (shown, after) = rest.split_once(END)?;
        Some((before, shown, after))
    });
    let Some((before, shown, after)) = parts else {
        panic!("README.md must have the lines {BEGIN:?} and {END:?} around its table of answers");
    };
    if std::env::var_os("PIDWAIT_UPDATE_README").is_some_and(|wish| wish == "1") {
        let written = format!("{before}{BEGIN}{table}{END}{after}");
        return fs::write(path, written).expect("README.md can be written");
    }
    assert!(
        shown == table,
        "README.md shows another table than tests/contract has: \
         PIDWAIT_UPDATE_README=1 cargo test --test contract writes it"
    );
}

fn markdown() -> String {
    let mut text = String::new();
    for (title, rows) in tables() {
        text += &format!("\n{title}:\n\n| case | call | pidfd | waitpid |\n|---|---|---|---|\n");
        for row in rows {
            let (case, call) = (row.case, row.call);
            let [pidfd, waitpid] = row.must;
            text += &format!("| {case} | {call} | {pidfd} | {waitpid} |\n");
        }
    }
    text + "\n"
}
