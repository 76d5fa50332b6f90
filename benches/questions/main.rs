//! The benches: questions, each put to pidwait, to the raw system calls and to other crates.
//!
//! `cargo bench --all-features` asks all of them, `cargo bench -- --quick` tries them, and
//! `cargo run -p pidwait-benches` writes the report from the last results.

#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // PIDs and errnos.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // Nanoseconds and counts.

mod capture;
mod child;
mod counts;
mod harness;
mod many;
mod one;
mod raw;
mod sigchld;

use std::env;
use std::thread;

use harness::Bench;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // This program is also the children and the processes that it measures.
    match args.as_slice() {
        [one::EXIT_WHEN_TOLD, socket] => one::exit_when_told(socket),
        [many::TURN, question, contender, n] => many::print_turn(question, contender, n),
        [counts::CALL, task, contender] => counts::call(task, contender),
        _ => ask(&Bench::from_args()),
    }
}

fn ask(bench: &Bench) {
    // In a process with threads, every system call on a descriptor is slower. Some crates start
    // threads: with this one, the process has several for all contenders.
    thread::spawn(thread::park);
    one::ask(bench);
    capture::ask(bench);
    counts::ask(bench);
    many::ask(bench);
}
