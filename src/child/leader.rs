//! std's `Child` as the leader of a process group.

use std::io;
use std::process::Child;

use nix::libc::{c_int, pid_t};

use super::reap::{open_child, pid_of, ChildWait};
use crate::backend::{Process, Seen};
use crate::group::Leader;
use crate::support::Backend;

pub(super) struct ChildLeader {
    pid: pid_t,
    process: Process,
    seen: Seen,
}

impl ChildLeader {
    pub(super) fn open(child: &Child) -> io::Result<Self> {
        let pid = pid_of(child)?;
        let (process, seen) = open_child(child)?;
        Ok(Self { pid, process, seen })
    }
}

impl Leader for ChildLeader {
    fn pid(&self) -> pid_t {
        self.pid
    }

    fn backend(&self) -> Backend {
        self.process.backend()
    }

    fn check_waitable(&mut self) -> io::Result<()> {
        Ok(self.process.peek(&mut self.seen).map(drop)?)
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

/// A child whose output is captured.
impl Leader for ChildWait<'_> {
    fn pid(&self) -> pid_t {
        pid_of(self.child()).unwrap_or(0) // It was opened by its PID.
    }

    fn backend(&self) -> Backend {
        self.pidfd().map_or(Backend::Waitpid, |_| Backend::Pidfd)
    }

    fn check_waitable(&mut self) -> io::Result<()> {
        self.peek().map(drop)
    }

    fn has_exited(&mut self) -> nix::Result<bool> {
        let (process, seen) = self.opened()?;
        process.has_exited(seen)
    }

    fn signal(&mut self, signal: c_int) -> nix::Result<()> {
        let (process, seen) = self.opened()?;
        process.signal(seen, signal)
    }

    fn signal_group(&mut self, signal: c_int) -> nix::Result<()> {
        let (process, seen) = self.opened()?;
        process.signal_group(seen, signal)
    }
}
