//! The benches: questions, each put to pidwait, to the raw system calls and to other crates.
//!
//! `cargo bench` asks all of them in at most 20 minutes, `cargo bench -- --quick` tries them in two,
//! and `cargo run -p pidwait-benches` writes the report from the last results.

#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // PIDs and errnos.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // Nanoseconds and counts.

mod api;
mod capture;
mod contender;
mod cost;
mod group;
mod harness;
mod multi;
mod one;
mod peers;
mod process;
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
        [one::EXIT_WHEN_TOLD] => one::exit_when_told(),
        [multi::TURN, contender, n] => multi::print_turn(contender, n),
        [group::TURN, contender, n] => group::print_turn(contender, n),
        [multi::background::TURN, contender, n] => multi::background::print_turn(contender, n),
        [cost::CALL, contender, call] => cost::print_call(contender, call),
        [cost::BYTES_EACH, contender, n] => multi::print_bytes_each(contender, n),
        _ => ask(&Bench::from_args()),
    }
}

fn ask(bench: &Bench) {
    // In a process with threads, every system call on a descriptor is slower. Some crates start
    // threads: with this one, the process has several for all contenders.
    thread::spawn(thread::park);
    one::ask(bench);
    group::ask(bench);
    capture::ask(bench);
    cost::ask(bench);
    multi::ask(bench);
}
