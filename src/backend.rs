// Tests: tests/it/open.rs, tests/it/signal.rs, tests/contract/, src/sys/model/tests.rs

//! The two ways to reach a process, and the only place that tells them apart.
//!
//! A backend is a module with a type `Process`, which refers to one process and has a few primitives.
//! None of them fails with EINTR. Those that take `&mut Seen` never block; the caller holds the lock
//! of that state, or has a state of its own. The others may block, and are called without the lock.
//!
//! - `try_reap`: reaps the child if that is possible now. ECHILD: not a child, or reaped already.
//! - `peek`: returns what a wait would find, and reaps nothing. ECHILD as above.
//! - `has_exited`: for any process, child or not. Reaps nothing.
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
use crate::sys::{Arc, Pidfd};

pub(crate) use seen::Seen;

/// One process, by whichever backend. Clones share the descriptor.
#[derive(Clone, Debug)]
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

    /// Opens an unreaped child by PID, which needs no descriptor. ECHILD: it is none.
    pub(crate) fn open_child_by_pid(pid: pid_t) -> nix::Result<(Self, Seen)> {
        waitpid::Process::open_if_child(pid).map(|(it, seen)| (Process::Waitpid(it), seen))
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

    #[inline]
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

    /// With the usage of a zombie, where the system tells it.
    pub(crate) fn peek(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        match self {
            Process::Pidfd(process) => process.peek(usage),
            Process::Waitpid(process) => process.peek(seen, usage),
        }
    }

    /// Called when the status of a zombie was given out, and the zombie is kept.
    pub(crate) fn note_kept(&self, seen: &mut Seen) {
        match self {
            Process::Pidfd(_) => {}
            Process::Waitpid(process) => process.note_kept(seen),
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

    /// Whether the group can be signalled once other code has reaped its leader.
    pub(crate) fn group_outlives_leader(&self) -> bool {
        match self {
            Process::Pidfd(process) => process.group_outlives_leader(),
            Process::Waitpid(_) => false,
        }
    }

    pub(crate) fn exit_record(&self) -> Option<ExitStatus> {
        match self {
            Process::Pidfd(process) => process.exit_record(),
            Process::Waitpid(_) => None,
        }
    }

    /// The pidfd, which is readable once the process has exited.
    pub(crate) fn pidfd(&self) -> Option<&Arc<Pidfd>> {
        match self {
            Process::Pidfd(process) => Some(process.fd()),
            Process::Waitpid(_) => None,
        }
    }

    /// The process as a process that is forked now has it: with a descriptor of its own.
    #[cfg(test)]
    pub(crate) fn fork(&self) -> Self {
        match self {
            Process::Pidfd(process) => Process::Pidfd(process.fork()),
            Process::Waitpid(process) => Process::Waitpid(process.clone()),
        }
    }
}
