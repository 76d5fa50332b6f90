// Tests: tests/it/background.rs

//! Waits for events by `epoll`.

use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::handle::ExitFd;
use crate::sys;

pub(super) struct Poller {
    epoll: Epoll,
    /// Always readable, so that modifying its entry makes an event.
    waker: EventFd,
}

/// The key of the waker. Those of children start at 1.
const WAKER: u64 = 0;
const BATCH: usize = 64;

impl Poller {
    pub(super) fn new() -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let waker = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
        epoll.add(&waker, event(WAKER))?;
        Ok(Self { epoll, waker })
    }

    pub(super) fn add(&self, exit: &ExitFd, key: u64) -> nix::Result<()> {
        self.epoll.add(exit, event(key))
    }

    pub(super) fn remove(&self, exit: &ExitFd) {
        // It was added, so this cannot fail.
        let _ = self.epoll.delete(exit);
    }

    /// Makes `wait` return true.
    pub(super) fn wake(&self) {
        // It was added, so this cannot fail.
        let _ = self.epoll.modify(&self.waker, &mut event(WAKER));
    }

    /// Waits for events, and adds the keys of children that may have exited to `ready`. Returns whether
    /// it was woken.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        ready: &mut Vec<u64>,
    ) -> nix::Result<bool> {
        let deadline = timeout.and_then(|time| sys::now().checked_add(time));
        let mut events = [EpollEvent::empty(); BATCH];
        let count = sys::epoll_wait(&self.epoll, &mut events, deadline)?;
        let keys = events.iter().take(count).map(EpollEvent::data);
        let children = ready.len();
        ready.extend(keys.filter(|key| *key != WAKER));
        Ok(ready.len() - children < count)
    }
}

/// Edge-triggered: a zombie that a tracer holds makes one event, and another one when it is released.
fn event(key: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, key)
}
