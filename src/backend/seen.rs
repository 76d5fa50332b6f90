// Tests: tests/it/pid_reuse_seen.rs, src/sys/model/tests.rs

//! What calls by PID have seen of a process: if it has exited and its PID is then seen running, the
//! PID belongs to another process.

use nix::errno::Errno;

use crate::errno::esrch_to_echild;
use crate::exit::Event;
use crate::sys::{self, Arc, NotifyFd, Weak};

/// What calls have seen of a process so far.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Seen {
    /// It is our child. A non-child can become one, by adoption.
    pub(super) child: bool,
    /// It has exited.
    pub(super) exited: bool,
    /// It was reaped: its PID is not used after that.
    pub(super) gone: bool,
    /// The start time of its zombie, if that is kept although its status was given out.
    pub(super) kept: Option<u64>,
    /// Notified when the process is seen to have exited.
    notify: Weak<NotifyFd>,
    /// The fork number of the process whose watcher does that.
    watcher_forks: u32,
}

impl Seen {
    pub(crate) fn of_child() -> Self {
        Self {
            child: true,
            ..Self::default()
        }
    }

    /// Whether the process was a child and is known to be reaped. A handle to it is done.
    pub(crate) fn is_done(&self) -> bool {
        self.child && self.gone
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exited || self.gone
    }

    /// The descriptor that listeners share, if there is one.
    pub(crate) fn notify_fd(&self) -> Option<Arc<NotifyFd>> {
        self.notify.upgrade()
    }

    /// Whether a watcher of this process notifies that descriptor. A forked process has the
    /// descriptor, but not the watcher.
    pub(crate) fn is_watched(&self) -> bool {
        !sys::is_forked_since(self.watcher_forks)
    }

    /// Stores the descriptor of a watcher that was just started.
    pub(crate) fn set_notify_fd(&mut self, fd: &Arc<NotifyFd>) {
        self.notify = Arc::downgrade(fd);
        self.watcher_forks = sys::fork_number();
    }

    pub(crate) fn check_present(&self) -> nix::Result<()> {
        if self.gone {
            Err(Errno::ECHILD)
        } else {
            Ok(())
        }
    }

    /// Stores what a wait or a peek by PID has found.
    #[inline]
    pub(crate) fn note(&mut self, found: nix::Result<Event>) -> nix::Result<Event> {
        match found {
            Ok(Event::Exited(_)) => self.set_exited(),
            // It had exited before, so another process has the PID.
            Ok(Event::Running | Event::Trapped) if self.exited => {
                self.set_gone();
                return Err(Errno::ECHILD);
            }
            Ok(Event::Running | Event::Trapped) => {}
            Err(_) => return self.note_gone(found),
        }
        found
    }

    /// Stores whether a call by PID has found no such process, and turns ESRCH into ECHILD.
    pub(super) fn note_gone<T>(&mut self, found: nix::Result<T>) -> nix::Result<T> {
        let found = esrch_to_echild(found);
        if let Err(Errno::ECHILD) = found {
            self.set_gone();
        }
        found
    }

    /// Adds what a watcher has seen of the exit of the same process.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.exited {
            self.set_exited();
        }
        if other.gone {
            self.set_gone();
        }
    }

    pub(super) fn set_exited(&mut self) {
        if !std::mem::replace(&mut self.exited, true) && !self.gone {
            self.notify();
        }
    }

    pub(crate) fn set_gone(&mut self) {
        if !std::mem::replace(&mut self.gone, true) && !self.exited {
            self.notify();
        }
    }

    fn notify(&self) {
        if let Some(fd) = self.notify.upgrade() {
            fd.notify();
        }
    }

    /// A fault that the model kernel injects.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.exited = false;
        self.gone = false;
    }
}
