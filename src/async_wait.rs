// Tests: tests/it/reactor/

//! The parts that the async handles share: the registration with a reactor, and the loops of the
//! futures. Each handle adds how its reactor waits for a descriptor and for a time.
//!
//! A future never blocks and never spins: after each check that finds nothing it waits for the
//! reactor.

use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SIGCONT;

use crate::wait::{Backoff, Timeout, FIRST_SIGNAL};
use crate::{group, sys, ExitFd, PidHandle};

/// The descriptor that is registered with a reactor.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Kept even if a duplicate is registered: it keeps the watcher thread running.
    exit: ExitFd,
    duplicate: Option<OwnedFd>,
}

impl Registration {
    /// Registers the exit descriptor of a handle.
    ///
    /// Clones of a handle share one descriptor, which can be registered only once: the second time,
    /// epoll fails with EEXIST, and kqueue replaces the first registration. A duplicate can be
    /// registered again.
    pub(crate) fn register<R>(
        handle: &PidHandle,
        register: impl Fn(Self) -> io::Result<R>,
    ) -> io::Result<R> {
        let exit = handle.exit_fd()?;
        if cfg!(any(target_os = "linux", target_os = "android")) {
            let registered = register(Self {
                exit: exit.clone(),
                duplicate: None,
            });
            match registered {
                Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {}
                result => return result,
            }
        }
        let duplicate = Some(exit.as_fd().try_clone_to_owned()?);
        register(Self { exit, duplicate })
    }
}

impl AsFd for Registration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.duplicate {
            Some(fd) => fd.as_fd(),
            None => self.exit.as_fd(),
        }
    }
}

impl AsRawFd for Registration {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Waits until `check` has a result.
///
/// `readable` waits until the descriptor is readable. If `check` finds nothing even then, a tracer
/// holds the zombie, or the descriptor was readable too early. `pause` delays the next attempt.
pub(crate) async fn wait_for<T, Ready, Readable, Pause>(
    check: impl Fn() -> io::Result<Option<T>>,
    readable: impl Fn() -> Readable,
    mut pause: impl FnMut(Ready) -> Pause,
) -> io::Result<T>
where
    Readable: Future<Output = io::Result<Ready>>,
    Pause: Future,
{
    if let Some(found) = check()? {
        return Ok(found);
    }
    loop {
        let ready = readable().await?;
        if let Some(found) = check()? {
            return Ok(found);
        }
        pause(ready).await;
    }
}

/// `check` of `wait_shared`.
pub(crate) fn try_wait_shared(handle: &PidHandle) -> io::Result<Option<ExitStatus>> {
    match handle.try_wait() {
        Err(error) => handle.exit_status().map(Some).ok_or(error),
        found => found,
    }
}

/// `check` of `wait_exited`.
pub(crate) fn try_wait_exited(handle: &PidHandle) -> io::Result<Option<()>> {
    Ok(handle.has_exited()?.then_some(()))
}

/// The steps of [`PidHandle::terminate`].
pub(crate) async fn terminate<Wait, Sleep>(
    handle: &PidHandle,
    grace: Duration,
    wait: impl Fn() -> Wait,
    sleep: impl FnOnce(Duration) -> Sleep,
) -> io::Result<ExitStatus>
where
    Wait: Future<Output = io::Result<ExitStatus>>,
    Sleep: Future,
{
    if let Some(status) = handle.try_wait()? {
        return Ok(status);
    }
    handle.signal(FIRST_SIGNAL)?;
    // A stopped child handles the first signal only when it continues.
    handle.signal(SIGCONT)?;
    if let Some(status) = within(wait(), sleep(grace)).await {
        return status;
    }
    handle.kill()?;
    wait().await
}

/// The steps of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate), without the reap.
pub(crate) async fn end_process_group<Wait, Sleep>(
    handle: &PidHandle,
    grace: Duration,
    wait_exited: impl FnOnce() -> Wait,
    sleep: impl Fn(Duration) -> Sleep,
) -> io::Result<()>
where
    Wait: Future<Output = io::Result<()>>,
    Sleep: Future,
{
    if group::begin_end(&mut handle.leader()?, FIRST_SIGNAL)? {
        let deadline = Timeout::after(grace).deadline();
        // The leader is the only member that the reactor can wait for.
        if let Some(exited) = within(wait_exited(), sleep(grace)).await {
            exited?;
        }
        let backoff = Backoff::new();
        loop {
            let has_ended = match deadline {
                Some(at) if sys::now() >= at => group::kill_and_has_ended(&mut handle.leader()?)?,
                _ => group::has_ended(&mut handle.leader()?)?,
            };
            if has_ended {
                break;
            }
            let deadline = deadline.filter(|at| sys::now() < *at);
            sleep(backoff.next_delay(deadline).unwrap_or_default()).await;
        }
    }
    group::finish_end(&mut handle.leader()?)
}

/// The result of a future, unless a timer ends first.
async fn within<T>(future: impl Future<Output = T>, timer: impl Future) -> Option<T> {
    let (mut future, mut timer) = (pin!(future), pin!(timer));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => timer.as_mut().poll(context).map(|_| None),
    })
    .await
}
