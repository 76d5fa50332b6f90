// Tests: tests/it/process_group/terminate.rs, tests/contract/group.rs

//! A handle's process as the leader of a group. It holds a lease of the process, so the group's calls
//! continue if the handle is released.

use std::io;
use std::process::ExitStatus;

use nix::libc::{c_int, pid_t};

use super::{settle, Lease, PidHandle};
use crate::backend::{Process, Seen};
use crate::group::Leader;
use crate::support::Backend;

impl PidHandle {
    /// The process as the leader of a group.
    pub(crate) fn leader(&self) -> io::Result<HandleLeader<'_>> {
        let mut guard = self.shared.lock();
        guard.check_live()?;
        let lease = self.lease(&mut guard)?;
        Ok(HandleLeader {
            handle: self,
            lease,
        })
    }
}

pub(crate) struct HandleLeader<'a> {
    handle: &'a PidHandle,
    lease: Lease<'a>,
}

impl HandleLeader<'_> {
    /// Waits for the leader and reaps it, even if its handle was released meanwhile.
    pub(crate) fn wait(self) -> io::Result<ExitStatus> {
        self.handle.wait_leased(self.lease)
    }

    fn with<T>(
        &mut self,
        call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
    ) -> nix::Result<T> {
        let mut guard = self.handle.shared.lock();
        let result = call(&self.lease, &mut guard.seen);
        settle(guard, None);
        result
    }
}

impl Leader for HandleLeader<'_> {
    fn pid(&self) -> pid_t {
        pid_t::try_from(self.handle.pid).unwrap_or(0) // `open` has checked it.
    }

    fn backend(&self) -> Backend {
        self.handle.backend
    }

    fn check_waitable(&mut self) -> io::Result<()> {
        if self.handle.shared.lock().is_reaped_early() {
            return Ok(()); // The handle has its status.
        }
        Ok(self.with(|process, seen| process.peek(seen).map(drop))?)
    }

    fn has_exited(&mut self) -> nix::Result<bool> {
        self.with(|process, seen| process.has_exited(seen))
    }

    fn signal(&mut self, signal: c_int) -> nix::Result<()> {
        self.with(|process, seen| process.signal(seen, signal))
    }

    fn signal_group(&mut self, signal: c_int) -> nix::Result<()> {
        self.with(|process, seen| process.signal_group(seen, signal))
    }
}
