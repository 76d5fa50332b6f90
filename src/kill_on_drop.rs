//! A handle that takes its process along when it goes.

use std::ops::Deref;

use crate::PidHandle;

/// A handle that kills and reaps its child when it is dropped.
///
/// For a child that must not outlive a scope, however that is left: by `?`, by a panic, or at its
/// end. Where the handle is done or released by then, nothing happens; a process that is no child
/// is killed and not waited for. To let the child live on, take the handle out with
/// [`into_inner`](Self::into_inner).
///
/// Dropping it blocks until the child is gone: soon, after SIGKILL, but for a process in an
/// uninterruptible sleep or in the hands of a tracer.
///
/// ```
/// use pidwait::{KillOnDrop, PidHandle};
/// use std::process::Command;
///
/// let server = KillOnDrop::new(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle);
/// assert!(!server.has_exited()?);
/// drop(server); // Killed and reaped.
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct KillOnDrop(PidHandle);

impl KillOnDrop {
    /// Takes the handle over.
    pub fn new(handle: PidHandle) -> Self {
        Self(handle)
    }

    /// Gives the handle back, and kills nothing.
    pub fn into_inner(mut self) -> PidHandle {
        let done = PidHandle::done(self.0.id(), self.0.backend());
        std::mem::replace(&mut self.0, done)
    }
}

impl Deref for KillOnDrop {
    type Target = PidHandle;

    fn deref(&self) -> &PidHandle {
        &self.0
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Nobody is there to hear of an error, and where nothing was killed, nothing is waited for.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}
