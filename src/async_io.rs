//! `AsyncIoPidHandle`: waits as futures on async-io's reactor. Feature `async-io`.

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ::async_io::{Async, Timer};

use crate::async_wait::{self, Registration};
use crate::wait::Backoff;
use crate::{PidHandle, ResourceUsage};

/// A [`PidHandle`] with waits that are futures on async-io's reactor.
///
/// It is made of a handle and shares its state, so everything else is done through
/// [`handle`](Self::handle): signals, `release`, `exit_status`. Clones share one registration with
/// the reactor, and each future of each clone is woken. There is no `Deref`, so that a method of
/// this type is never a blocking wait.
///
/// Futures never block or spin. They look before they wait, so a process that has exited already is
/// returned at the first poll. **Dropping a future loses nothing**: the status stays with the child,
/// and the next wait gets it. So a timeout is that of the runtime, around any wait.
///
/// If the handle is released while a future waits, the future fails with EINVAL when the process
/// exits, and reaps nothing. If another wait gets the status first, `wait` fails with ECHILD.
///
/// The descriptor of the process stays open as long as the handle or a clone of it lives, even when
/// the process is reaped. [`KillOnDrop`](crate::KillOnDrop) works around it.
///
/// # Examples
///
/// ```
/// use pidwait::{PidHandle, AsyncIoPidHandle};
/// use std::process::Command;
/// use std::time::Duration;
///
/// # async_io::block_on(async {
/// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let child = AsyncIoPidHandle::new(&child)?;
/// use futures_lite::FutureExt;
/// let timeout = async { async_io::Timer::after(Duration::from_millis(10)).await; None };
/// assert!(async { Some(child.wait().await) }.or(timeout).await.is_none());
/// let status = child.terminate(Duration::from_secs(5)).await?;
/// assert!(!status.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Runtime
///
/// async-io is the reactor of smol; it starts a thread of its own at first use and works with any
/// executor. There is nothing to enable, and the handle can be used in every runtime of the program.
/// For the futures of tokio's own runtime, make a `TokioPidHandle` of the same
/// [`handle`](Self::handle).
#[derive(Clone, Debug)]
pub struct AsyncIoPidHandle {
    registered: Arc<Async<Registration>>,
    handle: PidHandle,
}

impl AsyncIoPidHandle {
    /// Registers a handle with async-io's reactor.
    ///
    /// The process may be a child or not. Another one of the same handle is another registration,
    /// which has a descriptor of its own; to wait in several tasks, clone instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # async_io::block_on(async {
    /// let own = PidHandle::open(std::process::id())?;
    /// let own = AsyncIoPidHandle::new(&own)?;
    /// assert_eq!(own.handle().id(), std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done. EINVAL: it is released.
    /// - Those of [`PidHandle::exit_fd`], and of the reactor: EMFILE, ENOMEM, ENOSPC.
    pub fn new(handle: &PidHandle) -> io::Result<Self> {
        let registered = Registration::register(handle, Async::new_nonblocking)?;
        Ok(Self {
            registered: Arc::new(registered),
            handle: handle.clone(),
        })
    }

