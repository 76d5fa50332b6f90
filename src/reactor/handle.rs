// Tests: tests/it/reactor/wait.rs, terminate.rs, dropped.rs

//! `AsyncPidHandle`: a handle whose waits are futures.

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc::c_int;

use super::exit::{self, Exit};
use super::{AsyncProcessGroup, AsyncSpawned, Reactor};
use crate::ending::Ending;
use crate::escalation::Escalation;
use crate::handle::HandleSubject;
use crate::kill_on_drop::{self, Guarded, Target};
use crate::{PidHandle, ResourceUsage};

/// A [`PidHandle`] with waits that are futures on a [`Reactor`].
///
/// With tokio it is `TokioPidHandle`, with async-io `AsyncIoPidHandle`.
///
/// It shares the state of the handle that it is made from. [`handle`](Self::handle) returns that handle,
/// for `release`, `exit_status` and other calls. There is no `Deref`, so that no blocking wait is called
/// by accident. Clones share one registration with the reactor, and any number of futures can wait.
///
/// Futures never block or spin. They are `Send`. They check before they wait, so if the process has already
/// exited, the first poll is ready. **Dropping a future loses nothing**: the child is not reaped, and the
/// next wait returns its status. So any wait can be given the runtime's own timeout. A future of
/// [`terminate`](Self::terminate) that is dropped sends nothing more.
///
/// If the handle is released while a future waits, the future fails with EINVAL when the process exits, and
/// reaps nothing. If another wait gets the status first, [`wait`](Self::wait) fails with ECHILD, and
/// [`wait_shared`](Self::wait_shared) and [`terminate`](Self::terminate) return that status.
///
/// This handle and its clones keep the descriptor of the process open, even after the process was reaped.
/// To kill the child on drop, wrap this handle in [`KillOnDrop`](crate::KillOnDrop). The drop does not
/// block.
///
/// # Examples
///
/// Waits with the runtime's own timeout:
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use pidwait::TokioPidHandle;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let timeout = Duration::from_millis(10);
/// assert!(tokio::time::timeout(timeout, child.wait()).await.is_err());
/// let status = child.terminate(Duration::from_secs(5)).await?;
/// assert!(!status.success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncPidHandle<R: Reactor> {
    exit: Arc<Exit<R>>,
    handle: PidHandle,
}

impl<R: Reactor> AsyncPidHandle<R> {
    /// Registers a handle with the reactor.
    ///
    /// The process may be a child or not. If it is gone, and the handle done, the futures are ready at
    /// once. To wait in several tasks, clone the result: a second call for the same handle makes another
    /// registration, with its own descriptor.
    ///
    /// To spawn a child, use [`spawn`](Self::spawn): after [`PidHandle::spawn`] this call can fail, and the
    /// child then runs on.
    ///
    /// # Errors
    ///
    /// - EINVAL: the handle is released.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the caller is not in a tokio runtime.
    /// - EMFILE, ENFILE, ENOMEM, EAGAIN: as for [`PidHandle::exit_fd`], and EMFILE for a second
    ///   registration.
    /// - ENOMEM, ENOSPC: the reactor cannot register one more descriptor.
    /// - An error of tokio's, without an errno: the runtime has shut down.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{PidHandle, TokioPidHandle};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let own = TokioPidHandle::new(&PidHandle::open(std::process::id())?)?;
    /// assert_eq!(own.id(), std::process::id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_io`. async-io panics if it cannot start, at
    /// its first use in the program: if no descriptor, memory or thread is available for its reactor.
    pub fn new(handle: &PidHandle) -> io::Result<Self> {
        Ok(Self {
            exit: Arc::new(Exit::register(handle.exit_fd()?)?),
            handle: handle.clone(),
        })
    }

