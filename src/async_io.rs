// Tests: tests/it/async_io.rs, tests/it/reactor/

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
/// It shares the state of the handle that it is made from. [`handle`](Self::handle) returns that
/// handle for all other calls: signals, `release`, `exit_status`. There is no `Deref`, so that no
/// blocking wait is called by accident. Clones share one registration with the reactor, and any number
/// of futures can wait.
///
/// Futures never block or spin. They check before they wait, so if the process has already exited, the
/// first poll is ready. **Dropping a future loses nothing**: the child is not reaped, and the next wait
/// returns its status. So any wait can be given the runtime's own timeout.
///
/// If the handle is released while a future waits, the future fails with EINVAL when the process
/// exits, and reaps nothing. If another wait gets the status first, `wait` fails with ECHILD.
///
/// This handle and its clones keep the descriptor of the process open, even after the process was
/// reaped. To kill the child on drop, wrap this handle in [`KillOnDrop`](crate::KillOnDrop).
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
/// async-io is the reactor of smol. It starts its own thread at first use and works with any executor,
/// so there is nothing to enable. In a tokio runtime, `TokioPidHandle` does without that thread.
#[derive(Clone, Debug)]
pub struct AsyncIoPidHandle {
    registered: Arc<Async<Registration>>,
    handle: PidHandle,
}

impl AsyncIoPidHandle {
    /// Registers a handle with async-io's reactor.
    ///
    /// The process may be a child or not. To wait in several tasks, clone the result: a second call for
    /// the same handle makes another registration, with its own descriptor.
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
    /// - ECHILD: the handle is done.
    /// - EINVAL: the handle is released.
    /// - Those of [`PidHandle::exit_fd`], and of the reactor: EMFILE, ENOMEM, ENOSPC.
    ///
    /// # Panics
    ///
    /// async-io panics if it cannot start, at its first use in the program: if no descriptor, memory or
    /// thread is available for its reactor.
    pub fn new(handle: &PidHandle) -> io::Result<Self> {
        let registered = Registration::register(handle, Async::new_nonblocking)?;
        Ok(Self {
            registered: Arc::new(registered),
            handle: handle.clone(),
        })
    }

    /// Returns the handle, for all calls that do not wait.
    ///
    /// The waits of that handle block: do not call them in async code.
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

    /// Waits for the child to exit and reaps it, like [`PidHandle::wait`].
    ///
    /// If several tasks wait, one gets the status: see [`wait_shared`](Self::wait_shared). Dropping the
    /// future reaps nothing.
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
    /// Those of [`PidHandle::wait`], as soon as the kernel reports them, and of the reactor.
    #[doc(alias = "waitid")]
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.wait_for(PidHandle::try_wait).await
    }

    /// Waits for the child to exit, reaps it, and also returns the resources that it used, like
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
    /// Those of [`PidHandle::wait_usage`], and of the reactor.
    #[doc(alias = "wait4")]
    #[doc(alias = "getrusage")]
    pub async fn wait_usage(&self) -> io::Result<(ExitStatus, ResourceUsage)> {
        self.wait_for(PidHandle::try_wait_usage).await
    }

    /// Waits for the child to exit and reaps it, and returns the status to every caller, like
    /// [`PidHandle::wait_shared`].
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

    /// Waits until the process, child or not, has exited, like [`PidHandle::wait_exited`]. Nothing is
    /// reaped.
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
    /// Those of [`PidHandle::wait_exited`], and of the reactor.
    #[doc(alias = "WNOWAIT")]
    pub async fn wait_exited(&self) -> io::Result<()> {
        self.wait_for(async_wait::try_wait_exited).await
    }

    /// Terminates the child and reaps it, like [`PidHandle::terminate`]: sends SIGTERM, waits for at
    /// most `grace`, then sends SIGKILL.
    ///
    /// If the future is dropped before it is ready, the child has got SIGTERM, or SIGKILL as well, and
    /// is not reaped. No signal is sent later. Wait for the child, or terminate it again.
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
    /// - Those of [`wait`](Self::wait). For a non-child, nothing is sent.
    /// - Those of [`PidHandle::signal`].
    #[doc(alias = "kill")]
    pub async fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        async_wait::terminate(&self.handle, grace, || self.wait(), Timer::after).await
    }

    /// Terminates the process group that the child leads, and reaps the child, like
    /// [`ProcessGroup::terminate`](crate::ProcessGroup::terminate): sends SIGTERM to the group, waits
    /// for at most `grace` until no member is alive, then sends SIGKILL to the group.
    ///
    /// The reactor waits for the leader. After the leader has exited, the future checks repeatedly for
    /// other members, 1 ms to 50 ms apart. Each check reads `/proc` on the task's thread.
    ///
    /// If the future is dropped before it is ready, the group has got SIGTERM, or SIGKILL as well, and
    /// the child is not reaped, so the group can be terminated again.
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
    /// - Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate), and of the reactor.
    /// - EINVAL: the handle is released, before the call or during it.
    #[doc(alias = "killpg")]
    pub async fn terminate_process_group(&self, grace: Duration) -> io::Result<ExitStatus> {
        async_wait::end_process_group(&self.handle, grace, || self.wait_exited(), Timer::after)
            .await?;
        self.wait().await
    }

    async fn wait_for<T>(
        &self,
        check: impl Fn(&PidHandle) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let backoff = Backoff::new();
        async_wait::wait_for(
            || check(&self.handle),
            || self.registered.readable(),
            // The descriptor stays readable, so the reactor would report it again at once.
            |()| Timer::after(backoff.next_delay(None).unwrap_or_default()),
        )
        .await
    }
}

// The reactor's types do not implement these. A panic leaves no state that a later call could
// misread: each call checks the process again.
impl UnwindSafe for AsyncIoPidHandle {}
impl RefUnwindSafe for AsyncIoPidHandle {}

impl AsRef<PidHandle> for AsyncIoPidHandle {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}
