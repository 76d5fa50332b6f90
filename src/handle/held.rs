//! A child that is left to the background reaper. It holds a lease of the process, so it is reaped even
//! if the handle is released.

use std::io;
use std::process::ExitStatus;

use super::{PidHandle, Shared, State};
use crate::backend::Process;
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
            _lease: lease,
        })
    }
}

/// A child that is reaped later, even if its handle is released meanwhile.
pub(crate) struct Held {
    handle: PidHandle,
    _lease: sys::Lease<Arc<Shared>, Process, State>,
}

impl Held {
    /// Reaps the child if it has exited.
    pub(crate) fn try_reap(&self) -> io::Result<Option<ExitStatus>> {
        self.handle.try_wait_released()
    }
}
