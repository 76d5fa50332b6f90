//! Waiting on [tokio](https://docs.rs/tokio)'s reactor, for any process. Feature `tokio`.

use std::io;
use std::ops::Deref;
use std::process::ExitStatus;

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::Interest;
use ::tokio::runtime::Handle;

use crate::{ExitFd, InsertError, PidHandle};

/// A [`PidHandle`] whose waits are futures on tokio's reactor.
///
/// Dropping a future loses nothing: the next wait gets the status. A future that waits while the
/// handle is released answers EINVAL when the process exits, and reaps nothing. All other methods
/// are the handle's own, by `Deref`.
///
/// ```
/// use pidwait::{tokio::AsyncPidHandle, PidHandle};
/// use std::process::Command;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// # runtime.block_on(async {
/// let child = AsyncPidHandle::new(PidHandle::spawn(&mut Command::new("true"))?.handle)?;
/// assert!(child.wait().await?.success());
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AsyncPidHandle {
    exit: AsyncFd<ExitFd>,
    handle: PidHandle,
}

impl AsyncPidHandle {
    /// Registers the handle with the reactor of the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// The handle comes back with: ECHILD, it is done; EINVAL, it is released; those of
    /// [`PidHandle::exit_fd`]; [`Unsupported`](io::ErrorKind::Unsupported), there is no runtime.
    ///
    /// # Platform notes
    ///
    /// tokio itself panics where the runtime was built without `enable_io`, which it lets nobody
    /// ask for.
    #[allow(deprecated)] // The successor of `with_interest` needs a Rust newer than ours.
    pub fn new(handle: PidHandle) -> Result<Self, InsertError> {
        let exit = Handle::try_current()
            .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))
            .and_then(|_| AsyncFd::with_interest(handle.exit_fd()?, Interest::READABLE));
        match exit {
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
    /// Those of [`PidHandle::wait`], and of the runtime where that shuts down.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        self.once_ready(|handle| handle.try_wait()).await
    }

    /// Waits for the process, child or not, to exit, and reaps nothing:
    /// [`PidHandle::wait_exited`].
    ///
    /// # Errors
    ///
    /// Those of [`PidHandle::wait_exited`], and of the runtime where that shuts down.
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
        loop {
            if let Some(answer) = ask(&self.handle)? {
                return Ok(answer);
            }
            let mut ready = self.exit.readable().await?;
            if let Some(answer) = ask(&self.handle)? {
                return Ok(answer);
            }
            // A tracer holds the zombie: the reactor hears of it again when that lets go.
            ready.clear_ready();
        }
    }
}

impl Deref for AsyncPidHandle {
    type Target = PidHandle;

    fn deref(&self) -> &PidHandle {
        &self.handle
    }
}
