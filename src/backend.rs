//! The two ways to reach a process, and the only place that tells them apart.
//!
//! A backend is a module with a `Process`: something that stands for one process, from its opening
//! on, and has these methods. None of them reports EINTR.
//!
//! - `open(pid)`: ESRCH where there is no such process.
//! - `try_wait(usage)`: reaps if that can be done now, and never blocks.
//! - `wait(usage)`: blocks until it has reaped. The kernel's ECHILD comes through, and a trace
//!   stop or a zombie that a tracer holds neither ends it nor makes it spin.
//! - `look()`: what there is to see; reaps nothing. ECHILD: no child of ours, or not any longer.
//! - `zombie_usage()`: what a zombie used, without reaping it, where the system can tell.
//! - `look_until_reapable(limit)`: blocks until `look` would say that it has exited, or ECHILD.
//! - `has_exited()`, `wait_exited(deadline)`: of any process, child or not. Reap nothing.
//! - `signal(signal)`, `signal_group(signal)`: ECHILD once it is gone, never a stranger.
//! - `exit_fd()`: a descriptor that is readable from the exit on.
//! - `pidfd()`: that descriptor, where it costs nothing.
//! - `exit_record()`: how it ended, from the kernel's own record, where there is one.
//! - `is_gone()`: nothing more is to be had of it, exit record included.

mod pidfd;
mod waitpid;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::exit::{Event, ResourceUsage};
use crate::probe;
use crate::sys::{self, Arc, Readable};

use waitpid::Relation;

/// How a handle reaches its process.
///
/// [`support`](crate::support) tells which of them new handles get, and
/// [`PidHandle::backend`](crate::PidHandle::backend) which one a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// By descriptor: [pidfd_open(2)], `waitid(P_PIDFD)`, [pidfd_send_signal(2)]. Linux 5.4 and
    /// later. The kernel itself keeps strangers out: a pidfd never comes to mean another process.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    Pidfd,
    /// By pid: [waitid(2)], `wait4` and [kill(2)]. Linux, Android, macOS and the BSDs. As safe for
    /// one's own children, whose pid is theirs until they are reaped; by pid alone for everybody
    /// else's processes.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    Waitpid,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Pidfd => "pidfd",
            Backend::Waitpid => "waitpid",
        })
    }
}

/// How long a wait may take. Every wait is one of these.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Try,
    Until(Instant),
    Never,
}

impl Limit {
    /// A limit that the clock cannot represent is none.
    pub(crate) fn after(timeout: Duration) -> Self {
        if timeout.is_zero() {
            return Limit::Try;
        }
        sys::now()
            .checked_add(timeout)
            .map_or(Limit::Never, Limit::Until)
    }

    /// As `poll` takes it: `None` never comes.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Limit::Try => Some(sys::now()),
            Limit::Until(deadline) => Some(deadline),
            Limit::Never => None,
        }
    }
}

/// The pauses between looks where no event can be had: 1 ms at first, then up to 50 ms.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

impl Pause {
    const LONGEST: Duration = Duration::from_millis(50);

    pub(crate) fn new() -> Self {
        Self(Duration::from_millis(1))
    }

    /// How long the next pause is to be, within the deadline; `None` once that has passed.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Option<Duration> {
        let pause = match deadline {
            None => self.0,
            Some(at) => self.0.min(at.saturating_duration_since(sys::now())),
        };
        self.0 = (self.0 * 2).min(Self::LONGEST);
        (!pause.is_zero()).then_some(pause)
    }

    /// When the next pause is to end, for a poll to take it.
    pub(crate) fn end(&mut self, deadline: Option<Instant>) -> Option<Instant> {
        let pause = self.next(deadline).unwrap_or_default();
        Limit::after(pause).deadline()
    }

    /// Takes the pause; false, at once, once the deadline has passed.
    pub(crate) fn take(&mut self, deadline: Option<Instant>) -> bool {
        let pause = self.next(deadline);
        pause.map(sys::sleep).is_some()
    }
}

/// One process, by whichever backend; a clone is the same one.
#[derive(Clone, Debug)]
pub(crate) enum Process {
    Pidfd(Arc<pidfd::Process>),
    Waitpid(Arc<waitpid::Process>),
}

impl Process {
    /// Any process, by the backend asked for. ESRCH: there is none of that pid.
    pub(crate) fn open(pid: pid_t, backend: Backend) -> nix::Result<Self> {
        match backend {
            Backend::Pidfd => pidfd::Process::open(pid).map(Process::by_pidfd),
            Backend::Waitpid => waitpid::Process::open(pid).map(Process::by_pid),
        }
    }

    fn by_pidfd(process: pidfd::Process) -> Self {
        Process::Pidfd(Arc::new(process))
    }

    fn by_pid(process: waitpid::Process) -> Self {
        Process::Waitpid(Arc::new(process))
    }

    /// A child of this process, by the backend that can be had: where a pidfd cannot be had just
    /// now, the pid of an unreaped child is as safe. ESRCH: it was reaped already.
    pub(crate) fn of_child(pid: pid_t) -> nix::Result<Self> {
        if let Ok(Backend::Pidfd) = probe::support().map(|support| support.backend()) {
            match Self::open(pid, Backend::Pidfd) {
                Err(Errno::ESRCH) => return Err(Errno::ESRCH),
                Err(_) => {}
                Ok(process) => return Ok(process),
            }
        }
        Ok(Self::by_pid(waitpid::Process::new(pid, Relation::Child)))
    }

