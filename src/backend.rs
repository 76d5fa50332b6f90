// Tests: tests/it/open.rs, tests/it/wait.rs, tests/it/signal.rs, src/sys/model/tests.rs

//! The two ways to reach a process, and the only place that tells them apart.
//!
//! A backend is a module with a type `Process`, which refers to one process and has a few primitives.
//! None of them fails with EINTR. Those that take `&mut Seen` never block; the caller holds the lock
//! of that state, or has a state of its own. The others may block, and are called without the lock.
//!
//! - `try_reap`: reaps the child if that is possible now. ECHILD: not a child, or reaped already.
//! - `reap_blocking`: blocks and reaps in one call. `None`: this backend has no such call.
//! - `peek`: returns what a wait would find, and reaps nothing. ECHILD as above.
//! - `has_exited`: for any process, child or not. Reaps nothing.
//! - `block_until_waitable`: blocks until `try_reap` may succeed.
//! - `block_until_exited`: blocks until `has_exited` may be true.
//! - `signal`, `signal_group`: ECHILD once the process is reaped; they never signal another process.
//!   ESRCH: it leads no group.
//! - `exit_record`: the wait status from the kernel's record, if there is one.

pub(crate) mod pidfd;
mod seen;
pub(crate) mod waitpid;

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::exit::{Event, ResourceUsage};
use crate::support::{self, Backend};
use crate::sys::Pidfd;

pub(crate) use seen::Seen;

/// One process, by whichever backend.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))] // For the copy in a forked process.
pub(crate) enum Process {
    Pidfd(pidfd::Process),
    Waitpid(waitpid::Process),
}

impl Process {
    /// Opens any process. ESRCH: no process has that PID.
    pub(crate) fn open(pid: pid_t, backend: Backend) -> nix::Result<(Self, Seen)> {
        match backend {
            Backend::Pidfd => {
                pidfd::Process::open(pid).map(|it| (Process::Pidfd(it), Seen::default()))
            }
            Backend::Waitpid => {
                waitpid::Process::open(pid).map(|(it, seen)| (Process::Waitpid(it), seen))
            }
        }
    }

    /// Opens an unreaped child of this process: by PID if no pidfd can be opened, which is as safe.
    /// ESRCH: the child was reaped already.
    pub(crate) fn open_child(pid: pid_t) -> nix::Result<(Self, Seen)> {
        if let Ok(Backend::Pidfd) = support::support().map(|support| support.backend()) {
            match Self::open(pid, Backend::Pidfd) {
                Err(errno) if errno != Errno::ESRCH => {}
                opened => return opened,
            }
        }
        let process = Process::Waitpid(waitpid::Process::of_child(pid));
        Ok((process, Seen::of_child()))
    }

    /// Takes over a pidfd that the caller opened, and returns the PID, too.
    pub(crate) fn from_pidfd(fd: OwnedFd) -> io::Result<(Self, pid_t)> {
        let (process, pid) = pidfd::Process::from_fd(fd)?;
        Ok((Process::Pidfd(process), pid))
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Process::Pidfd(_) => Backend::Pidfd,
            Process::Waitpid(_) => Backend::Waitpid,
        }
    }

    pub(crate) fn try_reap(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        match self {
            Process::Pidfd(process) => process.try_reap(usage),
            Process::Waitpid(process) => process.try_reap(seen, usage),
        }
    }

    pub(crate) fn reap_blocking(
        &self,
        usage: Option<&mut ResourceUsage>,
    ) -> Option<nix::Result<Event>> {
        match self {
            Process::Pidfd(process) => Some(process.reap_blocking(usage)),
            Process::Waitpid(_) => None,
        }
    }

    pub(crate) fn peek(&self, seen: &mut Seen) -> nix::Result<Event> {
        match self {
            Process::Pidfd(process) => process.peek(None),
            Process::Waitpid(process) => process.peek(seen),
        }
    }

    /// The same, with the usage of a zombie if [`sys::PEEK_HAS_USAGE`](crate::sys).
    pub(crate) fn peek_usage(
        &self,
        seen: &mut Seen,
        usage: &mut ResourceUsage,
    ) -> nix::Result<Event> {
        match self {
            Process::Pidfd(process) => process.peek(Some(usage)),
            Process::Waitpid(process) => process.peek_usage(seen, usage),
        }
    }

    pub(crate) fn has_exited(&self, seen: &mut Seen) -> nix::Result<bool> {
        match self {
            Process::Pidfd(process) => process.has_exited(),
            Process::Waitpid(process) => process.has_exited(seen),
        }
    }

    pub(crate) fn signal(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        match self {
            Process::Pidfd(process) => process.signal(signal),
            Process::Waitpid(process) => process.signal(seen, signal),
        }
    }

    pub(crate) fn signal_group(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        match self {
            Process::Pidfd(process) => process.signal_group(signal),
            Process::Waitpid(process) => process.signal_group(seen, signal),
        }
    }

    pub(crate) fn exit_record(&self) -> Option<ExitStatus> {
        match self {
            Process::Pidfd(process) => process.exit_record(),
            Process::Waitpid(_) => None,
        }
    }

    /// The pidfd, which is readable once the process has exited.
    pub(crate) fn pidfd(&self) -> Option<&Pidfd> {
        match self {
            Process::Pidfd(process) => Some(process.fd()),
            Process::Waitpid(_) => None,
        }
    }
}

/// System calls fail with ESRCH if the process is gone; this crate fails with ECHILD.
fn esrch_to_echild<T>(result: nix::Result<T>) -> nix::Result<T> {
    result.map_err(|errno| match errno {
        Errno::ESRCH => Errno::ECHILD,
        other => other,
    })
}
