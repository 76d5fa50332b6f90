// Tests: tests/it/background.rs, tests/it/kill_on_drop.rs

//! A child that is left to the background reaper. It holds a lease of the process, so it is reaped even
//! if the handle is released.

use std::io;
use std::process::ExitStatus;

use super::{PidHandle, Shared, State};
use crate::backend::{Process, Seen};
use crate::sys::{self, Arc};

impl PidHandle {
    /// The process as a child to reap later. `None` if it is held already, or the handle is done or
    /// released.
    pub(crate) fn hold(&self) -> Option<Held> {
        let mut guard = self.shared.lock();
        guard.check_live().ok()?;
        if std::mem::replace(&mut guard.is_held, true) {
            return None;
        }
        let lease = guard.lease(Arc::clone(&self.shared))?;
        drop(guard);
        Some(Held {
            handle: self.clone(),
            lease,
        })
    }
}

/// A child that is reaped later, even if its handle is released meanwhile.
pub(crate) struct Held {
    handle: PidHandle,
    lease: sys::Lease<Arc<Shared>, Process, State>,
}

impl Held {
    /// Whether the child has exited. Checks without the lock: a process that is forked while a thread
    /// holds the lock could not use its copy of the handle.
    pub(crate) fn has_exited(&self) -> io::Result<bool> {
        Ok(self.lease.has_exited(&mut Seen::of_child())?)
    }

    /// Reaps the child if it has exited.
    pub(crate) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
        self.handle.try_wait_released()
    }
}
