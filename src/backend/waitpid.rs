//! By PID. A child keeps its PID until it is reaped, so a call by PID is safe while no other call
//! can reap between a look and an action: all of them run under one lock, the owner's. A blocking
//! peek cannot hold it; [`wait`](crate::wait) states how it is kept apart from reaps.
//!
//! What was seen is remembered in [`Seen`]: a process that has exited and then looks alive is
//! another one that has the PID now.

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use super::esrch_to_echild;
use crate::exit::{Event, ResourceUsage};
use crate::sys::{self, Arc, NotifyFd, Weak};
use crate::wait::poll_until;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Process {
    pid: pid_t,
    /// When this handle was made: in a forked process, the child of the parent is a non-child.
    forks: u32,
    /// When a non-child started, which tells it from a later process with its PID. `None` for
    /// children, which need no such check, and where `/proc` cannot tell.
    start_time: Option<u64>,
}

/// What calls have seen of a process so far.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Seen {
    /// It is a child of ours. A non-child can become one, by adoption.
    child: bool,
    /// It has exited.
    exited: bool,
    /// It was reaped: its PID is not used after that.
    gone: bool,
    /// Notified when the process is seen to have exited.
    notify: Weak<NotifyFd>,
}

impl Process {
    pub(crate) fn open(pid: pid_t) -> nix::Result<(Self, Seen)> {
        match sys::peek_by_pid(pid) {
            Ok(event) => {
                let mut seen = Seen::of_child();
                seen.exited = event.exited().is_some();
                Ok((Self::of_child(pid), seen))
            }
            Err(Errno::ECHILD) => {
                let process = Self {
                    start_time: start_time_at_open(pid),
                    ..Self::of_child(pid)
                };
                // After the start time was read, so that a process that goes in between is missed
                // by neither.
                match exists(pid)? {
                    true => Ok((process, Seen::default())),
                    false => Err(Errno::ESRCH),
                }
            }
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn of_child(pid: pid_t) -> Self {
        Self {
            pid,
            forks: sys::fork_number(),
            start_time: None,
        }
    }

    pub(crate) fn try_reap(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        if !self.is_child(seen) {
            self.peek(seen)?; // ECHILD, unless it was adopted.
        }
        seen.check_present()?;
        let found = self.note(seen, sys::reap_by_pid(self.pid, usage));
        if let Ok(Event::Exited(_)) = found {
            seen.gone = true;
        }
        found
    }

    pub(crate) fn peek(&self, seen: &mut Seen) -> nix::Result<Event> {
        seen.check_present()?;
        if self.is_child(seen) {
            return self.note(seen, sys::peek_by_pid(self.pid));
        }
        match self.start_time {
            Some(_) => self.peek_adopted(seen),
            None => Err(Errno::ECHILD),
        }
    }

    pub(crate) fn peek_usage(
        &self,
        seen: &mut Seen,
        usage: &mut ResourceUsage,
    ) -> nix::Result<Event> {
        seen.check_present()?;
        if !self.is_child(seen) {
            return self.peek(seen);
        }
        self.note(seen, sys::peek_usage_by_pid(self.pid, usage))
    }

    /// Peeks at a non-child: it is a child if it was orphaned and this process adopted it.
    fn peek_adopted(&self, seen: &mut Seen) -> nix::Result<Event> {
        if self.is_forked() {
            return Err(Errno::ECHILD);
        }
        let event = sys::peek_by_pid(self.pid)?;
        if self.start_time.is_some() {
            // The child that has the PID cannot lose it now. It may be a later process, though.
            if !self.still_exists(seen)? {
                return Err(Errno::ECHILD);
            }
            seen.child = true;
        }
        seen.note(Ok(event))
    }

    pub(crate) fn has_exited(&self, seen: &mut Seen) -> nix::Result<bool> {
        if seen.gone {
            return Ok(true);
        }
        let found = match self.is_child(seen) {
            true => self.peek(seen),
            false => self.peek_adopted(seen),
        };
        let exited = match found {
            Ok(event) => Ok(event.exited().is_some()),
            Err(Errno::ECHILD) if seen.gone => Ok(true),
            Err(Errno::ECHILD) => self.still_exists(seen).map(|exists| !exists),
            Err(errno) => Err(errno),
        };
        match exited {
            // A non-child cannot be told from another process with its PID just now; a wait looks again.
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) if !self.is_child(seen) => Ok(false),
            exited => exited,
        }
    }

    pub(crate) fn signal(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        self.check_exists(seen)?;
        seen.note(sys::kill(self.pid, signal))
    }

    pub(crate) fn signal_group(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        self.check_exists(seen)?;
        // While the process exists, only it can have made a group with its PID as the number: if it
        // leads none, there is no such group, ESRCH. Not by `getpgid`: macOS has forgotten the group
        // of a zombie.
        match sys::kill_group(self.pid, signal) {
            // It leads no group, or was reaped by other code since it was checked.
            Err(Errno::ESRCH) => self.check_exists(seen).and(Err(Errno::ESRCH)),
            sent => sent,
        }
    }

    /// Remembers what a wait by PID has found.
    pub(crate) fn note(&self, seen: &mut Seen, found: nix::Result<Event>) -> nix::Result<Event> {
        match found {
            // Not a child of this process, because it was forked; that says nothing of the parent's.
            Err(Errno::ECHILD) if sys::is_forked_since(self.forks) => found,
            found => seen.note(found),
        }
    }

    /// What to block on, without the lock; see [`block_until_waitable`].
    pub(crate) fn pid(&self) -> pid_t {
        self.pid
    }

    /// Whether it is a child, in this process.
    pub(crate) fn is_child(&self, seen: &Seen) -> bool {
        seen.child && !self.is_forked()
    }

    fn is_forked(&self) -> bool {
        sys::fork_number() != self.forks
    }

    /// Before a signal: whether the PID is still the process's own.
    fn check_exists(&self, seen: &mut Seen) -> nix::Result<()> {
        seen.check_present()?;
        if self.is_child(seen) {
            match self.peek(seen) {
                Err(Errno::ECHILD) if !seen.gone => {} // In a forked process.
                found => return found.map(drop),
            }
        }
        match self.still_exists(seen)? {
            true => Ok(()),
            false => Err(Errno::ECHILD),
        }
    }

    /// Whether the non-child is there: by its start time if that is known, otherwise by its PID.
    fn still_exists(&self, seen: &mut Seen) -> nix::Result<bool> {
        let same = match self.start_time {
            None => exists(self.pid)?,
            Some(then) => match start_time(self.pid) {
                Ok(Some(now)) => then == now,
                // It is gone, or /proc cannot be read any more: the PID tells. If it exists, another
                // process may have got it between the two looks: hence the third. Where that lacks a
                // descriptor, which process has the PID is not known.
                Ok(None) | Err(_) => {
                    exists(self.pid)? && start_time(self.pid)?.map_or(true, |now| then == now)
                }
            },
        };
        if !same {
            seen.set_gone();
        }
        Ok(same)
    }
}

impl Seen {
    pub(crate) fn of_child() -> Self {
        Self {
            child: true,
            ..Self::default()
        }
    }

