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
/// driver (`enable_io`), and for `terminate` and `terminate_process_group` its timer (`enable_time`);
/// `enable_all` and `#[tokio::main]` have both. Without them tokio panics: see each method.
///
/// A handle belongs to the runtime in which it was made. If that runtime shuts down, pending futures
/// and later ones that have to wait fail with an error that tokio gives no errno. To move to
/// another runtime, make another one of the same handle there:
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
    /// Registers a handle with tokio's reactor, in the runtime that this is called in.
    ///
    /// The process may be a child or not. Another one of the same handle is another registration,
    /// which has a descriptor of its own; to wait in several tasks, clone instead.
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
    /// - ECHILD: the handle is done. EINVAL: it is released.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the caller is not in a tokio runtime.
    /// - Those of [`PidHandle::exit_fd`], and of the reactor: EMFILE, ENOMEM, ENOSPC.
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

    /// Returns the handle, for everything that does not wait.
    ///
    /// Its own waits block: call them only where blocking is allowed.
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

    /// Waits for the child to exit and reaps it, as [`PidHandle::wait`].
    ///
    /// Of several waits, one gets the status. A dropped future has reaped nothing.
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
    /// Those of [`PidHandle::wait`], as soon as the kernel reports them; if the runtime shuts down, an error of tokio's.
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
    /// Those of [`PidHandle::wait_usage`]; if the runtime shuts down, an error of tokio's.
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

    /// Waits until the process, child or not, has exited, as [`PidHandle::wait_exited`]. It reaps
    /// nothing.
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
    /// Those of [`PidHandle::wait_exited`]; if the runtime shuts down, an error of tokio's.
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
    /// Those of [`wait`](Self::wait), before anything is sent, and of [`PidHandle::signal`].
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_time`, or if the future is polled
    /// outside of a runtime. Nothing was sent then.
    #[doc(alias = "kill")]
    pub async fn terminate(&self, grace: Duration) -> io::Result<ExitStatus> {
        // Panics without a timer: now, before anything is sent.
        drop(time::sleep(Duration::ZERO));
        async_wait::terminate(&self.handle, grace, || self.wait(), time::sleep).await
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
    /// Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate); EINVAL also if the handle
    /// is released meanwhile; if the runtime shuts down, an error of tokio's.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime was built without `enable_time`, or if the future is polled
    /// outside of a runtime. Nothing was sent then.
    #[doc(alias = "killpg")]
    pub async fn terminate_process_group(&self, grace: Duration) -> io::Result<ExitStatus> {
        // Panics without a timer: now, before anything is sent.
        drop(time::sleep(Duration::ZERO));
        async_wait::end_process_group(&self.handle, grace, || self.wait_exited(), time::sleep)
            .await?;
        self.wait().await
    }

    async fn wait_for<T>(
        &self,
        look: impl Fn(&PidHandle) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        async_wait::wait_for(
            || look(&self.handle),
            || self.registered.readable(),
            // Not before a look has failed, so that no other future misses the event. When there is
            // something new, the reactor reports it.
            |mut ready: AsyncFdReadyGuard<'_, _>| {
                ready.clear_ready();
                std::future::ready(())
            },
        )
        .await
    }
}

// The reactor's types do not implement these. A panic leaves nothing half done that a later call
// could see: each call looks at the process again.
impl UnwindSafe for TokioPidHandle {}
impl RefUnwindSafe for TokioPidHandle {}

impl AsRef<PidHandle> for TokioPidHandle {
    fn as_ref(&self) -> &PidHandle {
        &self.handle
    }
}
