// Tests: tests/it/child.rs, tests/it/wait.rs, tests/it/timeout.rs

//! Reaping through std's `Child`.
//!
//! std's `Child` caches the status that it reaped itself, and signals by PID until it has one. So
//! this crate never reaps by other means: it peeks, and lets `Child::try_wait` reap.
//!
//! No method of `Child` tells a status that was just reaped from one that was cached. Peeks before
//! and after `try_wait` do: the first fails with ECHILD if there is no such child. If the second
//! still finds one, the status is a cached one, and the PID now belongs to another child.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use nix::errno::Errno;

use super::open::{pid_of, OpenChild};
use crate::exit::{Event, ResourceUsage};
use crate::handle::{default_backend, PidHandle, Spawned};
use crate::sys::{self, Pidfd};
use crate::wait::{is_echild, poll_until, Waitable};

/// One wait for a `Child`.
pub(super) struct ChildWait<'a> {
    child: &'a mut Child,
    /// std had no status at the last `try_wait`, so the next one that it returns is new.
    status_is_new: bool,
    /// A blocking peek has found the zombie, so `try_wait` will reap it.
    is_zombie: bool,
    opened: Option<OpenChild>,
}

impl<'a> ChildWait<'a> {
    pub(super) fn new(child: &'a mut Child) -> Self {
        Self {
            child,
            status_is_new: false,
            is_zombie: false,
            opened: None,
        }
    }

    pub(super) fn child_mut(&mut self) -> &mut Child {
        self.child
    }

    /// Opens the process that has the child's PID. The caller then peeks: ECHILD if it is not a child.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.opened = Some(OpenChild::open(self.child)?);
        Ok(())
    }

    pub(super) fn pidfd(&self) -> Option<&Pidfd> {
        self.opened.as_ref()?.process.pidfd()
    }

    pub(super) fn opened(&mut self) -> Option<&mut OpenChild> {
        self.opened.as_mut()
    }

    pub(super) fn exit_record(&self) -> Option<ExitStatus> {
        self.opened.as_ref()?.process.exit_record()
    }

    pub(super) fn peek(&mut self) -> io::Result<Event> {
        Ok(match &mut self.opened {
            Some(opened) => opened.peek()?,
            None => sys::peek_by_pid(pid_of(self.child)?)?,
        })
    }
}

impl Waitable for ChildWait<'_> {
    fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if std::mem::take(&mut self.is_zombie) {
            return self.child.try_wait();
        }
        match (self.peek()?, self.status_is_new) {
            // std would mistake the trace stop for an exit.
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

impl From<Child> for Spawned {
    /// Takes over a child that other code spawned, with its pipes. Never fails.
    ///
    /// From now on only the handle reaps the child. For commands that you spawn yourself, use
    /// [`PidHandle::spawn`], which leaves a zombie unreaped.
    ///
    /// If std has the status already, the handle is done. A zombie is reaped here, because only
    /// `try_wait` tells whether std has its status. The handle still treats it as a zombie: the first
    /// wait returns the status and, on Linux, the usage; signals succeed without effect. Calls of its
    /// [`ProcessGroup`](crate::ProcessGroup) fail with ECHILD, except that pidfds reach the rest of
    /// the group on Linux 6.9 and later.
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

/// Makes a handle of a child whose pipes were taken out. Never fails.
fn into_handle(mut child: Child) -> PidHandle {
    let pid = child.id();
    let done = || PidHandle::done(pid, default_backend());
    let Ok(opened) = OpenChild::open(&child) else {
        return done();
    };
    let OpenChild {
        process, mut seen, ..
    } = opened;
    let mut usage = ResourceUsage::default();
    let event = process.peek_usage(&mut seen, &mut usage);
    let status = match event {
        Err(Errno::ECHILD) => return done(),
        // The peek failed, so a status of std's may be a cached one, too.
        Err(_) => child.try_wait().ok().flatten(),
        Ok(Event::Trapped) => None,
        Ok(Event::Running | Event::Exited(_)) => match child.try_wait() {
            // Still there: the status was cached, and another child has the PID.
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
