//! By `poll`: systems without `epoll`.
//!
//! A quiet descriptor is no longer polled. Its key is handed out at intervals instead.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::Result;

use super::super::errno_of;
use super::super::fd::poll;
use super::super::fork::fork_number;
use super::super::thread::now;

/// The intervals at which quiet keys are handed out: each twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

pub(crate) struct Poller<F> {
    entries: Mutex<Entries<F>>,
    waker: Option<Waker>,
    /// The fork number when it was made.
    forks: u32,
}

struct Entries<F> {
    polled: Vec<(u64, F)>,
    quiet: Vec<u64>,
    interval: Duration,
}

/// Keys that were fetched and not handed out yet.
pub(crate) struct Events(VecDeque<u64>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }
}

impl Iterator for Events {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.pop_front()
    }
}

impl<F: AsFd + Clone> Poller<F> {
    #[allow(clippy::unnecessary_wraps)] // By `epoll` it can fail.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            entries: Mutex::new(Entries {
                polled: Vec::new(),
                quiet: Vec::new(),
                interval: SHORTEST,
            }),
            waker: None,
            forks: fork_number(),
        })
    }

    pub(crate) fn with_waker() -> Result<Self> {
        Ok(Self {
            waker: Some(Waker::new()?),
            ..Self::new()?
        })
    }

    pub(crate) fn is_forked(&self) -> bool {
        fork_number() != self.forks
    }

    pub(crate) fn add(&self, fd: &F, key: u64) -> Result<()> {
        let number = fd.as_fd().as_raw_fd();
        let copy = fd.clone();
        let mut entries = self.lock();
        let mut numbers = entries.polled.iter().map(|(_, fd)| fd.as_fd().as_raw_fd());
        if numbers.any(|polled| polled == number) {
            return Err(Errno::EEXIST);
        }
        entries.polled.push((key, copy));
        drop(entries);
        self.wake(); // A wait of another thread polls without it.
        Ok(())
    }

    pub(crate) fn quieten(&self, _fd: &F, key: u64) {
        let mut entries = self.lock();
        entries.polled.retain(|(polled, _)| *polled != key);
        if entries.quiet.is_empty() {
            entries.interval = SHORTEST;
        }
        entries.quiet.push(key);
    }

    pub(crate) fn remove(&self, _fd: &F, key: u64, is_quiet: bool) {
        if self.is_forked() {
            return; // A thread of the parent may have held the lock at the fork.
        }
        let mut entries = self.lock();
        if is_quiet {
            entries.quiet.retain(|quiet| *quiet != key);
        } else {
            entries.polled.retain(|(polled, _)| *polled != key);
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    pub(crate) fn wait(&self, events: &mut Events, deadline: Option<Instant>) -> Result<bool> {
        let entries = self.lock();
        let polled = entries.polled.clone();
        let mut until = deadline;
        if !entries.quiet.is_empty() {
            let check = now() + entries.interval;
            until = Some(deadline.map_or(check, |deadline| deadline.min(check)));
        }
        drop(entries); // Other threads add and remove while this one polls.

        let fds = polled.iter().map(|(_, fd)| fd.as_fd());
        let fds = fds.chain(self.waker.iter().map(AsFd::as_fd));
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if poll(&mut fds, until)? == 0 {
            let mut entries = self.lock();
            entries.interval = (entries.interval * 2).min(LONGEST);
            events.0.extend(&entries.quiet);
        } else {
            let ready = polled.iter().zip(&fds);
            let ready = ready.filter(|(_, fd)| fd.any().unwrap_or(true));
            events.0.extend(ready.map(|((key, _), _)| *key));
            self.waker.iter().for_each(Waker::reset);
        }
        Ok(!events.0.is_empty())
    }

    #[allow(clippy::unused_self)] // By `epoll` there is one.
    pub(crate) fn ready_fd(&self) -> Result<OwnedFd> {
        Err(Errno::ENOSYS)
    }

    fn lock(&self) -> MutexGuard<'_, Entries<F>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket pair. The first end is polled, and is readable while it is woken.
struct Waker(UnixStream, UnixStream);

impl Waker {
    fn new() -> Result<Self> {
        let (polled, peer) = UnixStream::pair().map_err(errno_of)?;
        polled.set_nonblocking(true).map_err(errno_of)?;
        peer.set_nonblocking(true).map_err(errno_of)?;
        Ok(Self(polled, peer))
    }

    fn wake(&self) {
        // If the pair is full, it is woken already. Another error passes.
        let wake = || (&self.1).write(&[0]);
        let _ = wake().or_else(|_| wake());
    }

    fn reset(&self) {
        let mut bytes = [0; 64];
        while (&self.0)
            .read(&mut bytes)
            .is_ok_and(|read| read == bytes.len())
        {}
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
