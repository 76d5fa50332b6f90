// Tests: tests/it/wait.rs, tests/it/race.rs, tests/it/usage.rs, src/sys/model/tests.rs

//! How a wait through a handle reaps: the handle's side of the wait engine.

use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::pid_t;

use super::{settle, Guard, Lease, Phase, PidHandle};
use crate::backend::{waitpid, Process};
use crate::exit::{Event, ResourceUsage};
use crate::support::{unsupported, Backend};
use crate::sys;
use crate::wait::{self, poll_until, Timeout, Waitable};

impl PidHandle {
    /// Reaps the child if it has exited, even if the handle is released: the caller holds a lease.
    pub(super) fn try_wait_released(&self) -> io::Result<Option<ExitStatus>> {
        let mut wait = HandleWait::new(self, None);
        wait.lease = self.lease(&mut self.shared.lock()).ok();
        wait.try_reap()
    }

    /// Waits for the child, as a wait that began when the lease was taken.
    pub(super) fn wait_leased<'a>(&'a self, lease: Lease<'a>) -> io::Result<ExitStatus> {
        let mut wait = HandleWait::new(self, None);
        wait.lease = Some(lease);
        wait::reap_unlimited(&mut wait)
    }

    pub(crate) fn reap(&self, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
        wait::reap(&mut HandleWait::new(self, None), timeout)
    }

    /// By PID: blocks in a peek, without the lock, until there is an exit.
    pub(super) fn block_by_pid(&self, guard: Guard<'_>, pid: pid_t) -> nix::Result<Event> {
        begin_blocking(guard);
        let found = waitpid::block_until_waitable(pid);
        let mut guard = self.end_blocking();
        let found = guard.seen.note(found);
        settle(guard, None);
        found
    }

    /// After ECHILD: another thread may have reaped and not stored the status yet. Waits until it has.
    /// By PID a reap stores it under the lock. In a forked process no other thread exists that could.
    pub(super) fn await_other_reaps<'a>(&self, guard: Guard<'a>) -> Guard<'a> {
        if self.backend != Backend::Pidfd || guard.is_forked() {
            return guard;
        }
        guard.wait_until(|state| state.in_flight == 0 || state.status.is_some())
    }

    fn end_blocking(&self) -> Guard<'_> {
        let mut guard = self.shared.lock();
        guard.in_flight -= 1;
        if guard.in_flight == 0 {
            guard.notify();
        }
        guard
    }
}

/// Unlocks the handle and counts a blocking call as in flight, until `end_blocking`.
fn begin_blocking(mut guard: Guard<'_>) {
    guard.in_flight += 1;
}

/// One wait through a handle.
pub(super) struct HandleWait<'a> {
    handle: &'a PidHandle,
    usage: Option<&'a mut ResourceUsage>,
    /// Taken before the wait blocks: from then on it continues even if the handle is released.
    lease: Option<Lease<'a>>,
}

impl<'a> HandleWait<'a> {
    pub(super) fn new(handle: &'a PidHandle, usage: Option<&'a mut ResourceUsage>) -> Self {
        Self {
            handle,
            usage,
            lease: None,
        }
    }

