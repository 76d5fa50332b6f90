// Tests: tests/it/capture/subject.rs (every test of a capture runs on it)

//! A `Child` whose output is captured.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ExitStatus};

use nix::errno::Errno;
use nix::libc::c_int;

use super::open::OpenChild;
use super::reap::ChildWait;
use crate::capture::{sealed, Piped, PipesMut, Target};
use crate::group::{self, Leader};
use crate::wait::{is_echild, Timeout, Waitable};

impl Piped for Child {}

impl sealed::Sealed for Child {
    fn target(&mut self) -> io::Result<Box<dyn Target + '_>> {
        Ok(Box::new(ChildTarget::new(self)?))
    }
}

struct ChildTarget<'a> {
    wait: ChildWait<'a>,
    life: Life,
}

enum Life {
    /// Unreaped when the capture began.
    Child,
    /// It exited while it was opened, and std reaped it.
    Reaped(ExitStatus),
    /// Reaped before the capture began: its PID may belong to another process.
    Gone,
}

impl<'a> ChildTarget<'a> {
    fn new(child: &'a mut Child) -> io::Result<Self> {
        let mut wait = ChildWait::new(child);
        let life = match open(&mut wait) {
            Ok(None) => Life::Child,
            Ok(Some(status)) => Life::Reaped(status),
            Err(error) if is_echild(&error) => Life::Gone,
            Err(error) => return Err(error),
        };
        Ok(Self { wait, life })
    }
}

/// Opens the child. Returns a status if std has just reaped it.
///
/// Only `try_wait` tells whether std had the status before, and it reaps. For a zombie it is called
/// at the end: once the child is reaped, its group can no longer be signalled.
fn open(wait: &mut ChildWait<'_>) -> io::Result<Option<ExitStatus>> {
    wait.open()?;
    match wait.peek()?.exited() {
        Some(_) => Ok(None),
        None => wait.try_reap(),
    }
}

impl Target for ChildTarget<'_> {
    fn pipes(&mut self) -> PipesMut<'_> {
        let child = self.wait.child_mut();
        PipesMut::new(&mut child.stdin, &mut child.stdout, &mut child.stderr)
    }

    fn exit_fd(&self) -> Option<BorrowedFd<'_>> {
        self.wait.pidfd().map(AsFd::as_fd)
    }

    fn has_exited(&mut self) -> io::Result<bool> {
        match self.life {
            Life::Reaped(_) | Life::Gone => Ok(true),
            Life::Child => match self.wait.peek() {
                Ok(event) => Ok(event.exited().is_some()),
                Err(error) if is_echild(&error) => Ok(true),
                Err(error) => Err(error),
            },
        }
    }

    fn signal(&mut self, signal: c_int) -> io::Result<()> {
        Ok(self.unreaped()?.signal(signal)?)
    }

    fn signal_group(&mut self, signal: c_int) -> io::Result<()> {
        group::signal_group(self.unreaped()?, signal)
    }

    fn group_has_exited(&mut self) -> io::Result<bool> {
        group::wait_exited(self.unreaped()?, Timeout::Poll)
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        match self.life {
            Life::Reaped(status) => return Ok(status),
            Life::Gone => return Err(Errno::ECHILD.into()),
            Life::Child => {}
        }
        match self.wait.try_reap() {
            Ok(Some(status)) => Ok(status),
            Err(error) if !is_echild(&error) => Err(error),
            // The pidfd refers to the child, because a peek through it has succeeded.
            Ok(None) | Err(_) => self.wait.exit_record().ok_or_else(|| Errno::ECHILD.into()),
        }
    }
}

impl ChildTarget<'_> {
    fn unreaped(&mut self) -> nix::Result<&mut OpenChild> {
        match self.life {
            Life::Child => self.wait.opened().ok_or(Errno::ECHILD),
            Life::Reaped(_) | Life::Gone => Err(Errno::ECHILD),
        }
    }
}
