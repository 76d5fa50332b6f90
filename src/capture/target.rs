// Tests: tests/it/capture/subject.rs (every test of a capture runs on it)

//! What a capture needs from a child: the same for `Child` and `Spawned`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};

use nix::libc::c_int;

use super::stream::Fd;
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

/// A child while its output is captured. Only `reap` reaps it.
pub trait Target {
    fn pipes(&mut self) -> PipesMut<'_>;

    /// A descriptor that is readable once the child has exited. `None`: check repeatedly.
    fn exit_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Whether the child has exited. A zombie has exited unless a tracer holds it, and so has a child
    /// that other code reaped.
    fn has_exited(&mut self) -> io::Result<bool>;

    /// Signals the child. ECHILD: it was reaped.
    fn signal(&mut self, signal: c_int) -> io::Result<()>;

    /// Signals the group that the child leads. ESRCH: it leads none. ECHILD: it was reaped.
    fn signal_group(&mut self, signal: c_int) -> io::Result<()>;

    /// Whether no process of the group that the child leads is alive. Fails if that is unknown.
    fn group_has_exited(&mut self) -> io::Result<bool>;

    /// Reaps the child, which has exited. If other code reaped it during the capture, returns the
    /// status of the kernel's record, if there is one; otherwise ECHILD.
    fn reap(&mut self) -> io::Result<ExitStatus>;
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