    /// Spawns a command, and returns an async handle to the child together with its group and its pipes.
    ///
    /// Like [`PidHandle::spawn`]. The pipes are those of the runtime: see [`AsyncSpawned`]. If the call
    /// fails after the fork, because the child cannot be registered with the reactor, the child is killed,
    /// and reaped in the background.
    ///
    /// # Errors
    ///
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the caller is not in a tokio runtime. Nothing is
    ///   spawned.
    /// - Those of [`PidHandle::spawn`].
    /// - Those of [`new`](Self::new). The child is killed.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// assert_eq!(child.wait().await?.code(), Some(3));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_io` or `enable_time`, before the fork.
    /// async-io panics as in [`new`](Self::new).
    #[doc(alias = "fork")]
    #[doc(alias = "posix_spawn")]
    pub fn spawn(command: &mut Command) -> io::Result<AsyncSpawned<R>> {
        R::check()?;
        let spawned = PidHandle::spawn(command)?;
        let target = Target::new_async(&spawned.handle, spawned.group.as_ref());
        AsyncSpawned::from_std(spawned).inspect_err(|_| target.begin_to_end(Escalation::kill()))
    }

    /// Returns the handle, for all calls that do not wait.
    ///
    /// The waits and the ends of that handle block: do not call them in async code.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(&mut Command::new("true"))?.handle;
    /// child.wait().await?;
    /// assert!(child.handle().exit_status().is_some_and(|status| status.success()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle(&self) -> &PidHandle {
        &self.handle
    }

    /// Returns the PID of the process, like [`PidHandle::id`].
    ///
    /// # Examples
    ///
    /// See [`new`](Self::new).
    pub fn id(&self) -> u32 {
        self.handle.id()
    }

    /// Sends a signal to the process, like [`PidHandle::signal`]. It does not block.
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::signal`].
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.signal(15)?; // SIGTERM
    /// assert_eq!(child.wait().await?.signal(), Some(15));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "kill")]
    #[doc(alias = "pidfd_send_signal")]
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        self.handle.signal(signal)
    }

    /// Kills the process with SIGKILL, like [`PidHandle::kill`]. It neither blocks nor reaps.
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::signal`].
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.kill()?;
    /// assert!(!child.wait().await?.success());
    /// # Ok(())
    /// # }
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.handle.kill()
    }

    /// Returns the process group that the process leads, like [`PidHandle::process_group`].
    ///
    /// The group keeps its leader: see [`ProcessGroup`](crate::ProcessGroup).
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::process_group`].
    ///
    /// # Examples
    ///
    /// See [`AsyncProcessGroup`].
    #[doc(alias = "killpg")]
    pub fn process_group(&self) -> io::Result<AsyncProcessGroup<R>> {
        Ok(AsyncProcessGroup::new(
            self.clone(),
            self.handle.process_group()?,
        ))
    }

    /// Waits for the child to exit and reaps it, like [`PidHandle::wait`].
    ///
    /// If several tasks wait, one gets the status: see [`wait_shared`](Self::wait_shared). Dropping the
    /// future reaps nothing.
    ///
    /// # Errors
    ///
    /// - Those of [`PidHandle::wait`], as soon as the kernel reports them.
    /// - An error of tokio's, without an errno: the runtime of this handle has shut down.
    ///
    /// # Examples
    ///
    /// See [`spawn`](Self::spawn).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.exit.attempt(|| self.handle.try_wait()).await
    }

    /// Waits for the child to exit, reaps it, and also returns the resources that it used, like
    /// [`PidHandle::wait_usage`].
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), and those of [`PidHandle::wait_usage`].
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let (status, usage) = child.wait_usage().await?;
    /// assert!(status.success() && usage.max_rss > 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "wait4")]
    #[doc(alias = "getrusage")]
    pub async fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        self.exit.attempt(|| self.handle.try_wait_usage()).await
    }

    /// Waits for the child to exit and reaps it, and returns the status to every caller, like
    /// [`PidHandle::wait_shared`].
    ///
    /// # Errors
    ///
    /// - Those of [`PidHandle::wait_shared`].
    /// - An error of tokio's, without an errno: the runtime of this handle has shut down.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// assert_eq!(child.wait_shared().await?.code(), Some(3));
    /// assert_eq!(child.clone().wait_shared().await?.code(), Some(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    pub async fn wait_shared(&self) -> io::Result<ExitStatus> {
        self.exit.attempt(|| self.handle.try_wait_shared()).await
    }

    /// Waits until the process, child or not, has exited, like [`PidHandle::wait_exited`]. Nothing is
    /// reaped.
    ///
    /// # Errors
    ///
    /// - EINVAL: the handle is released.
    /// - An error of tokio's, without an errno: the runtime of this handle has shut down.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(&mut Command::new("true"))?.handle;
    /// child.wait_exited().await?;
    /// assert!(child.wait().await?.success()); // It was not reaped before.
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "waitid")]
    #[doc(alias = "WNOWAIT")]
    pub async fn wait_exited(&self) -> io::Result<()> {
        let attempt = || Ok(self.handle.has_exited()?.then_some(()));
        self.exit.attempt(attempt).await
    }

    /// Ends the child and reaps it, like [`PidHandle::terminate`].
    ///
    /// Takes an [`Escalation`], or a [`Duration`](std::time::Duration): SIGTERM with that grace period, then
    /// SIGKILL. If another wait gets the status, before the call or during it, the future returns that
    /// status.
    ///
    /// Nothing is sent before the first poll. A future that is dropped before it is ready sends nothing
    /// more, and the child is not reaped: wait for the child, or end it again.
    ///
    /// # Errors
    ///
    /// - Those of [`PidHandle::terminate`].
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the future is not polled in a tokio runtime. Nothing is
    ///   sent.
    /// - An error of tokio's, without an errno: the runtime of this handle has shut down.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = child.terminate(Duration::from_secs(5)).await?;
    /// assert_eq!(status.signal(), Some(15)); // SIGTERM
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// tokio panics at the first poll if the runtime was built without `enable_io` or `enable_time`.
    /// Nothing is sent in that case.
    #[doc(alias = "kill")]
    pub async fn terminate(&self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus> {
        R::check()?;
        let escalation = escalation.into();
        escalation.check()?;
        let mut subject = HandleSubject::new(&self.handle);
        if let Some(status) = self.handle.status_to_terminate(&mut subject)? {
            return Ok(status);
        }
        let mut ending = Ending::reaping(escalation);
        exit::run(&mut ending, &mut subject, &self.exit).await?;
        ending.status().ok_or_else(|| Errno::ECHILD.into())
    }

    /// Ends the process, child or not, and leaves a child's zombie to a later wait, like
    /// [`PidHandle::terminate_unreaped`].
    ///
    /// Otherwise it is like [`terminate`](Self::terminate).
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), except ECHILD.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::{PidHandle, TokioPidHandle};
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// let process = TokioPidHandle::new(&PidHandle::open(child.id())?)?;
    /// process.terminate_unreaped(Duration::from_secs(5)).await?;
    /// assert_eq!(child.wait()?.signal(), Some(15)); // Its `Child` reaps it.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`terminate`](Self::terminate).
    #[doc(alias = "kill")]
    pub async fn terminate_unreaped(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        R::check()?;
        let escalation = escalation.into();
        escalation.check()?;
        let mut subject = HandleSubject::new(&self.handle);
        if self.handle.is_over(&mut subject)? {
            return Ok(());
        }
        exit::run(&mut Ending::unreaped(escalation), &mut subject, &self.exit).await
    }

    pub(super) fn exit(&self) -> &Exit<R> {
        &self.exit
    }
}

// The reactors' types do not implement these. A panic leaves no state that a later call could misread: each
// call checks the process again.
impl<R: Reactor> UnwindSafe for AsyncPidHandle<R> {}
impl<R: Reactor> RefUnwindSafe for AsyncPidHandle<R> {}

impl<R: Reactor> AsRef<PidHandle> for AsyncPidHandle<R> {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}

impl<R: Reactor> Guarded for AsyncPidHandle<R> {}

impl<R: Reactor> kill_on_drop::sealed::Sealed for AsyncPidHandle<R> {
    fn target(&self) -> Target {
        Target::new_async(&self.handle, None)
    }
}
