//! Spawning a child that has a handle from the start.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use nix::errno::Errno;

use super::open::check_pid;
use super::PidHandle;
use crate::backend::Process;
use crate::support::{self, Backend};

/// A child that was just spawned: its handle, and its pipes.
///
/// From [`PidHandle::spawn`], or of a std [`Child`] by `Spawned::from`. A pipe is `Some` if the
/// command asked for it, with [`Stdio::piped`](std::process::Stdio::piped). The fields are as those
/// of `Child`: take out what you need.
///
/// **A wait does not close `stdin`**, unlike std's `Child::wait`: drop it first if the child reads
/// until its end. Dropping a `Spawned` closes the pipes, and neither kills nor reaps the child.
/// [`KillOnDrop`](crate::KillOnDrop) does both; [`ChildExt`](crate::ChildExt) has the same waits for a
/// `Child` itself.
///
/// # Examples
///
/// ```
/// use pidwait::PidHandle;
/// use std::io::{read_to_string, Write};
/// use std::process::{Command, Stdio};
///
/// let mut cat = PidHandle::spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()))?;
/// if let Some(mut stdin) = cat.stdin.take() {
///     stdin.write_all(b"meow")?;
/// } // Closed here, so that `cat` ends.
/// assert_eq!(cat.stdout.take().map(read_to_string).transpose()?.as_deref(), Some("meow"));
/// assert!(cat.handle.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "if it is dropped, no handle is left to reap the child with"]
pub struct Spawned {
    /// The child's handle.
    pub handle: PidHandle,
    /// The end to write to of the child's standard input.
    pub stdin: Option<ChildStdin>,
    /// The end to read from of the child's standard output.
    pub stdout: Option<ChildStdout>,
    /// The end to read from of the child's standard error.
    pub stderr: Option<ChildStderr>,
}

impl Spawned {
    pub(crate) fn new(mut child: Child, to_handle: impl FnOnce(Child) -> PidHandle) -> Self {
        Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            handle: to_handle(child),
        }
    }
}

impl PidHandle {
    /// Spawns a command and opens the child before anything can reap it.
    ///
    /// The way to start a child for a handle. No error leaves a child behind. A child that has
    /// exited by the time this returns is an ordinary zombie: all waits get its status, and its
    /// usage and its process group are still there.
    ///
    /// The pipes that the command asked for come beside the handle. [`wait`](Self::wait) does not
    /// close a `stdin` that is still held.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// assert_eq!(child.wait()?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - Those of [`Command::spawn`], unchanged: ENOENT if there is no such program, EAGAIN, ENOMEM.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) or [`Unsupported`](io::ErrorKind::Unsupported)
    ///   of [`support`](crate::support), if `PIDWAIT_BACKEND` is wrong; nothing is spawned then.
    ///
    /// # Platform notes
    ///
    /// If no descriptor is available for a pidfd, this handle uses
    /// [`Backend::Waitpid`](crate::Backend::Waitpid), which is as safe for an unreaped child.
    ///
    /// If other code of this process reaps every child, as a loop around `waitpid(-1)` does, or if
    /// SIGCHLD is ignored, a child that ends at once can be reaped before it is opened. The handle
    /// is done then: each wait fails with ECHILD.
    #[doc(alias = "fork")]
    #[doc(alias = "posix_spawn")]
    pub fn spawn(command: &mut Command) -> io::Result<Spawned> {
        // Before the fork, so that a wrong variable leaves no child behind. An errno is a lack of
        // descriptors or memory, which `open_child` can do without.
        if let Err(error) = support::support() {
            if error.raw_os_error().is_none() {
                return Err(error);
            }
        }
        Ok(Spawned::new(command.spawn()?, |child| open_new(child.id())))
    }
}

/// A handle of a child that was just spawned. Never fails.
fn open_new(pid: u32) -> PidHandle {
    let opened = check_pid(pid).map(Process::open_child);
    if let Ok(Ok((process, mut seen))) = opened {
        // Other code may have reaped the child before it was opened, and an unrelated process may
        // have the PID.
        if process.peek(&mut seen) != Err(Errno::ECHILD) {
            return PidHandle::live(pid, process, seen);
        }
    }
    PidHandle::done(pid, default_backend())
}

/// The backend of a handle that needs none.
pub(crate) fn default_backend() -> Backend {
    support::support().map_or(Backend::Waitpid, |support| support.backend())
}
