// Tests: tests/it/capture/subject.rs (every test of a capture runs on it)

//! What a capture needs from a child: the same for `Child` and `Spawned`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use nix::errno::Errno;
use nix::libc::c_int;

use super::stream::Fd;
use crate::engine::{try_share, Subject};
use crate::errno::is_final;
use crate::handle::{HandleSubject, PidHandle, Spawned};
use crate::process_group::ProcessGroup;
use crate::sys;

/// A child with pipes, for [`Capture::run`](crate::Capture::run): std's
/// [`Child`](std::process::Child), or a [`Spawned`](crate::Spawned).
///
/// This trait is sealed.
pub trait Piped: sealed::Sealed {}

pub(crate) mod sealed {
    use std::io;

    pub trait Sealed {
        /// Opens the child. EINVAL: its handle is released. A child that was reaped already is no
        /// error: what it wrote can still be read.
        fn target(&mut self) -> io::Result<Box<dyn super::Target + '_>>;
    }
}

/// A child whose output is captured.
pub trait Target: Send {
    fn pipes(&mut self) -> PipesMut<'_>;

    /// The child, to wait for it and to end it.
    fn subject(&mut self) -> &mut dyn Subject;

    /// Whether its status can be taken, or never will be.
    fn is_waitable(&mut self) -> io::Result<bool>;

    /// Takes the status, or the one that another wait has got. ECHILD: there is none.
    fn take_status(&mut self) -> io::Result<Option<ExitStatus>>;
}

/// A `Spawned`, whose handle may be shared with other threads.
struct SpawnedTarget<'a> {
    handle: &'a PidHandle,
    subject: HandleSubject<'a>,
    /// Keeps the leader while the capture runs.
    _group: Option<ProcessGroup>,
    pipes: PipesMut<'a>,
}

impl Piped for Spawned {}

impl sealed::Sealed for Spawned {
    fn target(&mut self) -> io::Result<Box<dyn Target + '_>> {
        let handle = &self.handle;
        let mut subject = HandleSubject::new(handle);
        match subject.take_process() {
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Box::new(SpawnedTarget {
            handle,
            subject,
            _group: handle.process_group().ok(),
            pipes: PipesMut::new(&mut self.stdin, &mut self.stdout, &mut self.stderr),
        }))
    }
}

impl Target for SpawnedTarget<'_> {
    fn pipes(&mut self) -> PipesMut<'_> {
        PipesMut::new(self.pipes.stdin, self.pipes.stdout, self.pipes.stderr)
    }

    fn subject(&mut self) -> &mut dyn Subject {
        &mut self.subject
    }

    fn is_waitable(&mut self) -> io::Result<bool> {
        match self.handle.is_waitable() {
            Err(error) if is_final(&error) => Ok(true),
            found => found,
        }
    }

    fn take_status(&mut self) -> io::Result<Option<ExitStatus>> {
        try_share(&mut self.subject)
    }
}

/// The fields of a child that hold its pipes.
#[derive(Debug)]
pub struct PipesMut<'a> {
    pub(super) stdin: &'a mut Option<ChildStdin>,
    pub(super) stdout: &'a mut Option<ChildStdout>,
    pub(super) stderr: &'a mut Option<ChildStderr>,
}

impl<'a> PipesMut<'a> {
    pub(crate) fn new(
        stdin: &'a mut Option<ChildStdin>,
        stdout: &'a mut Option<ChildStdout>,
        stderr: &'a mut Option<ChildStderr>,
    ) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
        }
    }

    /// Takes the pipes out of the child. On an error it takes none.
    ///
    /// Two pipes may share one open file description. So all flags are read before any is changed.
    pub(super) fn take(self) -> nix::Result<[Option<Fd>; 3]> {
        fn flags(pipe: &Option<impl AsFd>) -> nix::Result<c_int> {
            let flags = pipe.as_ref().map(|pipe| sys::status_flags(pipe.as_fd()));
            flags.unwrap_or(Ok(0))
        }
        let (stdin, stdout) = (flags(self.stdin)?, flags(self.stdout)?);
        let stderr = flags(self.stderr)?;
        Ok([
            self.stdin.take().map(|pipe| Fd::new(pipe.into(), stdin)),
            self.stdout.take().map(|pipe| Fd::new(pipe.into(), stdout)),
            self.stderr.take().map(|pipe| Fd::new(pipe.into(), stderr)),
        ])
    }

    /// Puts pipes into the child.
    pub(super) fn put(self, [stdin, stdout, stderr]: [Option<OwnedFd>; 3]) {
        *self.stdin = stdin.map(ChildStdin::from);
        *self.stdout = stdout.map(ChildStdout::from);
        *self.stderr = stderr.map(ChildStderr::from);
    }
}
