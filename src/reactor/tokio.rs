//! The tokio runtime. Feature `tokio`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::Interest;
use ::tokio::net::unix::pipe::{Receiver, Sender};
use ::tokio::runtime::Handle;
use ::tokio::time;

use super::driver::{Descriptor, Direction, Driver, FromPipe};
use super::{AsyncPidHandle, AsyncSpawned, Reactor};

/// The reactor of tokio: the runtime that the caller runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tokio;

/// A handle whose waits are futures on tokio.
pub type TokioPidHandle = AsyncPidHandle<Tokio>;

/// A child that was just spawned on tokio.
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
