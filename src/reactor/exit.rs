// Tests: tests/it/reactor/

//! The exit of a process, registered with a reactor; and the ends that wait for it.

use std::future::{poll_fn, Future};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Instant;

use nix::errno::Errno;

use super::driver::{Direction, Driver};
use crate::ending::{Ending, WaitFor};
use crate::engine::Subject;
use crate::errno::errno_of;
use crate::handle::ExitFd;
use crate::sys;

/// The exit of a process, registered with a reactor.
#[derive(Debug)]
pub(crate) struct Exit<D: Driver> {
    source: D::Source<Registered>,
}

impl<D: Driver> Exit<D> {
    /// Clones of a handle share one descriptor, which can be registered only once: the second time,
    /// epoll fails with EEXIST, and kqueue replaces the first registration. A duplicate can be
    /// registered again.
    pub(crate) fn register(exit: ExitFd) -> io::Result<Self> {
        let register = |exit: &ExitFd, duplicate| {
            let exit = exit.clone();
            let source = D::register(Registered { exit, duplicate }, Direction::Read)?;
            Ok(Self { source })
        };
        if cfg!(any(target_os = "linux", target_os = "android")) {
            match register(&exit, None) {
                Err(error) if errno_of(&error) == Some(Errno::EEXIST) => {}
                registered => return registered,
            }
        }
        let duplicate = exit.as_fd().try_clone_to_owned()?;
        register(&exit, Some(duplicate))
    }

    /// Waits until `attempt` has a result. It is called at once, and then after each event.
    pub(crate) async fn attempt<T: Send>(
        &self,
        attempt: impl FnMut() -> io::Result<Option<T>> + Send,
    ) -> io::Result<T> {
        D::attempt(&self.source, attempt).await
    }

    /// Waits until the descriptor is readable. If it is readable already, this returns at once.
    async fn readable(&self) -> io::Result<()> {
        self.attempt(|| {
            let is_readable = sys::is_readable(D::get(&self.source))?;
            Ok(is_readable.then_some(()))
        })
        .await
    }

    /// Whether it has become readable since the last call. Only one task may wait in this way.
    pub(crate) fn poll_event(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        D::poll_event(&self.source, Direction::Read, context)
    }

    fn is_of(&self, exit: &ExitFd) -> bool {
        D::get(&self.source).exit.is_same(exit)
    }
}

#[derive(Debug)]
pub(crate) struct Registered {
    /// Kept even if a duplicate is registered: it keeps the watcher thread running.
    exit: ExitFd,
    duplicate: Option<OwnedFd>,
}

impl AsFd for Registered {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.duplicate {
            Some(fd) => fd.as_fd(),
            None => self.exit.as_fd(),
        }
    }
}

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Waits for what an end, or a wait for a group, names. At most one member of the group is registered at
/// a time.
#[derive(Debug)]
pub(crate) struct Waiter<'a, D: Driver> {
    subject: &'a Exit<D>,
    member: Option<Exit<D>>,
}

impl<'a, D: Driver> Waiter<'a, D> {
    pub(crate) fn new(subject: &'a Exit<D>) -> Self {
        Self {
            subject,
            member: None,
        }
    }

    /// Waits until it happens, or the time has come. Returns whether it has happened.
    pub(crate) async fn wait(
        &mut self,
        wait_for: WaitFor,
        until: Option<Instant>,
    ) -> io::Result<bool> {
        let time = D::sleep_until(until);
        let exit = match wait_for {
            WaitFor::Exit => Some(self.subject),
            WaitFor::Member(fd) => self.member(ExitFd::of_pidfd(fd)),
            WaitFor::Time => None,
        };
        let Some(exit) = exit else {
            time.await;
            return Ok(false);
        };
        match unless(exit.readable(), time).await {
            Some(readable) => readable.map(|()| true),
            None => Ok(false),
        }
    }

    /// `None`: it cannot be registered, because the limit of watches is reached, for example. Then the
    /// caller checks it from time to time.
    fn member(&mut self, fd: ExitFd) -> Option<&Exit<D>> {
        if !self.member.as_ref().is_some_and(|member| member.is_of(&fd)) {
            self.member = None;
            self.member = Exit::register(fd).ok();
        }
        self.member.as_ref()
    }
}

/// Runs all steps of an end.
pub(crate) async fn run<D: Driver>(
    ending: &mut Ending,
    subject: &mut (impl Subject + Send),
    exit: &Exit<D>,
) -> io::Result<()> {
    let mut waiter = Waiter::new(exit);
    let mut is_ready = false;
    while !ending.step(subject, is_ready)? {
        is_ready = waiter.wait(ending.wait_for(), ending.until()).await?;
    }
    Ok(())
}

/// The result of a future, unless another one ends first.
async fn unless<T>(future: impl Future<Output = T>, other: impl Future) -> Option<T> {
    let (mut future, mut other) = (pin!(future), pin!(other));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => other.as_mut().poll(context).map(|_| None),
    })
    .await
}
