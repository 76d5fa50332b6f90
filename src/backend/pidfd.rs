//! By descriptor: the kernel itself sees to it that no other process is ever meant.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, WEXITED, WNOHANG, WNOWAIT};

use super::{Limit, Pause};
use crate::exit::{Event, ResourceUsage};
use crate::sys::{self, Pidfd, PidfdInfo};

#[derive(Debug)]
pub(crate) struct Process {
    fd: Pidfd,
    pid: pid_t,
}

impl Process {
    pub(crate) fn open(pid: pid_t) -> nix::Result<Self> {
        match sys::pidfd_open(pid) {
            Ok(fd) => Ok(Self { fd, pid }),
            // A thread id that is no process; ENOENT on newer kernels. But a process that is just
            // going away is called so too, and that one can no longer be signalled either.
            Err(Errno::EINVAL | Errno::ENOENT) => match sys::kill(pid, 0) {
                Err(Errno::ESRCH) => Err(Errno::ESRCH),
                Ok(()) | Err(_) => Err(Errno::EINVAL),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Takes over a pidfd that somebody else opened, and finds its pid.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<(Self, pid_t)> {
        let fd = sys::adopt(fd);
        let pid = pid_of(&fd)?;
        Ok((Self { fd, pid }, pid))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn try_wait(
        &self,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Option<ExitStatus>> {
        Ok(sys::waitid_pidfd(&self.fd, WEXITED | WNOHANG, usage)?.exited())
    }

    pub(crate) fn wait(&self, mut usage: Option<&mut ResourceUsage>) -> nix::Result<ExitStatus> {
        match sys::waitid_pidfd(&self.fd, WEXITED, usage.as_deref_mut()) {
            Ok(Event::Exited(status)) => return Ok(status),
            // A trace stop, or a non-blocking descriptor: wait for the exit alone.
            Ok(Event::Running | Event::Trapped) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        self.wait_exited(None)?;
        let mut pause = Pause::new();
        loop {
            if let Some(status) = self.try_wait(usage.as_deref_mut())? {
                return Ok(status);
            }
            // A tracer holds the zombie.
            pause.take(None);
        }
    }

    pub(crate) fn look(&self) -> nix::Result<Event> {
        self.look_at_usage(None)
    }

    pub(crate) fn zombie_usage(&self) -> Option<ResourceUsage> {
        let mut usage = ResourceUsage::default();
        let event = self.look_at_usage(Some(&mut usage)).ok()?;
        event.exited().map(|_| usage)
    }

    fn look_at_usage(&self, usage: Option<&mut ResourceUsage>) -> nix::Result<Event> {
        sys::waitid_pidfd(&self.fd, WEXITED | WNOHANG | WNOWAIT, usage)
    }

    pub(crate) fn look_until_reapable(&self, limit: Limit) -> nix::Result<bool> {
        if let Limit::Never = limit {
            // One call for the common case, and the kernel's own word on whose child it is.
            if let Event::Exited(_) = sys::waitid_pidfd(&self.fd, WEXITED | WNOWAIT, None)? {
                return Ok(true);
            }
        }
        let deadline = limit.deadline();
        if !self.wait_exited(deadline)? {
            return Ok(false);
        }
        let mut pause = Pause::new();
        while self.look()?.exited().is_none() {
            if !pause.take(deadline) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn wait_exited(&self, deadline: Option<Instant>) -> nix::Result<bool> {
        sys::poll_readable(&self.fd, deadline)
    }

    pub(crate) fn signal(&self, signal: c_int) -> nix::Result<()> {
        gone_is_echild(sys::pidfd_send_signal(&self.fd, signal, 0))
    }

    pub(crate) fn signal_group(&self, signal: c_int) -> nix::Result<()> {
        match sys::pidfd_send_signal(&self.fd, signal, sys::SIGNAL_PROCESS_GROUP) {
            // Nobody is in the group that it would lead: it leads none, or all are gone.
            Err(Errno::ESRCH) => self.signal(0).and(Err(Errno::EINVAL)),
            // Before 6.9. An impossible signal looks the same, and will once more.
            Err(Errno::EINVAL) => self.signal_group_by_pid(signal),
            sent => sent,
        }
    }

    fn signal_group_by_pid(&self, signal: c_int) -> nix::Result<()> {
        // Unreaped, its pid and with it the name of its group are still its own.
        self.signal(0).or_else(|errno| match errno {
            Errno::EPERM => Ok(()),
            _ => Err(errno),
        })?;
        if !gone_is_echild(sys::leads_group(self.pid))? {
            return Err(Errno::EINVAL);
        }
        gone_is_echild(sys::kill_group(self.pid, signal))
    }

    pub(crate) fn exit_record(&self) -> Option<ExitStatus> {
        let info = sys::pidfd_info(&self.fd, sys::INFO_EXIT).ok()?;
        if let Some(status) = recorded(&info) {
            return Some(status);
        }
        // Waits know of no such child a moment before the record is there: it is being reaped.
        if info.ppid == std::process::id() && self.look() == Err(Errno::ECHILD) {
            let limit = Limit::after(REAPED_WITHIN);
            sys::poll_reaped(&self.fd, limit.deadline()).ok()?;
            return recorded(&sys::pidfd_info(&self.fd, sys::INFO_EXIT).ok()?);
        }
        None
    }
}

/// How long a child may at most be on its way from its reaper's hands out of the kernel's books.
/// One that `waitid` does not own to for other reasons (cloned with no SIGCHLD for us) costs that.
const REAPED_WITHIN: Duration = Duration::from_millis(100);

/// The status in the record, if there is one.
fn recorded(info: &PidfdInfo) -> Option<ExitStatus> {
    // Of a running process and of a zombie the field is there too, and says 0.
    if info.mask & sys::INFO_EXIT == 0 {
        return None;
    }
    Event::from_wait_status(info.exit_code).exited()
}

/// The kernel's ESRCH and its ECHILD are one answer here.
fn gone_is_echild<T>(result: nix::Result<T>) -> nix::Result<T> {
    result.map_err(|errno| match errno {
        Errno::ESRCH => Errno::ECHILD,
        other => other,
    })
}

/// The pid behind a descriptor that is said to be a pidfd.
fn pid_of(fd: &Pidfd) -> io::Result<pid_t> {
    let pid = match sys::pidfd_info(fd, 0) {
        Ok(info) => pid_t::try_from(info.tgid).unwrap_or(0),
        // Before 6.13, reaped, or no pidfd at all; this page tells them apart.
        Err(_) => pid_in_fdinfo(&sys::fdinfo(fd)?).ok_or_else(|| invalid(fd, "is not a pidfd"))?,
    };
    match pid {
        -1 => Err(Errno::ECHILD.into()),
        0 => Err(invalid(fd, "is of a process in another pid namespace")),
        _ if sys::is_of_a_thread(fd)? => Err(invalid(fd, "is of a thread, not of a process")),
        pid => Ok(pid),
    }
}

fn pid_in_fdinfo(text: &str) -> Option<pid_t> {
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    pid.trim().parse().ok()
}

fn invalid(fd: &Pidfd, why: &str) -> io::Error {
    let text = format!("descriptor {} {why}", fd.as_raw_fd());
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
