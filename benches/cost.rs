//! What a call costs beyond its time. Run by `benches/syscalls.sh`; of itself it prints nothing.
//!
//! `cost call LINE CASE` makes one call between two marks, for strace to see, and says how many
//! threads are there afterwards. `cost crowd LINE N` waits for N children, and says how many bytes
//! of memory each of them has cost this process.

#![allow(clippy::print_stdout)] // For a script to read.

mod common;

use std::env;
use std::fs;
use std::mem::size_of;
use std::thread;
use std::time::Duration;

use nix::libc;

use common::crowds::{self, Crowd, Gate};
use common::lines::{
    BareExt, BarePidfd, BareWaitpid, Ext, Line, Pidfd, Signal, Std, Timed, TryWait, Waitpid,
};
use common::peers::{AsyncProcess, ProcessControl, Shared, Subprocess, Tokio, WaitTimeout};
use common::{bare, end, Program};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let known = match arguments.as_slice() {
        ["call", line, case] => call(line, case),
        ["crowd", line, n] => crowd(line, n.parse().expect("a number")),
        _ => {
            println!("This is for benches/syscalls.sh: it counts system calls, threads and bytes.");
            Some(())
        }
    };
    if known.is_none() {
        println!("-"); // That line cannot do it.
    }
}

/// Tries each line on the list, and gives what the one of that name gives.
macro_rules! of_name {
    ($name:expr, $run:ident($argument:expr): $($line:ty),* $(,)?) => {
        match $name {
            $(name if name == <$line>::NAME => Some($run::<$line>($argument)),)*
            _ => None,
        }
    };
}

fn call(line: &str, case: &str) -> Option<()> {
    match case {
        "wait" => of_name!(line, wait(true):
            BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
            Std, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio),
        "try_wait" => of_name!(line, try_wait(false):
            BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext,
            Std, Shared, Subprocess, AsyncProcess, Tokio),
        "signal" => of_name!(line, signal(false):
            BarePidfd, BareWaitpid, BareExt, Pidfd, Waitpid, Ext, Shared, Subprocess),
        "timed, exited" => of_name!(line, timed(true):
            BarePidfd, BareExt, Pidfd, Waitpid, Ext,
            WaitTimeout, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio),
        "timed, not" => of_name!(line, timed(false):
            BarePidfd, BareExt, Pidfd, Waitpid, Ext,
            WaitTimeout, Shared, ProcessControl, Subprocess, AsyncProcess, Tokio),
        _ => None,
    }
}

/// A child of each of the two kinds, one after the other: the first takes what a crate does once
/// in the life of a program, and the second is counted.
fn twice<L: Line>(exited: bool, mut run: impl FnMut(&mut L::Process)) {
    for last in [false, true] {
        let mut process = L::start(Program::sleeper());
        // Its own system calls are over by then.
        thread::sleep(Duration::from_millis(200));
        if exited {
            end(L::pid(&process));
        }
        if last {
            bare::mark();
        }
        run(&mut process);
        if last {
            bare::mark();
            println!("{}", in_status("Threads:"));
        }
        if !exited {
            end(L::pid(&process));
            L::wait(&mut process);
        }
    }
}

fn wait<L: Line>(exited: bool) {
    twice::<L>(exited, L::wait);
}

fn try_wait<L: TryWait>(exited: bool) {
    twice::<L>(exited, |process| assert_eq!(L::try_wait(process), exited));
}

fn signal<L: Signal>(exited: bool) {
    twice::<L>(exited, |process| L::signal(process, libc::SIGURG));
}

fn timed<L: Timed>(exited: bool) {
    let limit = Duration::from_millis(if exited { 60_000 } else { 20 });
    twice::<L>(exited, |process| {
        assert_eq!(L::wait_timeout(process, limit), exited);
    });
}

// ---- memory ----

fn crowd(line: &str, n: usize) -> Option<()> {
    if let Some(hindrance) = crowds::hindrance(n) {
        println!("no room for {n} processes: {hindrance}");
        return Some(());
    }
    of_name!(line, bytes_each(n):
        crowds::BareEpoll, crowds::Set, crowds::WaitAny, crowds::Threads, crowds::Tokio,
        crowds::AsyncProcess)
}

fn bytes_each<C: Crowd>(n: usize) {
    run_crowd::<C>(1); // What a crate needs once in the life of a program.
    fs::write("/proc/self/clear_refs", "5").expect("the peak is reset");
    let before = in_status("VmRSS:");
    run_crowd::<C>(n);
    let peak = in_status("VmHWM:").saturating_sub(before) * 1024;
    // The list of children is none of theirs.
    println!("{}", (peak / n).saturating_sub(size_of::<C::Child>()));
}

fn run_crowd<C: Crowd>(n: usize) {
    let gate = Gate::new();
    // All of them first: a fork is slow in a process that has thousands of threads.
    let children: Vec<_> = (0..n).map(|_| C::start(gate.sleeper())).collect();
    let mut crowd = C::new();
    for child in children {
        crowd.add(child);
    }
    drop(gate);
    for _ in 0..n {
        crowd.next();
    }
}

fn in_status(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).expect("a number")
}
