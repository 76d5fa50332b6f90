// Tests: tests/it/tokio.rs, tests/it/reactor/

//! `TokioPidHandle`: waits as futures on tokio's reactor. Feature `tokio`.

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use ::tokio::io::Interest;
use ::tokio::runtime::Handle;
use ::tokio::time;

use crate::async_wait::{self, Registration};
use crate::{PidHandle, ResourceUsage};

/// A [`PidHandle`] with waits that are futures on tokio's reactor.
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
/// use pidwait::{PidHandle, TokioPidHandle};
/// use std::process::Command;
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let child = TokioPidHandle::new(&child)?;
/// let timeout = Duration::from_millis(10);
/// assert!(tokio::time::timeout(timeout, child.wait()).await.is_err());
/// let status = child.terminate(Duration::from_secs(5)).await?;
/// assert!(!status.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Runtime
///
/// The feature `tokio` turns on tokio's features `net`, `rt` and `time`. The runtime needs its I/O
/// driver (`enable_io`). For `terminate` and `terminate_process_group` it also needs its timer
/// (`enable_time`). `enable_all` and `#[tokio::main]` enable both. Without them tokio panics: see each
/// method.
///
/// A `TokioPidHandle` belongs to the runtime in which it was made. Once that runtime has shut down, a
/// future that has to wait fails with an error of tokio's, which has no errno. For another runtime,
/// make another one from the same handle:
///
/// ```
/// # use pidwait::{PidHandle, TokioPidHandle};
/// # use std::process::Command;
/// # let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
/// let (first, second) = (new_runtime()?, new_runtime()?);
/// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let on_first = first.block_on(async { TokioPidHandle::new(&child) })?;
/// drop(first);
/// let on_second = second.block_on(async { TokioPidHandle::new(on_first.handle()) })?;
/// child.kill()?;
/// assert!(!second.block_on(on_second.wait())?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokioPidHandle {
    registered: Arc<AsyncFd<Registration>>,
    handle: PidHandle,
}

impl TokioPidHandle {
    /// Registers a handle with the reactor of the current tokio runtime.
    ///
    /// The process may be a child or not. To wait in several tasks, clone the result: a second call for
    /// the same handle makes another registration, with its own descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let own = PidHandle::open(std::process::id())?;
    /// let own = TokioPidHandle::new(&own)?;
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
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the caller is not in a tokio runtime.
    /// - Those of [`PidHandle::exit_fd`], and of the reactor: EMFILE, ENOMEM, ENOSPC, and an error of
    ///   tokio's if the runtime has shut down.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_io`.
    #[allow(deprecated)] // The successor of `with_interest` needs a newer Rust than this crate.
    pub fn new(handle: &PidHandle) -> io::Result<Self> {
        if let Err(error) = Handle::try_current() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, error));
        }
        let registered = Registration::register(handle, |registration| {
            AsyncFd::with_interest(registration, Interest::READABLE)
        })?;
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let child = TokioPidHandle::new(&child)?;
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// assert!(TokioPidHandle::new(&child)?.wait().await?.success());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait`], as soon as the kernel reports them; and an error of tokio's if the
    /// runtime shuts down.
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let (status, usage) = TokioPidHandle::new(&child)?.wait_usage().await?;
    /// assert!(status.success() && usage.max_rss > 0);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_usage`], and an error of tokio's if the runtime shuts down.
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
    /// let child = TokioPidHandle::new(&child)?;
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
    /// - Of the runtime: if the runtime shuts down, an error of tokio's.
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
    /// let child = TokioPidHandle::new(&child)?;
    /// child.wait_exited().await?;
    /// assert!(child.wait().await?.success()); // It was not reaped before.
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_exited`], and an error of tokio's if the runtime shuts down.
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = TokioPidHandle::new(&child)?.terminate(Duration::from_secs(5)).await?;
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
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_time`, or if the future is polled
    /// outside of a runtime. Nothing is sent in that case.
    #[doc(alias = "kill")]
    pub async fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        // Without a timer this panics, before anything is sent.
        drop(time::sleep(Duration::ZERO));
        async_wait::terminate(&self.handle, grace, || self.wait(), time::sleep).await
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
    /// # use pidwait::{PidHandle, TokioPidHandle};
    /// # use std::process::Command;
    /// use std::os::unix::process::CommandExt;
    /// use std::time::Duration;
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & sleep 60"]).process_group(0);
    /// let child = PidHandle::spawn(&mut command)?.handle;
    /// let child = TokioPidHandle::new(&child)?;
    /// let status = child.terminate_process_group(Duration::from_secs(5)).await?;
    /// assert!(!status.success());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate).
    /// - EINVAL: the handle is released, before the call or during it.
    /// - An error of tokio's if the runtime shuts down.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_time`, or if the future is polled
    /// outside of a runtime. Nothing is sent in that case.
    #[doc(alias = "killpg")]
    pub async fn terminate_process_group(&self, grace: Duration) -> io::Result<ExitStatus> {
        // Without a timer this panics, before anything is sent.
        drop(time::sleep(Duration::ZERO));
        async_wait::end_process_group(&self.handle, grace, || self.wait_exited(), time::sleep)
            .await?;
        self.wait().await
    }

    async fn wait_for<T>(
        &self,
        check: impl Fn(&PidHandle) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        async_wait::wait_for(
            || check(&self.handle),
            || self.registered.readable(),
            // Only after the check found nothing, so that no other future misses the event. The reactor
            // reports the next one.
            |mut ready: AsyncFdReadyGuard<'_, _>| {
                ready.clear_ready();
                std::future::ready(())
            },
        )
        .await
    }
}

// The reactor's types do not implement these. A panic leaves no state that a later call could
// misread: each call checks the process again.
impl UnwindSafe for TokioPidHandle {}
impl RefUnwindSafe for TokioPidHandle {}

impl AsRef<PidHandle> for TokioPidHandle {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}
