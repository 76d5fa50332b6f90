//! Reaping through std's `Child`.
//!
//! std's `Child` remembers the status that it reaped itself, and signals by PID until it has one. So
//! this crate never reaps behind its back: it peeks, and lets `Child::try_wait` reap.
//!
//! No method of `Child` tells a status that it has just reaped from one that it had before. Peeks
//! around `try_wait` do: the first fails with ECHILD if there is no such child; if the last still
//! finds one, the status is an old one, and the PID belongs to another child now.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::backend::{Process, Seen};
use crate::exit::{Event, ResourceUsage};
use crate::handle::{default_backend, is_echild, PidHandle, Spawned};
use crate::sys::{self, Pidfd};
use crate::wait::{poll_until, Waitable};

/// One wait for a `Child`.
pub(crate) struct ChildWait<'a> {
    child: &'a mut Child,
    /// std has no status yet, so that the next one it returns is new.
    status_is_new: bool,
    /// A blocking peek has found the zombie, so that `try_wait` will reap it.
    is_zombie: bool,
    opened: Option<(Process, Seen)>,
}

impl<'a> ChildWait<'a> {
    pub(crate) fn new(child: &'a mut Child) -> Self {
        Self {
            child,
            status_is_new: false,
            is_zombie: false,
            opened: None,
        }
    }

    pub(super) fn child(&self) -> &Child {
        self.child
    }

    pub(super) fn child_mut(&mut self) -> &mut Child {
        self.child
    }

    /// Opens the process that has the child's PID. Peek then: ECHILD if it is another process.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.opened = Some(open_child(self.child)?);
        Ok(())
    }

    pub(super) fn pidfd(&self) -> Option<&Pidfd> {
        self.opened.as_ref()?.0.pidfd()
    }

    pub(super) fn opened(&mut self) -> nix::Result<(&Process, &mut Seen)> {
        let (process, seen) = self.opened.as_mut().ok_or(Errno::ECHILD)?;
        Ok((process, seen))
    }

    pub(super) fn exit_record(&self) -> Option<ExitStatus> {
        self.opened.as_ref()?.0.exit_record()
    }

    pub(super) fn peek(&mut self) -> io::Result<Event> {
        let pid = pid_of(self.child)?;
        Ok(match &mut self.opened {
            Some((process, seen)) => process.peek(seen)?,
            None => sys::peek_by_pid(pid)?,
        })
    }
}

impl Waitable for ChildWait<'_> {
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if std::mem::take(&mut self.is_zombie) {
            return self.child.try_wait();
        }
        match (self.peek()?, self.status_is_new) {
            // std would take the trace stop for an exit.
            (Event::Trapped, _) => return Ok(None),
            (Event::Running, true) => return Ok(None),
            (Event::Exited(_), true) => return self.child.try_wait(),
            (Event::Running | Event::Exited(_), false) => {}
        }
        let Some(status) = self.child.try_wait()? else {
            self.status_is_new = true;
            return Ok(None);
        };
        match sys::peek_by_pid(pid_of(self.child)?) {
            Err(Errno::ECHILD) => Ok(Some(status)),
            Err(errno) => Err(errno.into()),
            Ok(_) => Err(Errno::ECHILD.into()),
        }
    }

    fn block_until_waitable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if deadline.is_none() {
            let event = sys::block_by_pid(pid_of(self.child)?)?;
            self.is_zombie = event.exited().is_some();
            return Ok(true);
        }
        if self.opened.is_none() {
            self.open()?;
            // ECHILD: other code has reaped it, and another process has the PID.
            if self.peek()?.exited().is_some() {
                return Ok(true);
            }
        }
        if let Some(fd) = self.pidfd() {
            return Ok(sys::poll_readable(fd, deadline)?);
        }
        let found = poll_until(deadline, || -> io::Result<_> {
            Ok(self.peek()?.exited().map(drop))
        })?;
        Ok(found.is_some())
    }
}

/// The process that has the child's PID: the child, as long as it is unreaped.
pub(crate) fn open_child(child: &Child) -> io::Result<(Process, Seen)> {
    // It fails only if no process has the PID, so that the child was reaped.
    Process::open_child(pid_of(child)?).map_err(|_| Errno::ECHILD.into())
}

pub(super) fn pid_of(child: &Child) -> io::Result<pid_t> {
    pid_t::try_from(child.id()).map_err(|_| Errno::ECHILD.into())
}

impl From<Child> for Spawned {
    /// Takes over a child that was spawned by other code. Never fails, and loses no pipe.
    ///
    /// For a child of your own, [`PidHandle::spawn`] is better: it leaves a zombie unreaped. From
    /// now on the child is reaped through the handle alone.
    ///
    /// If std has the status already, the handle is done. A zombie is reaped here, because only
    /// `try_wait` tells whether std has its status. To callers it stays a zombie: the first wait
    /// gets the status and on Linux the usage, and signals succeed without effect. Only its process
    /// group is no longer safe to name: calls of [`ProcessGroup`](crate::ProcessGroup) fail with
    /// ECHILD, except that pidfds reach the rest of the group on Linux 6.9 and later.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::Spawned;
    /// use std::process::{Command, Stdio};
    ///
    /// let child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
    /// let mut cat = Spawned::from(child);
    /// drop(cat.stdin.take()); // A wait of a handle does not close it.
    /// assert!(cat.handle.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// If no descriptor is available for a pidfd, this handle uses
    /// [`Backend::Waitpid`](crate::Backend::Waitpid), which is as safe for an unreaped child.
    fn from(child: Child) -> Self {
        Spawned::new(child, into_handle)
    }
}

/// Makes a handle of a child, whose pipes were taken out. Never fails.
fn into_handle(mut child: Child) -> PidHandle {
    let pid = child.id();
    let done = || PidHandle::done(pid, default_backend());
    let Ok((process, mut seen)) = open_child(&child) else {
        return done();
    };
    let mut usage = ResourceUsage::default();
    let event = process.peek_usage(&mut seen, &mut usage);
    let status = match event {
        Err(Errno::ECHILD) => return done(),
        // Nothing is known; if std reaps on the way, it returns that status again.
        Err(_) => child.try_wait().ok().flatten(),
        Ok(Event::Trapped) => None,
        Ok(Event::Running | Event::Exited(_)) => match child.try_wait() {
            // Still there: the status is an old one, and another child has the PID.
            Ok(Some(_)) if process.peek(&mut seen).is_ok() => return done(),
            Ok(status) => status,
            Err(error) if is_echild(&error) => return done(),
            Err(_) => None,
        },
    };
    let has_usage = sys::PEEK_HAS_USAGE && event.is_ok_and(|event| event.exited().is_some());
    match status {
        None => PidHandle::live(pid, process, seen),
        Some(status) => {
            let usage = has_usage.then_some(usage);
            PidHandle::reaped_early(pid, (process, seen), status, usage)
        }
    }
}
