//! Turns and calls that are made in a process of their own: this program again, with arguments that
//! name what it does. It prints numbers.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The name of a contender, and what the process of one of its turns does.
pub(crate) type Turn = (&'static str, fn(usize) -> f64);

/// Makes the turn of a contender in this process, and prints its value.
pub(crate) fn print_turn(turns: &[Turn], contender: &str, n: &str) {
    let found = turns.iter().find(|(name, _)| *name == contender);
    let (_, turn) = found.expect("the name of a contender");
    println!("{}", turn(n.parse().expect("a number")));
}

pub(crate) fn path_of_this_program() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

pub(crate) fn this_program(args: &[&str]) -> Command {
    let mut command = Command::new(path_of_this_program());
    command.args(args);
    command
}

/// Runs a program, and returns the number that it prints.
pub(crate) fn run(command: &mut Command) -> f64 {
    match run_for_numbers(command)[..] {
        [number] => number,
        ref numbers => panic!("not one number: {numbers:?}"),
    }
}

/// Runs a program, and returns the numbers that it prints.
pub(crate) fn run_for_numbers(command: &mut Command) -> Vec<f64> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.split_whitespace().map(str::parse);
    numbers.collect::<Result<_, _>>().expect("numbers")
}

/// A number in `/proc/self/status`.
pub(crate) fn status_field(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|it| it.parse().ok()).expect("a number")
}
