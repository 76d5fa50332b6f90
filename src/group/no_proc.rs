// Tests: tests/it/process_group/other_systems.rs

//! Whether a group has members, by repeated checks: for systems other than Linux.

use std::io;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::pid_t;

use super::Leader;
use crate::wait::poll_until;

/// A process group. Its members cannot be listed, so the leader's PID stands for all of them.
#[derive(Debug)]
pub(super) struct Members(());

impl Members {
    #[allow(clippy::unnecessary_wraps)] // On Linux it can fail.
    pub(super) fn of(_leader: &impl Leader) -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(super) fn first(&self, leader: &mut impl Leader) -> io::Result<Vec<pid_t>> {
        self.find(leader)
    }

    pub(super) fn find(&self, leader: &mut impl Leader) -> io::Result<Vec<pid_t>> {
        let is_alive = match leader.signal_group(0) {
            Ok(()) => true,
            // Only zombies are left, or only processes that may not be signalled.
            Err(Errno::EPERM) => !leader.has_exited()?,
            Err(Errno::ESRCH) => false,
            Err(errno) => return Err(errno.into()),
        };
        Ok(is_alive.then_some(leader.pid()).into_iter().collect())
    }

    pub(super) fn block(
        &self,
        leader: &mut impl Leader,
        _pids: &[pid_t],
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let found = poll_until(deadline, || -> io::Result<_> {
            Ok(self.find(leader)?.is_empty().then_some(()))
        })?;
        Ok(found.is_some())
    }
}
