//! Exits by `epoll`, a batch at a time.

use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::WaitKey;
use crate::handle::ExitFd;
use crate::sys;

/// Events fetched in one call: enough that the call does not count, 3 KiB in all.
const BATCH: usize = 256;

pub(super) struct Poller {
    epoll: Epoll,
    batch: Box<[EpollEvent]>,
    /// What of the batch is fetched and not handed out yet.
    fetched: std::ops::Range<usize>,
}

impl Poller {
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            batch: vec![EpollEvent::empty(); BATCH].into_boxed_slice(),
            fetched: 0..0,
        })
    }

    /// Edge-triggered: a zombie that a tracer holds speaks up once, and again when it is let go.
    pub(super) fn add(&mut self, exit: &ExitFd, key: WaitKey) -> nix::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(exit, EpollEvent::new(flags, key.to_bits()))
    }

    pub(super) fn remove(&mut self, exit: &ExitFd, _key: WaitKey) {
        // It was added, so this cannot fail; an event of it in the batch has a key of the past.
        let _ = self.epoll.delete(exit);
    }

    /// The next one that has something to say, if any has before the deadline.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> nix::Result<Option<WaitKey>> {
        if self.fetched.is_empty() {
            self.fetched = 0..self.fetch(deadline)?;
        }
        let next = self.fetched.next().and_then(|at| self.batch.get(at));
        Ok(next.map(|event| WaitKey::from_bits(event.data())))
    }

    fn fetch(&mut self, deadline: Option<Instant>) -> nix::Result<usize> {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(sys::now()));
            let timeout = left.map_or(EpollTimeout::NONE, |time| {
                // Rounded up, for no limit may be cut short.
                let millis = time.as_nanos().div_ceil(1_000_000);
                i32::try_from(millis).map_or(EpollTimeout::MAX, |millis| {
                    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
                })
            });
            match self.epoll.wait(&mut self.batch, timeout) {
                Err(Errno::EINTR) => {}
                Ok(0) if deadline.map_or(true, |at| sys::now() < at) => {}
                done => return done,
            }
        }
    }
}

impl WaitKey {
    /// As an event carries it.
    fn to_bits(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.place)
    }

    #[allow(clippy::cast_possible_truncation)] // The lower half and the upper half are meant.
    fn from_bits(bits: u64) -> Self {
        Self {
            place: bits as u32,
            turn: (bits >> 32) as u32,
        }
    }
}
