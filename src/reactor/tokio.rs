// Tests: tests/it/tokio.rs, tests/it/reactor/

//! The tokio runtime. Feature `tokio`.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::Interest;
use ::tokio::net::unix::pipe::{Receiver, Sender};
use ::tokio::runtime::Handle;
use ::tokio::{task, time};

use super::driver::{Descriptor, Direction, Driver, FromPipe};
use super::{AsyncPidHandle, AsyncSpawned, Reactor};

/// The [`Reactor`] of tokio: the runtime that the caller runs in. Feature `tokio`.
///
/// The feature turns on tokio's features `net`, `rt` and `time`; `process` is not needed. The pipes are
/// [`tokio::net::unix::pipe`]'s `Sender` and `Receiver`.
///
/// # Examples
///
/// See [`TokioPidHandle`].
///
/// [`tokio::net::unix::pipe`]: https://docs.rs/tokio/latest/tokio/net/unix/pipe/index.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tokio;

/// A handle to a process whose waits are futures on tokio. Feature `tokio`.
///
/// It is an [`AsyncPidHandle`]: that page lists its methods. In short: [`spawn`](AsyncPidHandle::spawn)
/// starts a child and returns a [`TokioSpawned`]; [`new`](AsyncPidHandle::new) takes any [`PidHandle`], of a
/// child or not; [`wait`](AsyncPidHandle::wait), [`wait_shared`](AsyncPidHandle::wait_shared) and
/// [`wait_exited`](AsyncPidHandle::wait_exited) wait; [`terminate`](AsyncPidHandle::terminate) ends the
/// child. A future that is dropped loses nothing, so `tokio::time::timeout` works with each.
///
/// # Examples
///
/// ```
/// use pidwait::TokioPidHandle;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let limit = Duration::from_millis(10);
/// let status = match tokio::time::timeout(limit, child.wait()).await {
///     Ok(status) => status?,
///     Err(_) => child.terminate(Duration::from_secs(5)).await?,
/// };
/// assert!(!status.success());
/// # Ok(())
/// # }
/// ```
///
/// # Runtime
///
/// The runtime needs its I/O driver (`enable_io`). To spawn, to end a process and to wait for a group it
/// also needs its timer (`enable_time`). `enable_all` and `#[tokio::main]` enable both. Without them tokio
/// panics, before anything is spawned or sent: see each method.
///
/// A handle belongs to the runtime in which it was made. Once that has shut down, a future that has to wait
/// fails with an error of tokio's, which has no errno. For another runtime, make another one from the same
/// handle:
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
///
/// [`PidHandle`]: crate::PidHandle
pub type TokioPidHandle = AsyncPidHandle<Tokio>;

/// A child that was just spawned, with its pipes on tokio. Feature `tokio`.
///
/// It is an [`AsyncSpawned`]: that page lists its fields, `handle`, `group`, `stdin`, `stdout` and `stderr`.
/// [`TokioPidHandle::spawn`](AsyncPidHandle::spawn) returns it. `stdin` is a `tokio::net::unix::pipe::Sender`;
/// `stdout` and `stderr` are `Receiver`s of that module. They implement `AsyncWrite` and `AsyncRead`.
///
/// # Examples
///
/// ```
/// use pidwait::{TokioPidHandle, TokioSpawned};
/// use std::process::{Command, Stdio};
/// use tokio::io::AsyncReadExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut command = Command::new("echo");
/// command.arg("hello").stdout(Stdio::piped());
/// let mut echo: TokioSpawned = TokioPidHandle::spawn(&mut command)?;
/// let mut text = String::new();
/// if let Some(stdout) = &mut echo.stdout {
///     stdout.read_to_string(&mut text).await?;
/// }
/// assert_eq!(text, "hello\n");
/// assert!(echo.handle.wait().await?.success());
/// # Ok(())
/// # }
/// ```
pub type TokioSpawned = AsyncSpawned<Tokio>;

impl Reactor for Tokio {
    type Stdin = Sender;
    type Stdout = Receiver;
    type Stderr = Receiver;
}

impl Driver for Tokio {
    type Source<F: Descriptor> = AsyncFd<F>;
    type Sleep = time::Sleep;

    fn check() -> io::Result<()> {
        check_runtime()?;
        drop(time::sleep(Duration::ZERO)); // Panics without the timer.

        // Panics without the I/O driver. With it, the registration of no descriptor fails.
        struct NoFd;
        impl AsRawFd for NoFd {
            fn as_raw_fd(&self) -> RawFd {
                -1
            }
        }
        drop(register(NoFd, Interest::READABLE));
        Ok(())
    }

    fn register<F: Descriptor>(fd: F, direction: Direction) -> io::Result<AsyncFd<F>> {
        check_runtime()?;
        register(
            fd,
            match direction {
                Direction::Read => Interest::READABLE,
                Direction::Write => Interest::WRITABLE,
            },
        )
    }

    fn get<F: Descriptor>(source: &AsyncFd<F>) -> &F {
        source.get_ref()
    }

    fn sleep_until(deadline: Option<Instant>) -> time::Sleep {
        /// As long as any program runs.
        const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        match deadline {
            Some(at) => time::sleep_until(at.into()),
            None => time::sleep(YEARS),
        }
    }

    /// A task that wakes itself would run again before the reactor, up to 61 times.
    fn yield_now(context: &mut Context<'_>) {
        let _ = pin!(task::yield_now()).poll(context); // Pending: the runtime wakes the task later.
    }

    async fn attempt<F: Descriptor, T: Send>(
        source: &AsyncFd<F>,
        mut attempt: impl FnMut() -> io::Result<Option<T>> + Send,
    ) -> io::Result<T> {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        loop {
            let mut ready = source.readable().await?;
            if let Some(found) = attempt()? {
                return Ok(found);
            }
            // Only after the attempt found nothing, so that no other future misses the event. The reactor
            // reports the next one.
            ready.clear_ready();
        }
    }

    fn poll_event<F: Descriptor>(
        source: &AsyncFd<F>,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ready = ready!(match direction {
            Direction::Read => source.poll_read_ready(context),
            Direction::Write => source.poll_write_ready(context),
        })?;
        ready.clear_ready();
        Poll::Ready(Ok(()))
    }
}

fn check_runtime() -> io::Result<()> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(io::ErrorKind::Unsupported, error)),
    }
}

#[allow(deprecated)] // The successor of `with_interest` needs a newer Rust than this crate.
fn register<F: AsRawFd>(fd: F, interest: Interest) -> io::Result<AsyncFd<F>> {
    AsyncFd::with_interest(fd, interest)
}

impl FromPipe<ChildStdin> for Sender {
    fn from_pipe(pipe: ChildStdin) -> io::Result<Self> {
        check_runtime()?;
        Sender::from_owned_fd(OwnedFd::from(pipe))
    }
}

impl FromPipe<ChildStdout> for Receiver {
    fn from_pipe(pipe: ChildStdout) -> io::Result<Self> {
        check_runtime()?;
        Receiver::from_owned_fd(OwnedFd::from(pipe))
    }
}

impl FromPipe<ChildStderr> for Receiver {
    fn from_pipe(pipe: ChildStderr) -> io::Result<Self> {
        check_runtime()?;
        Receiver::from_owned_fd(OwnedFd::from(pipe))
    }
}