    /// The process that a pidfd of the user's refers to, and its pid.
    pub(crate) fn from_pidfd(fd: OwnedFd) -> io::Result<(Self, pid_t)> {
        let (process, pid) = pidfd::Process::from_fd(fd)?;
        Ok((Self::by_pidfd(process), pid))
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Process::Pidfd(_) => Backend::Pidfd,
            Process::Waitpid(_) => Backend::Waitpid,
        }
    }

    /// Reaps within the limit: the one door of all waits. `None`: the time ran out.
    pub(crate) fn reap(
        &self,
        limit: Limit,
        mut usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Option<ExitStatus>> {
        let deadline = match limit {
            Limit::Try => return self.try_wait(usage),
            Limit::Never => return self.wait(usage).map(Some),
            Limit::Until(deadline) => Some(deadline),
        };
        if let Some(status) = self.try_wait(usage.as_deref_mut())? {
            return Ok(Some(status));
        }
        if !self.wait_exited(deadline)? {
            return Ok(None);
        }
        let mut pause = Pause::new();
        loop {
            if let Some(status) = self.try_wait(usage.as_deref_mut())? {
                return Ok(Some(status));
            }
            // Exited, and yet nothing to reap: a tracer holds the zombie.
            if !pause.take(deadline) {
                return Ok(None);
            }
        }
    }

    fn try_wait(&self, usage: Option<&mut ResourceUsage>) -> nix::Result<Option<ExitStatus>> {
        match self {
            Process::Pidfd(process) => process.try_wait(usage),
            Process::Waitpid(process) => process.try_wait(usage),
        }
    }

    fn wait(&self, usage: Option<&mut ResourceUsage>) -> nix::Result<ExitStatus> {
        match self {
            Process::Pidfd(process) => process.wait(usage),
            Process::Waitpid(process) => process.wait(usage),
        }
    }

    pub(crate) fn look(&self) -> nix::Result<Event> {
        match self {
            Process::Pidfd(process) => process.look(),
            Process::Waitpid(process) => process.look(),
        }
    }

    pub(crate) fn zombie_usage(&self) -> Option<ResourceUsage> {
        match self {
            Process::Pidfd(process) => process.zombie_usage(),
            Process::Waitpid(process) => process.zombie_usage(),
        }
    }

    pub(crate) fn look_until_reapable(&self, limit: Limit) -> nix::Result<bool> {
        match self {
            Process::Pidfd(process) => process.look_until_reapable(limit),
            Process::Waitpid(process) => process.look_until_reapable(limit),
        }
    }

    pub(crate) fn has_exited(&self) -> nix::Result<bool> {
        match self {
            Process::Pidfd(process) => process.wait_exited(Limit::Try.deadline()),
            Process::Waitpid(process) => process.has_exited(),
        }
    }

    pub(crate) fn wait_exited(&self, deadline: Option<Instant>) -> nix::Result<bool> {
        match self {
            Process::Pidfd(process) => process.wait_exited(deadline),
            Process::Waitpid(process) => process.wait_exited(deadline),
        }
    }

    pub(crate) fn signal(&self, signal: c_int) -> nix::Result<()> {
        match self {
            Process::Pidfd(process) => process.signal(signal),
            Process::Waitpid(process) => process.signal(signal),
        }
    }

    pub(crate) fn signal_group(&self, signal: c_int) -> nix::Result<()> {
        match self {
            Process::Pidfd(process) => process.signal_group(signal),
            Process::Waitpid(process) => process.signal_group(signal),
        }
    }

    pub(crate) fn exit_fd(&self) -> nix::Result<ExitFd> {
        match self {
            Process::Pidfd(process) => Ok(ExitFd(Source::Pidfd(Arc::clone(process)))),
            Process::Waitpid(process) => Ok(ExitFd(Source::Watcher(process.exit_fd()?))),
        }
    }

    /// The descriptor that tells of the exit, where there is one without a thread.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Process::Pidfd(process) => Some(process.as_fd()),
            Process::Waitpid(_) => None,
        }
    }

    pub(crate) fn exit_record(&self) -> Option<ExitStatus> {
        match self {
            Process::Pidfd(process) => process.exit_record(),
            Process::Waitpid(_) => None,
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Process::Pidfd(_) => false,
            Process::Waitpid(process) => process.is_gone(),
        }
    }
}

/// A descriptor that is readable once its process has exited, and stays so.
///
/// From [`PidHandle::exit_fd`](crate::PidHandle::exit_fd), for event loops of one's own: give it
/// to `poll`, `epoll` or a reactor, and wait for it to be readable (POLLIN). There is nothing to
/// read from it. It stays open and valid for as long as it or a clone of it lives, whatever
/// becomes of the handle; clones share one descriptor.
#[derive(Clone, Debug)]
pub struct ExitFd(Source);

#[derive(Clone, Debug)]
enum Source {
    Pidfd(Arc<pidfd::Process>),
    Watcher(Arc<Readable>),
}

impl AsFd for ExitFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Pidfd(process) => process.as_fd(),
            Source::Watcher(readable) => readable.as_fd(),
        }
    }
}

impl AsRawFd for ExitFd {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
