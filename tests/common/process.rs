//! What /proc says of a process, and waiting for what nobody reports.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Whether there is a process, zombie or not, of that pid.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The state letter of a process: R, S, T, t, Z.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    after_name(pid)?.chars().next()
}

/// Whether a process leads a process group.
pub(crate) fn leads_group(pid: u32) -> bool {
    // The state, the parent, the group.
    let group = after_name(pid).and_then(|stat| stat.split(' ').nth(2)?.parse().ok());
    group == Some(pid)
}

/// What `/proc/PID/stat` has behind the name of the program.
fn after_name(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next().map(str::to_owned)
}

/// Blocks until a process is in a certain state, such as T.
#[track_caller]
pub(crate) fn await_state(pid: u32, state: char) {
    eventually(&format!("{pid} in state {state}"), || {
        state_of(pid) == Some(state)
    });
}

/// Blocks until a process is gone, reaped by whoever does that.
#[track_caller]
pub(crate) fn await_gone(pid: u32) {
    eventually(&format!("{pid} gone"), || !exists(pid));
}

/// Comes back once something is so that nobody reports.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        thread::yield_now();
    }
}
