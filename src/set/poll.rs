//! Exits by `poll`, where there is no `epoll`. It tells of a descriptor for as long as that is
//! readable; and where there is no `epoll` all are watchers', readable only once there is an exit
//! to report.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use super::WaitKey;
use crate::handle::ExitFd;
use crate::sys;

pub(super) struct Poller {
    watched: Vec<(WaitKey, ExitFd)>,
    /// What was ready at the last look and is not handed out yet.
    fetched: VecDeque<WaitKey>,
}

impl Poller {
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            watched: Vec::new(),
            fetched: VecDeque::new(),
        })
    }

    pub(super) fn add(&mut self, exit: &ExitFd, key: WaitKey) -> nix::Result<()> {
        self.watched.push((key, exit.clone()));
        Ok(())
    }

    pub(super) fn remove(&mut self, _exit: &ExitFd, key: WaitKey) {
        self.watched.retain(|(watched, _)| *watched != key);
    }

    /// The next one that has something to say, if any has before the deadline.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> nix::Result<Option<WaitKey>> {
        if self.fetched.is_empty() {
            let exits = self.watched.iter().map(|(_, exit)| exit.as_fd());
            let mut fds: Vec<_> = exits.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            sys::poll(&mut fds, deadline)?;
            let ready = self.watched.iter().zip(&fds);
            let ready = ready.filter(|(_, fd)| fd.any().unwrap_or(true));
            self.fetched.extend(ready.map(|((key, _), _)| *key));
        }
        Ok(self.fetched.pop_front())
    }
}