    /// Whether the process was a child and is known to be reaped: there is nothing more to learn.
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

    pub(crate) fn set_notify_fd(&mut self, fd: &Arc<NotifyFd>) {
        self.notify = Arc::downgrade(fd);
    }

    pub(crate) fn check_present(&self) -> nix::Result<()> {
        match self.gone {
            true => Err(Errno::ECHILD),
            false => Ok(()),
        }
    }

    /// Remembers what a call by PID has found, and turns ESRCH into ECHILD.
    pub(crate) fn note<T: Found>(&mut self, found: nix::Result<T>) -> nix::Result<T> {
        match esrch_to_echild(found) {
            Ok(found) => match found.event() {
                Some(Event::Exited(_)) => {
                    self.set_exited();
                    Ok(found)
                }
                // It has exited, and no process comes back: another one has the PID.
                Some(_) if self.exited => {
                    self.set_gone();
                    Err(Errno::ECHILD)
                }
                _ => Ok(found),
            },
            Err(Errno::ECHILD) => {
                self.set_gone();
                Err(Errno::ECHILD)
            }
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn set_exited(&mut self) {
        let before = std::mem::replace(&mut self.exited, true);
        self.notify_if(!before && !self.gone);
    }

    pub(crate) fn set_gone(&mut self) {
        let before = std::mem::replace(&mut self.gone, true);
        self.notify_if(!before && !self.exited);
    }

    fn notify_if(&self, news: bool) {
        if let Some(fd) = self.notify.upgrade().filter(|_| news) {
            fd.notify();
        }
    }

    /// A fault that the model kernel seeds.
    #[cfg(test)]
    pub(crate) fn forget(&mut self) {
        self.exited = false;
        self.gone = false;
    }
}

/// What a call returns, for [`Seen::note`].
pub(crate) trait Found {
    fn event(&self) -> Option<Event> {
        None
    }
}

impl Found for Event {
    fn event(&self) -> Option<Event> {
        Some(*self)
    }
}

impl Found for () {}

/// Blocks until the child of that PID can be reaped. ECHILD: there is no such child.
pub(crate) fn block_until_waitable(pid: pid_t) -> nix::Result<Event> {
    // In a trace stop the call returns at once, again and again.
    let found = poll_until(None, || {
        let event = sys::block_by_pid(pid)?;
        Ok(event.exited().map(|_| event))
    })?;
    found.ok_or(Errno::ECHILD) // It does not end without a result.
}

fn exists(pid: pid_t) -> nix::Result<bool> {
    match sys::kill(pid, 0) {
        Ok(()) | Err(Errno::EPERM) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// `None` if `/proc` is of another PID namespace, too.
fn start_time_at_open(pid: pid_t) -> Option<u64> {
    let is_own = sys::proc_is_own().unwrap_or(false);
    is_own.then(|| start_time(pid).ok().flatten()).flatten()
}

/// `None`: there is no such process, or `/proc` does not tell. EMFILE, ENFILE, ENOMEM: it cannot be
/// read just now.
fn start_time(pid: pid_t) -> nix::Result<Option<u64>> {
    match sys::proc_stat(pid) {
        Ok(stat) => Ok(Some(stat.start_time)),
        Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(errno),
        Err(_) => Ok(None),
    }
}