    /// Returns the handle, for everything that does not wait.
    ///
    /// Its own waits block: call them only where blocking is allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let child = AsyncIoPidHandle::new(&child)?;
    /// child.handle().kill()?;
    /// assert!(!child.wait().await?.success());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&self) -> &PidHandle {
        &self.handle
    }

    /// Waits for the child to exit and reaps it, as [`PidHandle::wait`].
    ///
    /// Of several waits, one gets the status. A dropped future has reaped nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// assert!(AsyncIoPidHandle::new(&child)?.wait().await?.success());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait`], as soon as the kernel reports them; those of the reactor.
    #[doc(alias = "waitid")]
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.wait_for(PidHandle::try_wait).await
    }

    /// Waits as [`wait`](Self::wait) does, and returns the resources that the process used, as
    /// [`PidHandle::wait_usage`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let (status, usage) = AsyncIoPidHandle::new(&child)?.wait_usage().await?;
    /// assert!(status.success() && usage.max_rss > 0);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_usage`]; those of the reactor.
    #[doc(alias = "wait4")]
    #[doc(alias = "getrusage")]
    pub async fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        self.wait_for(PidHandle::try_wait_usage).await
    }

    /// Waits as [`wait`](Self::wait) does, but each caller gets the status, whichever wait through
    /// the handle or a clone of it reaps the child: for any number of tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// let child = AsyncIoPidHandle::new(&child)?;
    /// assert_eq!(child.wait_shared().await?.code(), Some(3));
    /// assert_eq!(child.clone().wait_shared().await?.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: no wait through the handle got the status, and the kernel has no record of it.
    /// - EINVAL: the handle was released before.
    /// - Of the runtime: those of the reactor.
    #[doc(alias = "waitid")]
    pub async fn wait_shared(&self) -> io::Result<ExitStatus> {
        self.wait_for(async_wait::try_wait_shared).await
    }

    /// Waits until the process, child or not, has exited, as [`PidHandle::wait_exited`]. It reaps
    /// nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let child = AsyncIoPidHandle::new(&child)?;
    /// child.wait_exited().await?;
    /// assert!(child.wait().await?.success()); // It was not reaped before.
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_exited`]; those of the reactor.
    #[doc(alias = "WNOWAIT")]
    pub async fn wait_exited(&self) -> io::Result<()> {
        self.wait_for(async_wait::try_wait_exited).await
    }

    /// Terminates the child, as [`PidHandle::terminate`]: SIGTERM, at most `grace` to exit, then
    /// SIGKILL; and reaps it.
    ///
    /// A future that is dropped midway leaves the child as it is then: it may have got SIGTERM, or
    /// SIGKILL as well, and is not reaped. It is not killed later, and nothing is lost: wait for it or
    /// terminate it again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    ///
    /// # async_io::block_on(async {
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = AsyncIoPidHandle::new(&child)?.terminate(Duration::from_secs(5)).await?;
    /// assert_eq!(status.signal(), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait), before anything is sent, and of [`PidHandle::signal`].
    #[doc(alias = "kill")]
    pub async fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        async_wait::terminate(&self.handle, grace, || self.wait(), Timer::after).await
    }

    /// Terminates the process group that the child leads, as
    /// [`ProcessGroup::terminate`](crate::ProcessGroup::terminate): SIGTERM to the group, at most
    /// `grace` until no member is alive, then SIGKILL to the group; and reaps the child.
    ///
    /// The reactor waits for the leader. Other members that are alive after the leader's exit are
    /// looked for repeatedly, 1 ms to 50 ms apart; each look reads `/proc` on the task's thread.
    ///
    /// A future that is dropped midway leaves the group as it is then: signalled once or twice, and
    /// the child unreaped, so the group can be terminated again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, AsyncIoPidHandle};
    /// # use std::process::Command;
    /// use std::os::unix::process::CommandExt;
    /// use std::time::Duration;
    ///
    /// # async_io::block_on(async {
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & sleep 60"]).process_group(0);
    /// let child = PidHandle::spawn(&mut command)?.handle;
    /// let child = AsyncIoPidHandle::new(&child)?;
    /// let status = child.terminate_process_group(Duration::from_secs(5)).await?;
    /// assert!(!status.success());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate); EINVAL also if the handle
    /// is released meanwhile; those of the reactor.
    #[doc(alias = "killpg")]
    pub async fn terminate_process_group(&self, grace: Duration) -> io::Result<ExitStatus> {
        async_wait::end_process_group(&self.handle, grace, || self.wait_exited(), Timer::after)
            .await?;
        self.wait().await
    }

    async fn wait_for<T>(
        &self,
        look: impl Fn(&PidHandle) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let backoff = Backoff::new();
        async_wait::wait_for(
            || look(&self.handle),
            || self.registered.readable(),
            // The descriptor stays readable, and so does the reactor's event.
            |()| Timer::after(backoff.next_delay(None).unwrap_or_default()),
        )
        .await
    }
}

// The reactor's types do not implement these. A panic leaves nothing half done that a later call
// could see: each call looks at the process again.
impl UnwindSafe for AsyncIoPidHandle {}
impl RefUnwindSafe for AsyncIoPidHandle {}

impl AsRef<PidHandle> for AsyncIoPidHandle {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}
