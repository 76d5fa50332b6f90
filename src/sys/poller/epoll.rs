//! By `epoll`: Linux.
//!
//! Descriptors are level-triggered: until one is removed, it stays readable for a poll of the `epoll`
//! descriptor, too. A quiet one is edge-triggered. `epoll` drops the event of such a one when it is
//! fetched. So while there are quiet descriptors, events are fetched one by one, and none is left
//! among the fetched ones.

use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::Result;

use super::super::fd::{duplicate, retry_until};
use super::super::fork::fork_number;

const LEVEL: EpollFlags = EpollFlags::EPOLLIN;
const EDGE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLET);

/// The key of the waker's event.
const WAKER: u64 = u64::MAX;

pub(crate) struct Poller<F> {
    epoll: Epoll,
    /// Always readable, so that modifying its registration makes an event.
    waker: Option<EventFd>,
    /// How many descriptors are quiet.
    quiet: AtomicUsize,
    /// The fork number when it was made.
    forks: u32,
    fds: PhantomData<fn(&F)>,
}

/// Keys that were fetched and not handed out yet.
pub(crate) struct Events {
    batch: Box<[EpollEvent]>,
    left: Range<usize>,
}

impl Events {
    pub(crate) fn new() -> Self {
        /// Enough that the call does not count, 3 KiB in all.
        const BATCH: usize = 256;
        Self {
            batch: vec![EpollEvent::empty(); BATCH].into_boxed_slice(),
            left: 0..0,
        }
    }
}

impl Iterator for Events {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let event = self.batch.get(self.left.next()?)?;
        Some(event.data())
    }
}

impl<F: AsFd> Poller<F> {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            waker: None,
            quiet: AtomicUsize::new(0),
            forks: fork_number(),
            fds: PhantomData,
        })
    }

    pub(crate) fn with_waker() -> Result<Self> {
        let poller = Self::new()?;
        let waker = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC)?;
        poller.epoll.add(&waker, EpollEvent::new(EDGE, WAKER))?;
        Ok(Self {
            waker: Some(waker),
            ..poller
        })
    }

    pub(crate) fn is_forked(&self) -> bool {
        fork_number() != self.forks
    }

    pub(crate) fn add(&self, fd: &F, key: u64) -> Result<()> {
        self.epoll.add(fd, EpollEvent::new(LEVEL, key))
    }

    pub(crate) fn quieten(&self, fd: &F, key: u64) {
        self.quiet.fetch_add(1, Relaxed);
        self.modify(fd, key);
    }

    pub(crate) fn remove(&self, fd: &F, _key: u64, is_quiet: bool) {
        if self.is_forked() {
            return; // The registration is the parent's.
        }
        // A descriptor that was added and is open is registered.
        let _ = self.epoll.delete(fd);
        self.quiet.fetch_sub(usize::from(is_quiet), Relaxed);
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            self.modify(waker, WAKER);
        }
    }

    /// Makes a descriptor edge-triggered. If it is readable now, that makes an event.
    fn modify(&self, fd: &impl AsFd, key: u64) {
        // A descriptor that was added and is open is registered. An error is one that passes, and a thread
        // that is not woken may sleep forever: hence a second try.
        let modify = || self.epoll.modify(fd, &mut EpollEvent::new(EDGE, key));
        let _ = modify().or_else(|_| modify());
    }

    pub(crate) fn wait(&self, events: &mut Events, deadline: Option<Instant>) -> Result<bool> {
        let most = match self.quiet.load(Relaxed) {
            0 => events.batch.len(),
            _ => 1,
        };
        let batch = events.batch.get_mut(..most).unwrap_or_default();
        let fetched = retry_until(deadline, |left| {
            let timeout = left.map_or(EpollTimeout::NONE, |time| {
                // Rounded up, because no timeout may end early.
                let millis = time.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
            });
            self.epoll.wait(batch, timeout)
        })?;
        // The waker is no key, and there is at most one event of it.
        let mut fetched = 0..fetched;
        let found = batch.get_mut(fetched.clone()).unwrap_or_default();
        if let Some(waker) = found.iter().position(|event| event.data() == WAKER) {
            found.swap(0, waker);
            fetched.start = 1;
        }
        events.left = fetched;
        Ok(!events.left.is_empty())
    }

    pub(crate) fn ready_fd(&self) -> Result<OwnedFd> {
        duplicate(&self.epoll.0)
    }
}