    /// Locks the handle, if this wait may act on it.
    #[inline]
    fn lock(&self) -> io::Result<Guard<'a>> {
        let guard = self.handle.shared.lock();
        self.check_live(&guard)?;
        Ok(guard)
    }

    fn check_live(&self, guard: &Guard<'_>) -> nix::Result<()> {
        match guard.check_live() {
            // Another wait may have reaped since this one began. The PID is not used after that.
            Err(Errno::EINVAL) if self.lease.is_some() => guard.seen.check_present(),
            checked => checked,
        }
    }

    /// Takes the status of a zombie that was reaped when the handle was made.
    fn take_reaped_early(&mut self, guard: &Guard<'a>) -> io::Result<Option<ExitStatus>> {
        let Phase::ReapedEarly(kept) = &guard.phase else {
            return Ok(None);
        };
        if let Some(usage) = &mut self.usage {
            **usage = **kept.as_ref().ok_or_else(usage_is_lost)?;
        }
        Ok(guard.status)
    }

    /// Ends a call that may have reaped.
    #[inline]
    fn finish(
        &self,
        guard: Guard<'a>,
        found: nix::Result<Event>,
    ) -> io::Result<Option<ExitStatus>> {
        match found {
            Ok(Event::Exited(status)) => {
                settle(guard, Some(status));
                Ok(Some(status))
            }
            Ok(_) => Ok(None),
            Err(Errno::ECHILD) => {
                settle(self.handle.await_other_reaps(guard), None);
                Err(Errno::ECHILD.into())
            }
            Err(errno) => {
                settle(guard, None);
                Err(errno.into())
            }
        }
    }
}

impl Waitable for HandleWait<'_> {
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut guard = self.lock()?;
        if let Some(status) = self.take_reaped_early(&guard)? {
            settle(guard, Some(status));
            return Ok(Some(status));
        }
        if guard.in_flight > 0 && self.handle.backend == Backend::Waitpid {
            // No reap while another thread blocks in a peek by PID: the PID could be reused under
            // it. That peek returns as soon as there is a zombie.
            let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
            let found = process.peek(&mut state.seen);
            if !matches!(found, Ok(Event::Exited(_))) {
                return self.finish(guard, found);
            }
            // The lock is held from here to the reap: otherwise another thread that has seen the
            // child running could begin to block in a peek between the two.
            guard = guard.wait_until(|state| state.in_flight == 0);
            self.check_live(&guard)?;
        }
        let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
        let found = process.try_reap(&mut state.seen, self.usage.as_deref_mut());
        self.finish(guard, found)
    }

    fn reap_blocking(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut guard = self.lock()?;
        if self.handle.backend == Backend::Waitpid || guard.is_reaped_early() {
            drop(guard);
            return self.try_reap();
        }
        let lease = self.handle.lease(&mut guard)?;
        begin_blocking(guard);
        let found = lease.reap_blocking(self.usage.as_deref_mut());
        self.lease = Some(lease); // Not under the lock, which the end of an earlier lease takes.
        let guard = self.handle.end_blocking();
        self.finish(guard, found.unwrap_or(Ok(Event::Running)))
    }

    fn block_until_waitable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.lease.is_none() {
            let mut guard = self.lock()?;
            self.lease = Some(self.handle.lease(&mut guard)?);
        }
        let Some(lease) = &self.lease else {
            return Ok(false);
        };
        match (&**lease, deadline) {
            (Process::Pidfd(process), deadline) => Ok(sys::poll_readable(process.fd(), deadline)?),
            (Process::Waitpid(process), None) => {
                let found = self.handle.block_by_pid(self.lock()?, process.pid());
                Ok(found?.exited().is_some())
            }
            (Process::Waitpid(_), Some(_)) => self.block_until_notified(deadline),
        }
    }
}

impl HandleWait<'_> {
    /// By PID with a deadline: polls the descriptor that the watcher notifies.
    fn block_until_notified(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let peek = || -> io::Result<Option<()>> {
            let mut guard = self.lock()?;
            let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
            let found = process.peek(&mut state.seen);
            settle(guard, None);
            Ok(found?.exited().map(drop))
        };
        let mut guard = self.lock()?;
        let watched = self.handle.watch(&mut guard);
        drop(guard);
        match watched {
            // The watcher may not have run yet at the deadline: hence one more peek.
            Ok(fd) => Ok(sys::poll_readable(&*fd, deadline)? || peek()?.is_some()),
            // Without descriptors or threads, repeated peeks find the same, only later.
            Err(_) => Ok(poll_until(deadline, peek)?.is_some()),
        }
    }
}

fn usage_is_lost() -> io::Error {
    unsupported("the child had exited before its handle was made: its resource usage is lost")
}
