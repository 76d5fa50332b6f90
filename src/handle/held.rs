//! A child that is left to the background reaper. It holds a lease of the process, so it is reaped even
//! if the handle is released.

use std::io;
use std::process::ExitStatus;

use super::{PidHandle, Shared, State};
use crate::backend::{Process, Seen};
use crate::sys::{self, Arc};

impl PidHandle {
    /// The process as a child to reap later. `None` if the handle is done or released.
    pub(crate) fn hold(&self) -> Option<Held> {
        let mut guard = self.shared.lock();
        guard.check_live().ok()?;
        let lease = guard.lease(Arc::clone(&self.shared))?;
        drop(guard);
        Some(Held {
            handle: self.clone(),
            lease,
            seen: Seen::of_child(),
        })
    }
}

/// A child that is reaped later, even if its handle is released meanwhile.
pub(crate) struct Held {
    handle: PidHandle,
    lease: sys::Lease<Arc<Shared>, Process, State>,
    /// What `has_exited` has seen of the child.
    seen: Seen,
}

impl Held {
    /// Whether the child has exited. Checks without the lock: a process that is forked while a thread
    /// holds the lock could not use its copy of the handle.
    pub(crate) fn has_exited(&mut self) -> io::Result<bool> {
        Ok(self.lease.has_exited(&mut self.seen)?)
    }

    /// Reaps the child if it has exited.
    pub(crate) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
        self.handle.try_wait_released()
    }
}
