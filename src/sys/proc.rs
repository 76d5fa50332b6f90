// Tests: below, tests/it/identity.rs, tests/it/namespaces.rs, tests/it/process_group/wait.rs

//! Reads `/proc`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::str;

use nix::errno::Errno;
use nix::libc::pid_t;
use nix::unistd::gettid;
use nix::Result;

use super::proc_types::{Given, ProcStat};
use super::thread::start_thread;
use super::{errno_of, is_shortage};

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
    let stat = File::open(format!("/proc/{pid}/stat")).and_then(read_at_once);
    let text = stat.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::ESRCH,
        _ => errno_of(error),
    })?;
    parse_stat(&text).ok_or(Errno::EIO)
}

/// Reads a small file of `/proc` in one call. std would ask for its size, which is 0, and read by and by.
fn read_at_once(mut file: File) -> io::Result<Vec<u8>> {
    let mut text = vec![0; 1024]; // Longer than either of them.
    let length = loop {
        match file.read(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    text.truncate(length);
    Ok(text)
}

/// When this process was started, or forked.
pub(crate) fn own_start_time() -> Result<u64> {
    let pid = pid_t::try_from(std::process::id()).map_err(|_| Errno::EINVAL)?;
    Ok(proc_stat(pid)?.start_time)
}

/// Whether start times are shown with an offset, because this process is in a time namespace.
pub(crate) fn start_times_have_offset() -> bool {
    let text = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    has_boot_offset(&text)
}

fn has_boot_offset(text: &str) -> bool {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"));
    line.is_some_and(|line| line.split_ascii_whitespace().any(|field| field != "0"))
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

/// Which PIDs are given out from a moment on.
#[derive(Debug)]
pub(crate) struct NewPids {
    last: pid_t,
}

impl NewPids {
    /// EAGAIN: `/proc` does not tell, and no thread can be started to see its number.
    pub(crate) fn from_now() -> Result<Self> {
        let last = Newest::read()?.pid;
        Ok(Self { last })
    }

    /// So many of the PIDs that were given out before.
    pub(crate) fn before(&self, number: pid_t) -> Range<pid_t> {
        let end = self.last.saturating_add(1);
        end.saturating_sub(number).max(1)..end
    }

    /// The PIDs that were given out since the last call. EAGAIN: as for [`from_now`](Self::from_now).
    pub(crate) fn take(&mut self) -> Result<Given> {
        Newest::read().map(|newest| self.advance(newest))
    }

    fn advance(&mut self, newest: Newest) -> Given {
        const FEW: pid_t = 1000;
        let first = self.last.saturating_add(1);
        let end = newest.pid.saturating_add(pid_t::from(!newest.is_ours));
        self.last = newest.pid;
        match end.saturating_sub(first) {
            0 => Given::None,
            1..=FEW => Given::Few(first..end),
            _ => Given::Many,
        }
    }
}

struct Newest {
    pid: pid_t,
    /// It was given to a thread that was started to see its number, and that has ended.
    is_ours: bool,
}

impl Newest {
    fn read() -> Result<Self> {
        match last_in_loadavg() {
            Some(pid) => Ok(Self {
                pid,
                is_ours: false,
            }),
            None => Self::of_thread(),
        }
    }

    /// Thread IDs come from the same counter as PIDs.
    fn of_thread() -> Result<Self> {
        let thread = start_thread(gettid)?;
        let tid = thread.join().map_err(|_| Errno::EAGAIN)?; // It cannot panic.
        Ok(Self {
            pid: tid.as_raw(),
            is_ours: true,
        })
    }
}

/// `None` if `/proc/loadavg` is missing or does not tell.
fn last_in_loadavg() -> Option<pid_t> {
    let file = File::open("/proc/loadavg").ok()?;
    // lxcfs binds a file of its own over it, which lags behind.
    if file.metadata().ok()?.dev() != fs::metadata("/proc").ok()?.dev() {
        return None;
    }
    parse_loadavg(str::from_utf8(&read_at_once(file).ok()?).ok()?)
}

/// The last field. gVisor has 0 there.
fn parse_loadavg(text: &str) -> Option<pid_t> {
    let last = text.split_ascii_whitespace().nth(4)?;
    last.parse().ok().filter(|last| *last > 0)
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

pub(crate) const HAS_PROCFS: bool = true;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const REST: &str = "S 41 42 43 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 123456 1 2 3";

    #[test]
    fn stat_is_parsed_after_any_name() {
        let expected = Some(ProcStat {
            state: b'S',
            parent: 41,
            group: 42,
            threads: 9,
            start_time: 123_456,
        });
        for name in ["sh", "a b", ") Z 1 (", "((", "", ") R 1 1 1 1", "new\nline"] {
            let text = format!("40 ({name}) {REST}\n");
            assert_eq!(parse_stat(text.as_bytes()), expected, "{name:?}");
        }
        let not_utf8 = [b"40 (\xff\xfe) ", REST.as_bytes()].concat();
        assert_eq!(parse_stat(&not_utf8), expected);
    }

    #[test]
    fn incomplete_stat_is_refused() {
        let whole = format!("40 (sh) {REST}");
        let end = whole.find(" 123456").unwrap();
        for length in 0..=end {
            assert_eq!(parse_stat(&whole.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(parse_stat(b"40 (sh) S x 42 43"), None);
    }

    #[test]
    fn offset_of_a_time_namespace_is_that_of_the_boot_time() {
        assert!(!has_boot_offset(""));
        assert!(!has_boot_offset(
            "monotonic 7 0\nboottime           0         0\n"
        ));
        assert!(has_boot_offset(
            "monotonic 0 0\nboottime      864000         0\n"
        ));
        assert!(has_boot_offset(
            "monotonic 0 0\nboottime          -1 500000000\n"
        ));
    }

    #[test]
    fn last_field_of_loadavg_is_the_newest_pid() {
        let linux = "0.20 0.18 0.12 1/80 11206\n";
        assert_eq!(parse_loadavg(linux), Some(11_206));
        for other in [
            "0.00 0.00 0.00 0/0 0\n",
            "0.20 0.18 0.12 1/80\n",
            "",
            "1 2 3 4 x",
        ] {
            assert_eq!(parse_loadavg(other), None, "{other:?}");
        }
    }

    #[test]
    fn own_thread_is_no_new_pid() {
        let mut pids = NewPids { last: 100 };
        let thread = |pid| Newest { pid, is_ours: true };
        let process = |pid| Newest {
            pid,
            is_ours: false,
        };
        assert_eq!(pids.advance(process(100)), Given::None);
        assert_eq!(pids.advance(thread(101)), Given::None);
        assert_eq!(pids.advance(thread(104)), Given::Few(102..104));
        assert_eq!(pids.advance(process(106)), Given::Few(105..107));
        assert_eq!(pids.advance(process(1_106)), Given::Few(107..1_107));
        assert_eq!(pids.advance(process(2_107)), Given::Many);
        assert_eq!(pids.advance(thread(300)), Given::Many, "wrapped around");
        assert_eq!(pids.advance(thread(301)), Given::None);
    }

    #[test]
    fn new_child_is_among_the_new_pids() {
        for read in [Newest::read, Newest::of_thread] {
            let last = read().unwrap().pid;
            let mut pids = NewPids { last };
            let mut child = Command::new("true").spawn().unwrap();
            let given = pids.advance(read().unwrap());
            let pid = pid_t::try_from(child.id()).unwrap();
            child.wait().unwrap();
            match given {
                Given::Few(range) => assert!(range.contains(&pid), "{pid}: {range:?}"),
                Given::Many => {}
                Given::None => panic!("{pid} is not seen"),
            }
        }
    }
}
