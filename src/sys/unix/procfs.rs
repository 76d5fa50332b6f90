// Tests: tests/it/identity.rs, tests/it/namespaces.rs, tests/it/process_group/wait.rs

//! Reads `/proc`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::str;

use nix::errno::Errno;
use nix::libc::pid_t;
use nix::Result;

use super::{errno_of, is_shortage};

/// Some fields of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcStat {
    /// `R`, `S`, …; `Z` or `X` once the main thread has exited.
    pub(crate) state: u8,
    pub(crate) parent: pid_t,
    pub(crate) group: pid_t,
    pub(crate) threads: u64,
    /// Clock ticks from the boot to the start of the process.
    pub(crate) start_time: u64,
}

impl ProcStat {
    /// Whether the whole process has exited. If only its main thread has, the state is the same, but
    /// there are other threads.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// Whether `/proc` is mounted and belongs to our own PID namespace, so that its numbers are our PIDs.
/// EMFILE, ENFILE, ENOMEM: it cannot be read at the moment.
pub(crate) fn proc_is_own() -> Result<bool> {
    match fs::read_link("/proc/self") {
        Ok(link) => {
            let own = std::process::id().to_string();
            Ok(link.as_os_str().as_bytes() == own.as_bytes())
        }
        Err(error) => match errno_of(error) {
            errno if is_shortage(errno) => Err(errno),
            _ => Ok(false),
        },
    }
}

/// Reads `/proc/PID/stat`. ESRCH: there is no such entry. Any other error: `/proc` cannot be read.
///
/// A process whose main thread is released during the read shows no thread, and state X. Either it was
/// reaped, or another of its threads has just become the main one by an exec. So it is read again. Not
/// without a limit: an emulated `/proc` may show no thread ever.
pub(crate) fn proc_stat(pid: pid_t) -> Result<ProcStat> {
    const MOST: u32 = 10;
    let mut stat = read_stat(pid)?;
    for _ in 1..MOST {
        if stat.threads > 0 {
            break;
        }
        stat = read_stat(pid)?;
    }
    Ok(stat)
}

fn read_stat(pid: pid_t) -> Result<ProcStat> {
    let text = fs::read(format!("/proc/{pid}/stat")).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::ESRCH,
        _ => errno_of(error),
    })?;
    parse_stat(&text).ok_or(Errno::EIO)
}

/// The kernel's random ID of this boot, as text.
pub(crate) fn boot_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(errno_of)?;
    Ok(text.trim_end().to_owned())
}

/// The PIDs of all processes in `/proc`.
///
/// A process that exists during the whole call is in the list.
pub(crate) fn list_pids() -> Result<Vec<pid_t>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").map_err(errno_of)? {
        let name = entry.map_err(errno_of)?.file_name();
        // The other entries are not processes.
        pids.extend(name.to_str().and_then(|name| name.parse::<pid_t>().ok()));
    }
    Ok(pids)
}

/// The PID that was given out last in this PID namespace, to a process or to a thread: the last
/// field of `/proc/loadavg`.
pub(crate) fn last_pid() -> Result<pid_t> {
    let text = fs::read_to_string("/proc/loadavg").map_err(errno_of)?;
    let last = text.split_ascii_whitespace().next_back();
    last.and_then(|last| last.parse().ok()).ok_or(Errno::EIO)
}

fn parse_stat(text: &[u8]) -> Option<ProcStat> {
    // The second field is the program's name in parentheses, and may contain anything.
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace(); // The first is field 3.
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let threads = fields.nth(20 - 6)?.parse().ok()?;
    let start_time = fields.nth(22 - 21)?.parse().ok()?;
    Some(ProcStat {
        state,
        parent,
        group,
        threads,
        start_time,
    })
}
