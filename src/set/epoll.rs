// Tests: tests/it/set/ready_fd.rs, tests/it/set/timeout.rs, tests/it/set/handles.rs

//! Waits for exits by `epoll`, a batch at a time.
//!
//! Entries are level-triggered: until a fetched exit is handed out, its descriptor stays registered,
//! so the epoll descriptor stays readable. An entry that is readable but cannot be reported becomes
//! *quiet*: edge-triggered, so that it is fetched again only after a change. epoll drops such an
//! event when it is fetched. So while there are quiet entries, events are fetched one by one, and
//! none is left in the batch.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::slots::SlotKey;
use crate::handle::ExitFd;
use crate::sys;

/// Events fetched in one call: enough that the call does not count, 3 KiB in all.
const BATCH: usize = 256;

pub(super) struct Poller {
    epoll: Epoll,
    batch: Box<[EpollEvent]>,
    /// The part of the batch that was not handed out yet.
    ready: Range<usize>,
    /// How many entries are quiet.
    quiet: usize,
    /// The fork number when it was made: a forked process shares the epoll instance with its parent.
    forks: u32,
}

impl Poller {
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            batch: vec![EpollEvent::empty(); BATCH].into_boxed_slice(),
            ready: 0..0,
            quiet: 0,
            forks: sys::fork_number(),
        })
    }

    /// Whether another process uses the same registrations.
    pub(super) fn is_forked(&self) -> bool {
        sys::fork_number() != self.forks
    }

    pub(super) fn add(&mut self, exit: &ExitFd, key: SlotKey) -> nix::Result<()> {
        self.epoll
            .add(exit, EpollEvent::new(EpollFlags::EPOLLIN, key.to_bits()))
    }

    /// If its exit is in the batch, the caller no longer finds an entry by that key.
    pub(super) fn remove(&mut self, exit: &ExitFd, _key: SlotKey, is_quiet: bool) {
        if !self.is_forked() {
            // It was added, so this cannot fail.
            let _ = self.epoll.delete(exit);
            self.quiet -= usize::from(is_quiet);
        }
    }

    /// Makes an entry quiet that was handed out and could not be reported. If it is still readable,
    /// it is handed out once more.
    pub(super) fn quieten(&mut self, exit: &ExitFd, key: SlotKey) {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        // It was added, so this cannot fail.
        let _ = self
            .epoll
            .modify(exit, &mut EpollEvent::new(flags, key.to_bits()));
        self.quiet += 1;
    }

    /// The next entry that may have exited, of those fetched.
    pub(super) fn next(&mut self) -> Option<SlotKey> {
        let event = self.batch.get(self.ready.next()?)?;
        Some(SlotKey::from_bits(event.data()))
    }

    /// Waits until there is an entry to hand out; false once the deadline has passed.
    pub(super) fn fetch(&mut self, deadline: Option<Instant>) -> nix::Result<bool> {
        let room = if self.quiet > 0 { 1 } else { BATCH };
        let room = self.batch.get_mut(..room).unwrap_or_default();
        self.ready = 0..sys::epoll_wait(&self.epoll, room, deadline)?;
        Ok(!self.ready.is_empty())
    }

    pub(super) fn ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.epoll.0.as_fd())
    }
}

impl SlotKey {
    /// As an event carries it.
    fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[allow(clippy::cast_possible_truncation)] // The lower and the upper half.
    fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}
