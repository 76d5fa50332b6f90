//! Waiting on [async-io](https://docs.rs/async-io)'s reactor, for any process: smol's, and of
//! use with any executor. Feature `async-io`.

use std::io;
use std::ops::Deref;
use std::process::ExitStatus;

use ::async_io::{Async, Timer};

use crate::wait::Backoff;
use crate::{ExitFd, InsertError, PidHandle};

/// A [`PidHandle`] whose waits are futures on async-io's reactor.
///
/// Dropping a future loses nothing: the next wait gets the status. A future that waits while the
/// handle is released answers EINVAL when the process exits, and reaps nothing. All other methods
/// are the handle's own, by `Deref`.
///
/// ```
/// use pidwait::{async_io::AsyncPidHandle, PidHandle};
/// use std::process::Command;
///
/// # async_io::block_on(async {
/// let child = AsyncPidHandle::new(PidHandle::spawn(&mut Command::new("true"))?.handle)?;
/// assert!(child.wait().await?.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AsyncPidHandle {
    exit: Async<ExitFd>,
    handle: PidHandle,
}

impl AsyncPidHandle {
    /// Registers the handle with the reactor.
    ///
    /// # Errors
    ///
    /// The handle comes back with: ECHILD, it is done; EINVAL, it is released; those of
    /// [`PidHandle::exit_fd`], and of the reactor.
    pub fn new(handle: PidHandle) -> Result<Self, InsertError> {
        match handle.exit_fd().and_then(Async::new_nonblocking) {
            Ok(exit) => Ok(Self { exit, handle }),
            Err(error) => Err(InsertError {
                error,
                handle,
                value: (),
            }),
        }
    }

    /// Waits for the process, a child, to exit, and reaps it: [`PidHandle::wait`].
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait`], and of the reactor.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.once_ready(|handle| handle.try_wait()).await
    }

    /// Waits for the process, child or not, to exit, and reaps nothing:
    /// [`PidHandle::wait_exited`].
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_exited`], and of the reactor.
    pub async fn exited(&self) -> io::Result<()> {
        self.once_ready(|handle| Ok(handle.has_exited()?.then_some(())))
            .await
    }

    /// Takes the handle out of the reactor.
    pub fn into_inner(self) -> PidHandle {
        self.handle
    }

    async fn once_ready<T>(
        &self,
        ask: impl Fn(&PidHandle) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        if let Some(answer) = ask(&self.handle)? {
            return Ok(answer);
        }
        self.exit.readable().await?;
        let backoff = Backoff::new();
        loop {
            if let Some(answer) = ask(&self.handle)? {
                return Ok(answer);
            }
            // A tracer holds the zombie, and the descriptor stays readable all the while.
            if let Some(pause) = backoff.next_delay(None) {
                Timer::after(pause).await;
            }
        }
    }
}

impl Deref for AsyncPidHandle {
    type Target = PidHandle;

    fn deref(&self) -> &PidHandle {
        &self.handle
    }
}
