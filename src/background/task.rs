// Tests: tests/it/background.rs

//! What the background thread does for one process.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::backend::{Process, Seen};
use crate::ending::Ending;
use crate::engine::Subject;
use crate::errno::is_final;
use crate::handle::HandleSubject;
use crate::process_group::ProcessGroup;
use crate::support::Backend;
use crate::PidHandle;

/// Ends a process, if that is wanted, and reaps it.
pub(super) struct Task {
    pub(super) handle: PidHandle,
    /// It is reaped even if the handle is released.
    process: Option<Process>,
    /// Keeps the leader until the end.
    _group: Option<ProcessGroup>,
    work: Mutex<Work>,
}

pub(super) struct Work {
    pub(super) ending: Option<Ending>,
    /// The key of the member of the group that the poller has.
    pub(super) member: Option<u64>,
}

impl Task {
    pub(super) fn new(
        handle: PidHandle,
        process: Option<Process>,
        group: Option<ProcessGroup>,
        ending: Option<Ending>,
    ) -> Self {
        Self {
            handle,
            process,
            _group: group,
            work: Mutex::new(Work {
                ending,
                member: None,
            }),
        }
    }

    /// Only the thread takes this lock once it has the task.
    pub(super) fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subject(&self) -> HandleSubject<'_> {
        match &self.process {
            Some(process) => HandleSubject::of(&self.handle, process.clone()),
            None => HandleSubject::new(&self.handle),
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.lock().ending.as_ref().and_then(Ending::until)
    }

    /// Checks by PID without the handle's lock: a process that is forked while this thread holds the lock
    /// could not use its copy of the handle.
    pub(super) fn may_have_exited(&self) -> bool {
        match &self.process {
            Some(process) if process.backend() == Backend::Waitpid => {
                process.has_exited(&mut Seen::default()) != Ok(false)
            }
            _ => true,
        }
    }

    /// Reaps the child if it has exited. Returns whether there is nothing left to reap. An error may pass,
    /// such as a lack of descriptors to check that it is the same process.
    pub(super) fn try_reap(&self) -> io::Result<bool> {
        match self.subject().try_reap() {
            Ok(None) => Ok(false),
            Ok(Some(_)) => Ok(self.handle.pay()),
            Err(error) if is_final(&error) => Ok(self.handle.pay()),
            Err(error) => Err(error),
        }
    }
}
