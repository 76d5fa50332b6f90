//! Process states from /proc, and polling for conditions that have no event to wait for.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::libc;

#[cfg(not(target_os = "linux"))]
use super::{exists, state_of};

/// Returns whether a process with this PID exists, as a zombie or not.
#[cfg(target_os = "linux")]
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns the state letter of a process: R, S, T, t, Z.
#[cfg(target_os = "linux")]
pub(crate) fn state_of(pid: u32) -> Option<char> {
    after_name(pid)?.chars().next()
}

/// Returns whether a process leads a process group.
#[cfg(target_os = "linux")]
pub(crate) fn leads_group(pid: u32) -> bool {
    // The fields are the state, the parent and the group.
    let group = after_name(pid).and_then(|stat| stat.split(' ').nth(2)?.parse().ok());
    group == Some(pid)
}

/// Returns the fields of `/proc/PID/stat` after the program name.
#[cfg(target_os = "linux")]
fn after_name(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next().map(str::to_owned)
}

/// Returns whether a process of the group is alive. Zombies are not.
#[cfg(target_os = "linux")]
pub(crate) fn has_living_member(group: u32) -> bool {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            return false;
        };
        // Most are of other groups, and the kernel takes long to write their `stat`.
        group_of(pid) == Some(group) && !matches!(state_of(pid), None | Some('Z'))
    })
}

/// Returns the process group of a process, which can be a zombie.
#[cfg(target_os = "linux")]
fn group_of(pid: u32) -> Option<u32> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: the call takes an integer.
    u32::try_from(unsafe { libc::getpgid(pid) }).ok()
}

/// Returns how many threads this process has.
#[cfg(target_os = "linux")]
pub(crate) fn thread_count() -> usize {
    thread_ids().len()
}

#[cfg(target_os = "linux")]
pub(crate) fn thread_ids() -> Vec<libc::pid_t> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc");
    let names = tasks.map(|task| task.expect("a thread").file_name());
    let ids = names.map(|name| name.to_string_lossy().parse().expect("a thread ID"));
    ids.collect()
}

/// Blocks until a process is in a state, such as T.
#[track_caller]
pub(crate) fn await_state(pid: u32, state: char) {
    eventually(&format!("{pid} in state {state}"), || {
        state_of(pid) == Some(state)
    });
}

/// Blocks until a process no longer exists, because another process or the kernel has reaped it.
#[track_caller]
pub(crate) fn await_gone(pid: u32) {
    eventually(&format!("{pid} gone"), || !exists(pid));
}

/// Polls until a condition holds. Panics after 30 seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        // Not a yield: what is waited for needs the processor.
        thread::sleep(Duration::from_micros(200));
    }
}

/// Times for a test in which something must happen before a time is over: it tries the next one, five times
/// as long, when the machine was too slow. Panics after four.
pub(crate) fn longer_each_time(first: Duration) -> impl Iterator<Item = Duration> {
    (0..4)
        .map(move |tries| first * 5_u32.pow(tries))
        .chain(std::iter::from_fn(|| {
            panic!("the machine was too slow each time")
        }))
}
