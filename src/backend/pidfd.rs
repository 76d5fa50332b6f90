// Tests: tests/it/from_pidfd.rs, tests/it/seccomp.rs, src/sys/model/tests.rs

//! By descriptor: a pidfd never refers to another process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, WEXITED, WNOHANG, WNOWAIT};

use crate::engine::Timeout;
use crate::errno::{esrch_to_echild, is_denied};
use crate::exit::{Event, ResourceUsage};
use crate::support::unsupported;
use crate::sys::{self, Arc, Pidfd, PidfdInfo};

#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// A call that blocks on the descriptor shares it, so that it stays open.
    fd: Arc<Pidfd>,
    pid: pid_t,
}

impl Process {
    pub(crate) fn open(pid: pid_t) -> nix::Result<Self> {
        match sys::pidfd_open(pid) {
            Ok(fd) => Ok(Self {
                fd: Arc::new(fd),
                pid,
            }),
            // The ID of a thread that is not a process (ENOENT on newer kernels), or a process that
            // is just being reaped: `kill` tells which.
            Err(Errno::EINVAL | Errno::ENOENT) => match sys::kill(pid, 0) {
                Err(Errno::ESRCH) => Err(Errno::ESRCH),
                Ok(()) | Err(_) => Err(Errno::EINVAL),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Takes over a pidfd that the caller opened, and reads its PID.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<(Self, pid_t)> {
        let fd = sys::adopt(fd);
        let pid = read_pid(&fd)?;
        let fd = Arc::new(fd);
        Ok((Self { fd, pid }, pid))
    }

    #[cfg(test)]
    pub(super) fn fork(&self) -> Self {
        Self {
            fd: Arc::new((*self.fd).clone()),
            pid: self.pid,
        }
    }

    pub(crate) fn fd(&self) -> &Arc<Pidfd> {
        &self.fd
    }

    pub(crate) fn try_reap(&self, usage: Option<&mut ResourceUsage>) -> nix::Result<Event> {
        sys::waitid_pidfd(&self.fd, WEXITED | WNOHANG, usage)
    }

    pub(crate) fn peek(&self, usage: Option<&mut ResourceUsage>) -> nix::Result<Event> {
        sys::waitid_pidfd(&self.fd, WEXITED | WNOHANG | WNOWAIT, usage)
    }

    /// While a thread other than the main thread execs, the kernel may report an exit for a moment.
    /// Two checks in a row do not both see it.
    pub(crate) fn has_exited(&self) -> nix::Result<bool> {
        Ok(sys::is_readable(&*self.fd)? && sys::is_readable(&*self.fd)?)
    }

    /// Until the kernel reports an exit: the caller checks for it.
    pub(crate) fn block(&self, deadline: Option<Instant>) -> nix::Result<bool> {
        sys::poll_readable(&*self.fd, deadline)
    }

    pub(crate) fn signal(&self, signal: c_int) -> nix::Result<()> {
        esrch_to_echild(sys::pidfd_send_signal(&self.fd, signal, 0))
    }

    pub(crate) fn signal_group(&self, signal: c_int) -> nix::Result<()> {
        match sys::pidfd_send_signal(&self.fd, signal, sys::SIGNAL_PROCESS_GROUP) {
            // No process is in the group that it would lead: it leads none, or all are gone.
            Err(Errno::ESRCH) => self.check_unreaped().and(Err(Errno::ESRCH)),
            // A kernel before 6.9, or an invalid signal; the fallback tells which.
            Err(Errno::EINVAL) => self.signal_group_by_pid(signal),
            sent => sent,
        }
    }

    /// From Linux 6.9 on. An older kernel refuses the flag, whatever the signal.
    pub(crate) fn group_outlives_leader(&self) -> bool {
        sys::pidfd_send_signal(&self.fd, 0, sys::SIGNAL_PROCESS_GROUP) != Err(Errno::EINVAL)
    }

    fn signal_group_by_pid(&self, signal: c_int) -> nix::Result<()> {
        // Until it is reaped, its PID is not reused, and only this process can have made a group with
        // that number.
        self.check_unreaped()?;
        match sys::kill_group(self.pid, signal) {
            // It leads no group, or was reaped after the check.
            Err(Errno::ESRCH) => self.check_unreaped().and(Err(Errno::ESRCH)),
            sent => sent,
        }
    }

    fn check_unreaped(&self) -> nix::Result<()> {
        match self.signal(0) {
            Err(errno) if is_denied(errno) => Ok(()),
            result => result,
        }
    }

    pub(crate) fn exit_record(&self) -> Option<ExitStatus> {
        let info = sys::pidfd_info(&self.fd, sys::INFO_EXIT).ok()?;
        if let Some(status) = recorded(&info) {
            return Some(status);
        }
        // While another wait reaps a child, waits fail with ECHILD a moment before there is a record.
        if info.ppid == std::process::id() && self.peek(None) == Err(Errno::ECHILD) {
            let deadline = Timeout::after(REAPED_WITHIN).deadline();
            sys::poll_reaped(&self.fd, deadline).ok()?;
            return recorded(&sys::pidfd_info(&self.fd, sys::INFO_EXIT).ok()?);
        }
        None
    }
}

/// The longest time between the ECHILD of other waits and the record. If `waitid` fails with ECHILD
/// for another reason, the call waits for this long and finds no record.
const REAPED_WITHIN: Duration = Duration::from_millis(100);

/// The status in the record, if there is one.
fn recorded(info: &PidfdInfo) -> Option<ExitStatus> {
    // For a running process and for a zombie the field is 0, and the bit is not set.
    if info.mask & sys::INFO_EXIT == 0 {
        return None;
    }
    Event::from_wait_status(info.exit_code).exited()
}

/// The PID behind a descriptor that may be a pidfd.
fn read_pid(fd: &Pidfd) -> io::Result<pid_t> {
    let pid = match sys::pidfd_info(fd, 0) {
        Ok(info) => pid_t::try_from(info.tgid).unwrap_or(0),
        Err(_) => match sys::pidfd_send_signal(fd, 0, 0) {
            Err(Errno::ESRCH) => return Err(Errno::ECHILD.into()),
            Err(Errno::EBADF) => return Err(invalid(fd, "is not a pidfd")),
            // A kernel before 6.13, a process of another PID namespace, or a directory of /proc,
            // which the call accepts for a pidfd.
            Ok(()) | Err(_) => {
                pid_in_fdinfo(&own_fdinfo(fd)?).ok_or_else(|| invalid(fd, "is not a pidfd"))?
            }
        },
    };
    match pid {
        -1 => Err(Errno::ECHILD.into()),
        0 => Err(invalid(
            fd,
            "refers to a process outside this PID namespace",
        )),
        _ if sys::is_thread_pidfd(fd)? => Err(invalid(fd, "refers to a thread, not to a process")),
        pid => Ok(pid),
    }
}

/// Reads `fdinfo`, whose PID is that of the PID namespace of the mounted `/proc`.
fn own_fdinfo(fd: &Pidfd) -> io::Result<String> {
    if !sys::proc_is_own()? {
        let text = format!(
            "cannot read the PID of pidfd {}: this kernel has no PIDFD_GET_INFO, and /proc is \
             missing or belongs to another PID namespace (mount a new proc file system on \
             it)",
            fd.as_raw_fd()
        );
        return Err(unsupported(text));
    }
    sys::fdinfo(fd)
}

fn pid_in_fdinfo(text: &str) -> Option<pid_t> {
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    pid.trim().parse().ok()
}

fn invalid(fd: &Pidfd, why: &str) -> io::Error {
    let text = format!("descriptor {} {why}", fd.as_raw_fd());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
