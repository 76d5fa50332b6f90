// Tests: tests/it/async_io.rs, tests/it/reactor/

//! async-io, the reactor of smol. Feature `async-io`.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::task::{Context, Poll};
use std::time::Instant;

use ::async_io::{Async, Timer};

use super::driver::{Descriptor, Direction, Driver, FromPipe};
use super::{AsyncPidHandle, AsyncSpawned, Reactor};
use crate::engine::Backoff;

/// The [`Reactor`] of async-io, which is that of smol. Feature `async-io`.
///
/// It starts a thread at its first use and works with any executor, so there is nothing to enable. In a
/// tokio runtime, `Tokio` does without that thread. The pipes are std's, in [`async_io::Async`].
///
/// # Examples
///
/// See [`AsyncIoPidHandle`].
///
/// [`async_io::Async`]: https://docs.rs/async-io/latest/async_io/struct.Async.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsyncIo;

/// A handle to a process whose waits are futures on async-io. Feature `async-io`.
///
/// It is an [`AsyncPidHandle`]: that page lists its methods. In short: [`spawn`](AsyncPidHandle::spawn)
/// starts a child and returns an [`AsyncIoSpawned`]; [`new`](AsyncPidHandle::new) takes any [`PidHandle`],
/// of a child or not; [`wait`](AsyncPidHandle::wait), [`wait_shared`](AsyncPidHandle::wait_shared) and
/// [`wait_exited`](AsyncPidHandle::wait_exited) wait; [`terminate`](AsyncPidHandle::terminate) ends the
/// child. A future that is dropped loses nothing, so it can race with a timer.
///
/// # Examples
///
/// ```
/// use async_io::Timer;
/// use futures_lite::FutureExt;
/// use pidwait::AsyncIoPidHandle;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # async_io::block_on(async {
/// let child = AsyncIoPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let limit = async {
///     Timer::after(Duration::from_millis(10)).await;
///     None
/// };
/// let status = match async { Some(child.wait().await) }.or(limit).await {
///     Some(status) => status?,
///     None => child.terminate(Duration::from_secs(5)).await?,
/// };
/// assert!(!status.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`PidHandle`]: crate::PidHandle
pub type AsyncIoPidHandle = AsyncPidHandle<AsyncIo>;

/// A child that was just spawned, with its pipes on async-io. Feature `async-io`.
///
/// It is an [`AsyncSpawned`]: that page lists its fields, `handle`, `group`, `stdin`, `stdout` and `stderr`.
/// [`AsyncIoPidHandle::spawn`](AsyncPidHandle::spawn) returns it. The pipes are `Async<ChildStdin>`,
/// `Async<ChildStdout>` and `Async<ChildStderr>`. They implement `AsyncWrite` and `AsyncRead` of
/// futures-io.
///
/// # Examples
///
/// ```
/// use futures_lite::AsyncReadExt;
/// use pidwait::{AsyncIoPidHandle, AsyncIoSpawned};
/// use std::process::{Command, Stdio};
///
/// # async_io::block_on(async {
/// let mut command = Command::new("echo");
/// command.arg("hello").stdout(Stdio::piped());
/// let mut echo: AsyncIoSpawned = AsyncIoPidHandle::spawn(&mut command)?;
/// let mut text = String::new();
/// if let Some(stdout) = &mut echo.stdout {
///     stdout.read_to_string(&mut text).await?;
/// }
/// assert_eq!(text, "hello\n");
/// assert!(echo.handle.wait().await?.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type AsyncIoSpawned = AsyncSpawned<AsyncIo>;

impl Reactor for AsyncIo {
    type Stdin = Async<ChildStdin>;
    type Stdout = Async<ChildStdout>;
    type Stderr = Async<ChildStderr>;
}

impl Driver for AsyncIo {
    type Source<F: Descriptor> = Async<F>;
    type Sleep = Sleep;

    fn check() -> io::Result<()> {
        Ok(())
    }

    /// In both directions: async-io asks for the one that is waited for.
    fn register<F: Descriptor>(fd: F, _: Direction) -> io::Result<Async<F>> {
        Async::new_nonblocking(fd)
    }

    fn get<F: Descriptor>(source: &Async<F>) -> &F {
        source.get_ref()
    }

    fn sleep_until(deadline: Option<Instant>) -> Sleep {
        Sleep(deadline.map_or_else(Timer::never, Timer::at))
    }

    /// Executors put a task that wakes itself behind the others.
    fn yield_now(context: &mut Context<'_>) {
        context.waker().wake_by_ref();
    }

    async fn attempt<F: Descriptor, T: Send>(
        source: &Async<F>,
        mut attempt: impl FnMut() -> io::Result<Option<T>> + Send,
    ) -> io::Result<T> {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        let mut backoff = None;
        loop {
            source.readable().await?;
            if let Some(found) = attempt()? {
                return Ok(found);
            }
            // The descriptor stays readable, so the reactor would report it again at once.
            let backoff = backoff.get_or_insert_with(Backoff::new);
            Timer::after(backoff.next_delay(None).unwrap_or_default()).await;
        }
    }

    fn poll_event<F: Descriptor>(
        source: &Async<F>,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => source.poll_readable(context),
            Direction::Write => source.poll_writable(context),
        }
    }
}

/// A timer without a result.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

impl<P: AsFd> FromPipe<P> for Async<P> {
    fn from_pipe(pipe: P) -> io::Result<Self> {
        Async::new(pipe)
    }
}
