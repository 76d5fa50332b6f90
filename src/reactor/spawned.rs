// Tests: tests/it/reactor/spawn.rs

//! `AsyncSpawned`: a child that was just spawned, with pipes of the runtime.

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};

use super::driver::FromPipe;
use super::{AsyncPidHandle, AsyncProcessGroup, Reactor};
use crate::kill_on_drop::{self, Guarded, Target};
use crate::{PidHandle, Spawned};

/// A child that was just spawned: its handle, its process group and its pipes, on a [`Reactor`].
///
/// Returned by [`AsyncPidHandle::spawn`], or made from a [`Spawned`] by [`from_std`](Self::from_std). With
/// tokio it is `TokioSpawned`, with async-io `AsyncIoSpawned`. A pipe is `Some` if the command asked for it
/// with [`Stdio::piped`](std::process::Stdio::piped). Take out the fields that you need.
///
/// The pipes are types of the runtime: with tokio `tokio::net::unix::pipe::{Sender, Receiver}`, which need
/// no feature `process`, and with async-io `Async<ChildStdin>` and so on. They implement the runtime's
/// traits for reading and writing.
///
/// **A wait does not close `stdin`**: drop it first if the child reads its input to the end. Dropping an
/// `AsyncSpawned` closes the pipes and gives the group up, and neither kills nor reaps the child.
/// [`KillOnDrop`](crate::KillOnDrop) does both.
///
/// It is not a [`Piped`](crate::Piped), so that a [`Capture`](crate::Capture) does not run on it: to put the
/// pipes back, a drop would have to register them again. A capture takes a `Command`, a `Child` or a
/// `Spawned`.
///
/// # Examples
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use pidwait::TokioPidHandle;
/// use std::process::{Command, Stdio};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut command = Command::new("cat");
/// let mut cat = TokioPidHandle::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
/// if let Some(mut stdin) = cat.stdin.take() {
///     stdin.write_all(b"meow").await?;
/// } // Closed here, so that `cat` ends.
/// let mut text = String::new();
/// if let Some(mut stdout) = cat.stdout.take() {
///     stdout.read_to_string(&mut text).await?;
/// }
/// assert_eq!(text, "meow");
/// assert!(cat.handle.wait().await?.success());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "dropping it drops the handle and leaves the child unreaped"]
pub struct AsyncSpawned<R: Reactor> {
    /// The child's handle.
    pub handle: AsyncPidHandle<R>,
    /// The process group of the child, if the child led one when it was spawned.
    ///
    /// As long as it lives, a wait returns the status and leaves the zombie: see
    /// [`ProcessGroup`](crate::ProcessGroup).
    pub group: Option<AsyncProcessGroup<R>>,
    /// The pipe to the child's standard input.
    pub stdin: Option<R::Stdin>,
    /// The pipe from the child's standard output.
    pub stdout: Option<R::Stdout>,
    /// The pipe from the child's standard error.
    pub stderr: Option<R::Stderr>,
}

impl<R: Reactor> AsyncSpawned<R> {
    /// Registers a spawned child and its pipes with the reactor.
    ///
    /// The pipes no longer block. If the call fails, the pipes are closed, and the child is neither killed
    /// nor reaped: keep a clone of [`handle`](Spawned::handle) to do that, or use
    /// [`AsyncPidHandle::spawn`].
    ///
    /// # Errors
    ///
    /// - Those of [`AsyncPidHandle::new`], for the handle and for each pipe.
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): with tokio, what was put in the place of a pipe is
    ///   not a pipe.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{Spawned, TokioSpawned};
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = Spawned::from(Command::new("sh").args(["-c", "exit 3"]).spawn()?);
    /// let child = TokioSpawned::from_std(child)?;
    /// assert_eq!(child.handle.wait().await?.code(), Some(3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`AsyncPidHandle::new`].
    pub fn from_std(spawned: Spawned) -> io::Result<Self> {
        let handle = AsyncPidHandle::new(&spawned.handle)?;
        let group = spawned
            .group
            .map(|group| AsyncProcessGroup::new(handle.clone(), group));
        Ok(Self {
            group,
            stdin: spawned.stdin.map(R::Stdin::from_pipe).transpose()?,
            stdout: spawned.stdout.map(R::Stdout::from_pipe).transpose()?,
            stderr: spawned.stderr.map(R::Stderr::from_pipe).transpose()?,
            handle,
        })
    }
}

// As for the handle.
impl<R: Reactor> UnwindSafe for AsyncSpawned<R> {}
impl<R: Reactor> RefUnwindSafe for AsyncSpawned<R> {}

impl<R: Reactor> AsRef<PidHandle> for AsyncSpawned<R> {
    fn as_ref(&self) -> &PidHandle {
        self.handle.handle()
    }
}

impl<R: Reactor> Guarded for AsyncSpawned<R> {}

impl<R: Reactor> kill_on_drop::sealed::Sealed for AsyncSpawned<R> {
    fn target(&self) -> Target {
        let group = self.group.as_ref().map(AsyncProcessGroup::group);
        Target::new_async(self.handle.handle(), group)
    }
}
