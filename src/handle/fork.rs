//! A copy of a handle in a forked process, for the model kernel.

use super::{Phase, PidHandle};
use crate::sys::{Arc, Mutex, NotifyFd, Weak};

impl PidHandle {
    /// The handle as a process that is forked now has it, with the descriptors that it inherits.
    pub(crate) fn fork(&self) -> (Self, Option<Arc<NotifyFd>>) {
        let guard = self.lock();
        let mut state = guard.clone();
        let notify = state.seen.notify_fd().map(|fd| Arc::new((*fd).clone()));
        state.phase = match &guard.phase {
            Phase::Live(process) => Phase::Live(process.fork()),
            Phase::ReapedEarly(process, usage) => Phase::ReapedEarly(process.fork(), usage.clone()),
            other => other.clone(),
        };
        drop(guard);
        state.group = Weak::new();
        state.owed = None;
        if let Some(fd) = &notify {
            state.seen.set_notify_fd(fd);
        }
        let copy = Self {
            shared: Arc::new(Mutex::new(state)),
            ..*self
        };
        (copy, notify)
    }

    pub(crate) fn is_released(&self) -> bool {
        matches!(self.lock().phase, Phase::Released)
    }

    /// A fault that the model kernel injects: forgets that a group keeps the zombie.
    pub(crate) fn forget_group(&self) {
        self.lock().group = Weak::new();
    }

    /// A fault that the model kernel injects: forgets what calls have seen of the process.
    pub(crate) fn forget_seen(&self) {
        self.lock().seen.forget();
    }
}
