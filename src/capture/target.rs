// Tests: tests/it/capture/subject.rs (every test of a capture runs on it)

//! What a capture needs from a child: the same for `Child` and `Spawned`.

use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use nix::errno::Errno;

use super::stream::Fd;
use crate::engine::{try_share, Subject};
use crate::errno::{is_denied, is_echild};
use crate::exit::ResourceUsage;
use crate::handle::{HandleSubject, PidHandle, Spawned};
use crate::process_group::ProcessGroup;
use crate::sys;

/// A child with pipes, for [`Capture::run`](crate::Capture::run): std's
/// [`Child`](std::process::Child), a [`Spawned`](crate::Spawned), or a
/// [`KillOnDrop`](crate::KillOnDrop) of a `Spawned`.
///
/// An `AsyncSpawned` is not among them. Its pipes belong to a reactor, and a future that is dropped could
/// not put them back without registering them again. Capture the `Spawned`, with `Capture::on`.
///
/// This trait is sealed.
pub trait Piped: sealed::Sealed {}

pub(crate) mod sealed {
    use std::io;

    pub trait Sealed: Send {
        /// Opens the child. EINVAL: its handle is released. A child that was reaped already is no
        /// error: what it wrote can still be read.
        fn target(&mut self) -> io::Result<Box<dyn super::Target + '_>>;
    }
}

/// A child whose output is captured.
pub trait Target: Send {
    fn pipes(&mut self) -> PipesMut<'_>;

    /// The child, to end it.
    fn subject(&mut self) -> &mut dyn Subject;

    /// Whether it leads a process group. If so, that is ended.
    fn leads_group(&mut self) -> bool;

    /// Whether its status can be taken, or never will be.
    fn is_waitable(&mut self) -> io::Result<bool>;

    /// Takes the status, or the one that another wait has got. ECHILD: there is none.
    fn take_status(&mut self) -> io::Result<Option<ExitStatus>>;

    /// The usage that came with the status.
    fn usage(&self) -> Option<ResourceUsage>;
}

/// A `Spawned`, whose handle may be shared with other threads.
pub(super) struct SpawnedTarget<'a> {
    handle: &'a PidHandle,
    subject: HandleSubject<'a>,
    /// Keeps the leader while the capture runs.
    group: Option<ProcessGroup>,
    pipes: PipesMut<'a>,
}

impl<'a> SpawnedTarget<'a> {
    /// Of a child that was just spawned here.
    pub(super) fn of_new(spawned: &'a mut Spawned) -> io::Result<Box<dyn Target + 'a>> {
        let group = spawned.group.clone();
        Self::open(spawned, |_| group)
    }

    fn open(
        spawned: &'a mut Spawned,
        group: impl FnOnce(&PidHandle) -> Option<ProcessGroup>,
    ) -> io::Result<Box<dyn Target + 'a>> {
        let handle = &spawned.handle;
        let mut subject = if sys::PEEK_HAS_USAGE {
            HandleSubject::with_usage(handle)
        } else {
            HandleSubject::new(handle)
        };
        match subject.take_process() {
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Box::new(Self {
            handle,
            subject,
            group: group(handle),
            pipes: PipesMut::new(&mut spawned.stdin, &mut spawned.stdout, &mut spawned.stderr),
        }))
    }
}

impl Piped for Spawned {}

impl sealed::Sealed for Spawned {
    fn target(&mut self) -> io::Result<Box<dyn Target + '_>> {
        SpawnedTarget::open(self, |handle| handle.process_group().ok())
    }
}

impl Target for SpawnedTarget<'_> {
    fn pipes(&mut self) -> PipesMut<'_> {
        PipesMut::new(self.pipes.stdin, self.pipes.stdout, self.pipes.stderr)
    }

    fn subject(&mut self) -> &mut dyn Subject {
        &mut self.subject
    }

    fn leads_group(&mut self) -> bool {
        if self.group.is_none() {
            self.group = self.handle.process_group().ok();
        }
        self.group.is_some()
    }

    fn is_waitable(&mut self) -> io::Result<bool> {
        match self.subject.is_waitable() {
            Err(error) if is_echild(&error) => Ok(true),
            found => found,
        }
    }

    fn take_status(&mut self) -> io::Result<Option<ExitStatus>> {
        match try_share(&mut self.subject) {
            // The usage was lost when the handle was made.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.subject.forgo_usage();
                try_share(&mut self.subject)
            }
            taken => taken,
        }
    }

    fn usage(&self) -> Option<ResourceUsage> {
        self.subject.usage()
    }
}

/// Whether a child that no `ProcessGroup` keeps leads a group.
pub(crate) fn leads_group(child: &mut impl Subject) -> bool {
    child.signal_group(0).map_or_else(is_denied, |()| true)
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
        let flags = [
            Fd::flags_of(self.stdin)?,
            Fd::flags_of(self.stdout)?,
            Fd::flags_of(self.stderr)?,
        ];
        Ok(self.take_with(flags))
    }

    /// Takes pipes that were just made for the child: they have no flags, and are closed after the run.
    pub(super) fn take_new(self) -> [Option<Fd>; 3] {
        self.take_with([0; 3])
    }

    fn take_with(self, [stdin, stdout, stderr]: [i32; 3]) -> [Option<Fd>; 3] {
        [
            self.stdin.take().map(|pipe| Fd::new(pipe.into(), stdin)),
            self.stdout.take().map(|pipe| Fd::new(pipe.into(), stdout)),
            self.stderr.take().map(|pipe| Fd::new(pipe.into(), stderr)),
        ]
    }

    /// Puts pipes into the child.
    pub(super) fn put(self, [stdin, stdout, stderr]: [Option<Fd>; 3]) {
        *self.stdin = stdin.and_then(Fd::into_inner).map(ChildStdin::from);
        *self.stdout = stdout.and_then(Fd::into_inner).map(ChildStdout::from);
        *self.stderr = stderr.and_then(Fd::into_inner).map(ChildStderr::from);
    }
}
