// Tests: src/sys/model/tests.rs, src/sys/model/faults.rs

//! For the model kernel: what a fork does to a handle, and an injected fault.

use super::{PidHandle, Shared};
use crate::sys::{Arc, NotifyFd};

impl PidHandle {
    /// Copies the handle as a fork does: the state and the descriptors. The parent's threads that use
    /// the second value do not run in the forked process, so it must not be dropped before the end.
    ///
    /// A fork while another thread holds the lock is not modelled.
    pub(crate) fn fork(&self) -> (Self, Option<Arc<NotifyFd>>) {
        let mut guard = self.shared.lock();
        let process = guard.parts().map(|(process, _)| process.clone());
        let mut state = guard.clone();
        let notify = state.seen.notify_fd().map(|fd| Arc::new((*fd).clone()));
        if let Some(fd) = &notify {
            state.seen.set_notify_fd(fd);
        }
        drop(guard);
        let copy = Self {
            shared: Arc::new(Shared::new(process, state)),
            ..*self
        };
        (copy, notify)
    }

    /// Clears what was seen of the process.
    pub(crate) fn forget_seen(&self) {
        self.shared.lock().seen.forget();
    }
}
