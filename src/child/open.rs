// Tests: tests/it/child.rs, tests/it/timeout.rs

//! The process of a std `Child`, opened for calls that need more than its PID.

use std::io;
use std::process::Child;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use crate::backend::{Process, Seen};
use crate::exit::Event;
use crate::group::Leader;
use crate::support::Backend;

/// The process that has the child's PID: the child, as long as it is unreaped. A peek fails with
/// ECHILD if it is not a child.
pub(super) struct OpenChild {
    pid: pid_t,
    pub(super) process: Process,
    pub(super) seen: Seen,
}

impl OpenChild {
    pub(super) fn open(child: &Child) -> io::Result<Self> {
        let pid = pid_of(child)?;
        // It fails only if no process has the PID: then the child was reaped.
        let (process, seen) = Process::open_child(pid).map_err(|_| Errno::ECHILD)?;
        Ok(Self { pid, process, seen })
    }

    pub(super) fn peek(&mut self) -> nix::Result<Event> {
        self.process.peek(&mut self.seen)
    }
}

impl Leader for OpenChild {
    fn pid(&self) -> pid_t {
        self.pid
    }

    fn backend(&self) -> Backend {
        self.process.backend()
    }

    fn check_waitable(&mut self) -> io::Result<()> {
        Ok(self.peek().map(drop)?)
    }

    fn has_exited(&mut self) -> nix::Result<bool> {
        self.process.has_exited(&mut self.seen)
    }

    fn signal(&mut self, signal: c_int) -> nix::Result<()> {
        self.process.signal(&mut self.seen, signal)
    }

    fn signal_group(&mut self, signal: c_int) -> nix::Result<()> {
        self.process.signal_group(&mut self.seen, signal)
    }
}

pub(super) fn pid_of(child: &Child) -> io::Result<pid_t> {
    pid_t::try_from(child.id()).map_err(|_| Errno::ECHILD.into())
}
