// Tests: tests/it/spawn.rs, tests/contract/others.rs

//! Spawning a child that has a handle from the start.

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use nix::errno::Errno;

use super::open::check_pid;
use super::PidHandle;
use crate::backend::Process;
use crate::process_group::ProcessGroup;
use crate::support::{self, Backend};

/// A child that was just spawned: its handle and its pipes.
///
/// Returned by [`PidHandle::spawn`], or made from a std [`Child`] by `Spawned::from`. As in `Child`, a
/// pipe is `Some` if the command asked for it with [`Stdio::piped`](std::process::Stdio::piped), and
/// you can take out the fields that you need.
///
/// **A wait does not close `stdin`**, unlike std's `Child::wait`: drop it first if the child reads its
/// input to the end. Dropping a `Spawned` closes the pipes, and neither kills nor reaps the child.
/// [`KillOnDrop`](crate::KillOnDrop) does both.
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
#[must_use = "dropping it drops the handle and leaves the child unreaped"]
pub struct Spawned {
    /// The child's handle.
    pub handle: PidHandle,
    /// The process group of the child, if the child led one when it was spawned.
    ///
    /// As long as it lives, a wait returns the status and leaves the zombie, so that the number of the
    /// group is not reused: see [`ProcessGroup`].
    pub group: Option<ProcessGroup>,
    /// The pipe to the child's standard input.
    pub stdin: Option<ChildStdin>,
    /// The pipe from the child's standard output.
    pub stdout: Option<ChildStdout>,
    /// The pipe from the child's standard error.
    pub stderr: Option<ChildStderr>,
}

impl Spawned {
    pub(crate) fn new(
        mut child: Child,
        to_handle: impl FnOnce(Child) -> (PidHandle, Option<ProcessGroup>),
    ) -> Self {
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (handle, group) = to_handle(child);
        Self {
            handle,
            group,
            stdin,
            stdout,
            stderr,
        }
    }
}

impl AsRef<PidHandle> for Spawned {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}

impl PidHandle {
    /// Spawns a command, and returns a handle to the child together with its pipes.
    ///
    /// If the call fails, no child is left behind. A child that has already exited is an ordinary
    /// zombie: a wait returns its status and its usage, and its process group can be signalled.
    ///
    /// [`wait`](Self::wait) does not close the `stdin` pipe.
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
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput), [`Unsupported`](io::ErrorKind::Unsupported):
    ///   `PIDWAIT_BACKEND` is invalid or cannot be met; see [`support`](fn@crate::support). Nothing is
    ///   spawned.
    ///
    /// # Platform notes
    ///
    /// If no descriptor is available for a pidfd, this handle uses
    /// [`Backend::Waitpid`], which is as safe for an unreaped child.
    ///
    /// If other code of this process reaps every child, as a loop around `waitpid(-1)` does, or if
    /// SIGCHLD is ignored, a child that exits at once can be reaped before it is opened. The handle
    /// is then done: every wait fails with ECHILD.
    #[doc(alias = "fork")]
    #[doc(alias = "posix_spawn")]
    pub fn spawn(command: &mut Command) -> io::Result<Spawned> {
        // Before the fork, so that a wrong variable leaves no child behind. An errno means that no
        // descriptor or memory is available; `open_child` then works by PID.
        if let Err(error) = support::support() {
            if error.raw_os_error().is_none() {
                return Err(error);
            }
        }
        Ok(Spawned::new(command.spawn()?, |child| open_new(child.id())))
    }
}

/// Makes a handle to a child that was just spawned. Never fails.
fn open_new(pid: u32) -> (PidHandle, Option<ProcessGroup>) {
    let opened = check_pid(pid).map(Process::open_child);
    if let Ok(Ok((process, mut seen))) = opened {
        // Other code may have reaped the child before it was opened, and an unrelated process may
        // have the PID.
        if process.peek(&mut seen, None) != Err(Errno::ECHILD) {
            let handle = PidHandle::live(pid, process, seen);
            let group = ProcessGroup::of_new_child(&handle);
            return (handle, group);
        }
    }
    (PidHandle::done(pid, default_backend()), None)
}

/// The backend that a done handle reports.
pub(crate) fn default_backend() -> Backend {
    support::support().map_or(Backend::Waitpid, |support| support.backend())
}
