//! Shared by the examples: names of signals, descriptions of statuses, and durations.

#![allow(dead_code)] // Each example uses a part.

use std::env;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc::{self, c_int};
use nix::sys::signal::Signal;

/// Whether the first argument asks for the usage, for examples that have no other option.
pub(crate) fn asks_for_help() -> bool {
    env::args_os()
        .nth(1)
        .is_some_and(|word| word == "-h" || word == "--help")
}

/// Prints the usage, and returns the exit code for it.
pub(crate) fn print_usage(usage: &str) -> u8 {
    // The reader may have closed the pipe, which is no failure.
    let _ = io::stdout().write_all(usage.as_bytes());
    0
}

/// Describes how a process ended.
pub(crate) fn describe(status: ExitStatus) -> String {
    let core = if status.core_dumped() {
        ", core dumped"
    } else {
        ""
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by {}{core}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

/// The exit code that a shell has in `$?` after a command with that status.
pub(crate) fn shell_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// The exit code of a shell that could not start a command.
pub(crate) fn shell_code_of_failure(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }
}

/// Returns the name of a signal, such as SIGTERM or SIGRTMIN+3, or its number if it has no name.
pub(crate) fn signal_name(signal: c_int) -> String {
    if let Ok(signal) = Signal::try_from(signal) {
        return signal.as_str().to_owned();
    }
    let real_time = real_time_signals();
    match signal - real_time.start() {
        0 => "SIGRTMIN".to_owned(),
        more if real_time.contains(&signal) => format!("SIGRTMIN+{more}"),
        _ => format!("signal {signal}"),
    }
}

/// Parses a signal, by number or by name: 9, KILL, SIGKILL, RTMIN+3.
pub(crate) fn parse_signal(text: &str) -> Result<c_int, &'static str> {
    let name = text.to_ascii_uppercase();
    let name = format!("SIG{}", name.strip_prefix("SIG").unwrap_or(&name));
    (0..=*real_time_signals().end())
        .find(|&signal| text.parse() == Ok(signal) || name == signal_name(signal))
        .ok_or("there is no such signal")
}

/// Parses a number of seconds, or of the unit that follows: s, m, h or d. It may have a fraction.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let units = [('s', 1.0), ('m', 60.0), ('h', 3_600.0), ('d', 86_400.0)];
    let (number, unit) = units
        .into_iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))
        .unwrap_or((text, 1.0));
    match number.parse::<f64>() {
        Ok(0.0) => Ok(Duration::ZERO),
        // Never rounded down to 0, which can mean no limit. A number that is too large for a `Duration`
        // is the longest one.
        Ok(number) if number > 0.0 => Ok(Duration::try_from_secs_f64(number * unit)
            .unwrap_or(Duration::MAX)
            .max(Duration::from_nanos(1))),
        _ => Err("a duration is a number, optionally followed by s, m, h or d"),
    }
}

/// The signals without names of their own.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn real_time_signals() -> RangeInclusive<c_int> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Other systems name them differently or have none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn real_time_signals() -> RangeInclusive<c_int> {
    libc::SIGUSR2 + 1..=libc::SIGUSR2
}
