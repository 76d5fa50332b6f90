// Tests: tests/it/set/ with RUSTC_WORKSPACE_WRAPPER=.ci/with-poll

//! Waits for exits by `poll`, on systems without `epoll`.
//!
//! `poll` reports a descriptor as long as it is readable. An entry that is readable but cannot be
//! reported becomes *quiet*: it is no longer polled, but checked again after each delay of a backoff.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::slots::SlotKey;
use crate::handle::ExitFd;
use crate::support::unsupported;
use crate::sys;
use crate::wait::Backoff;

pub(super) struct Poller {
    polled: Vec<(SlotKey, ExitFd)>,
    quiet: Vec<SlotKey>,
    /// Starts when the first entry becomes quiet.
    backoff: Backoff,
    /// Fetched entries that were not handed out yet.
    ready: VecDeque<SlotKey>,
    /// When it was made.
    forks: u32,
}

impl Poller {
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            polled: Vec::new(),
            quiet: Vec::new(),
            backoff: Backoff::new(),
            ready: VecDeque::new(),
            forks: sys::fork_number(),
        })
    }

    /// Whether another process uses the same registrations.
    pub(super) fn is_forked(&self) -> bool {
        sys::fork_number() != self.forks
    }

    pub(super) fn add(&mut self, exit: &ExitFd, key: SlotKey) -> nix::Result<()> {
        // As epoll does.
        if self
            .polled
            .iter()
            .any(|(_, polled)| polled.as_raw_fd() == exit.as_raw_fd())
        {
            return Err(Errno::EEXIST);
        }
        self.polled.push((key, exit.clone()));
        Ok(())
    }

    /// If its exit is fetched already, the caller no longer finds an entry by that key.
    pub(super) fn remove(&mut self, _exit: &ExitFd, key: SlotKey, is_quiet: bool) {
        if is_quiet {
            self.quiet.retain(|quiet| *quiet != key);
        } else {
            self.polled.retain(|(polled, _)| *polled != key);
        }
    }

    /// Makes an entry quiet that was handed out and could not be reported.
    pub(super) fn quieten(&mut self, exit: &ExitFd, key: SlotKey) {
        self.remove(exit, key, false);
        if self.quiet.is_empty() {
            self.backoff = Backoff::new();
        }
        self.quiet.push(key);
    }

    /// The next entry that may have exited, of those fetched.
    pub(super) fn next(&mut self) -> Option<SlotKey> {
        self.ready.pop_front()
    }

    /// Waits until there is an entry to hand out; false once the deadline has passed.
    pub(super) fn fetch(&mut self, deadline: Option<Instant>) -> nix::Result<bool> {
        let until = if self.quiet.is_empty() {
            deadline
        } else {
            self.backoff.next_deadline(deadline)
        };
        let exits = self.polled.iter().map(|(_, exit)| exit.as_fd());
        let mut fds: Vec<_> = exits.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if sys::poll(&mut fds, until)? > 0 {
            let polled = self.polled.iter().zip(&fds);
            let ready = polled.filter(|(_, fd)| fd.any().unwrap_or(true));
            self.ready.extend(ready.map(|((key, _), _)| *key));
        } else {
            self.ready.extend(&self.quiet);
        }
        Ok(!self.ready.is_empty())
    }

    pub(super) fn ready_fd(&self) -> io::Result<BorrowedFd<'_>> {
        let text = "WaitSet::ready_fd needs epoll: poll PidHandle::exit_fd of each handle instead";
        Err(unsupported(text))
    }
}
