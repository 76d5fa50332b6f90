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

/// The reactor async-io, which works with any executor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsyncIo;

/// A handle whose waits are futures on async-io.
pub type AsyncIoPidHandle = AsyncPidHandle<AsyncIo>;

/// A child that was just spawned on async-io.
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
