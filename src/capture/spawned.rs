// Tests: tests/it/capture/subject.rs (every test of a capture runs on it)

//! A `Spawned` whose output is captured: its handle may be shared with other threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::c_int;

use super::target::{sealed, Piped, PipesMut, Target};
use crate::handle::{ExitFd, Spawned};
use crate::support::Backend;
use crate::wait::is_echild;

impl Piped for Spawned {}

impl sealed::Sealed for Spawned {
    fn target(&mut self) -> io::Result<Box<dyn Target + '_>> {
        Ok(Box::new(SpawnedTarget::new(self)?))
    }
}

struct SpawnedTarget<'a> {
    spawned: &'a mut Spawned,
    exit_fd: Option<ExitFd>,
    /// Unreaped when the capture began.
    was_child: bool,
}

impl<'a> SpawnedTarget<'a> {
    fn new(spawned: &'a mut Spawned) -> io::Result<Self> {
        let was_child = match spawned.handle.is_waitable() {
            Ok(_) => true,
            Err(error) if is_echild(&error) => false,
            Err(error) => return Err(error),
        };
        // By PID it would need a thread.
        let has_fd = was_child && spawned.handle.backend() == Backend::Pidfd;
        Ok(Self {
            exit_fd: has_fd.then(|| spawned.handle.exit_fd().ok()).flatten(),
            spawned,
            was_child,
        })
    }
}

impl Target for SpawnedTarget<'_> {
    fn pipes(&mut self) -> PipesMut<'_> {
        let spawned = &mut *self.spawned;
        PipesMut::new(&mut spawned.stdin, &mut spawned.stdout, &mut spawned.stderr)
    }

    fn exit_fd(&self) -> Option<BorrowedFd<'_>> {
        self.exit_fd.as_ref().map(AsFd::as_fd)
    }

    fn has_exited(&mut self) -> io::Result<bool> {
        match self.spawned.handle.is_waitable() {
            Err(error) if is_echild(&error) => Ok(true),
            found => found,
        }
    }

    fn signal(&mut self, signal: c_int) -> io::Result<()> {
        self.spawned.handle.signal(signal)
    }

    fn signal_group(&mut self, signal: c_int) -> io::Result<()> {
        self.spawned.handle.process_group().signal(signal)
    }

    fn group_has_exited(&mut self) -> io::Result<bool> {
        self.spawned.handle.process_group().has_exited()
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        match self.spawned.handle.try_wait() {
            Ok(Some(status)) => Ok(status),
            Err(error) if !is_echild(&error) => Err(error),
            // A wait in another thread has the status, or the kernel's record has it.
            Ok(None) | Err(_) => {
                let found = self.was_child.then(|| self.spawned.handle.exit_status());
                found.flatten().ok_or_else(|| Errno::ECHILD.into())
            }
        }
    }
}
