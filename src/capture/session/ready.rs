// Tests: tests/it/capture/timeout.rs, tests/it/capture/leak.rs

//! Waiting until there is something to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use super::{Session, Stage};
use crate::ending::{Ending, WaitFor};
use crate::engine::{earlier, Backoff};
use crate::handle::ExitFd;
use crate::sys;

/// When to check again, if there is nothing to poll.
pub(super) struct Recheck {
    backoff: Backoff,
    next: Option<Instant>,
}

impl Recheck {
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            next: None,
        }
    }

    pub(super) fn next(&mut self) -> Option<Instant> {
        if self.next.is_none() {
            self.next = self.backoff.next_deadline(None);
        }
        self.next
    }

    pub(super) fn is_due(&mut self) -> bool {
        let due = self.next.is_some_and(|at| sys::now() >= at);
        if due {
            self.next = None;
        }
        due
    }
}

/// What the next round of the loop has to do.
pub(super) struct Ready {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Check for the exit.
    pub(super) exit: bool,
}

impl Ready {
    pub(super) const ALL: Self = Self {
        stdin: true,
        stdout: true,
        stderr: true,
        exit: true,
    };
}

impl Session<'_> {
    /// Blocks until a pipe is ready, the child may have exited, or the stage's deadline has passed.
    pub(super) fn poll(&mut self) -> io::Result<Ready> {
        let ends = (self.stage == Stage::Ending)
            .then_some(self.ending.as_ref())
            .flatten();
        let exit = match ends.map(Ending::wait_for) {
            Some(WaitFor::Member(fd)) => Some(ExitFd::of_pidfd(fd)),
            Some(WaitFor::Time) => None,
            Some(WaitFor::Exit) => self.exit_fd.clone(),
            None if self.exited || self.no_exit_fd => None,
            None => self.exit_fd.clone(),
        };
        // There is nothing to poll for the exit of the child.
        let repeat = !self.exited && exit.is_none();
        let mut until = match ends {
            Some(ending) => ending.until(),
            None => self.deadline,
        };
        if repeat {
            until = earlier(until, self.recheck.next());
        }
        let fds = [
            (self.input.open(), PollFlags::POLLOUT),
            (self.stdout.open(), PollFlags::POLLIN),
            (self.stderr.open(), PollFlags::POLLIN),
            (exit.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
        ];
        let [stdin, stdout, stderr, exited] = poll(fds, until)?;
        Ok(Ready {
            stdin,
            stdout,
            stderr,
            exit: exited || repeat && self.recheck.is_due(),
        })
    }
}

/// Waits until one of the descriptors is ready, or until the deadline, and returns which are.
fn poll<const N: usize>(
    fds: [(Option<BorrowedFd<'_>>, PollFlags); N],
    deadline: Option<Instant>,
) -> nix::Result<[bool; N]> {
    let there = fds
        .iter()
        .filter_map(|(fd, flags)| Some((fd.as_ref()?, flags)));
    let mut polled: Vec<_> = there
        .map(|(fd, flags)| PollFd::new(fd.as_fd(), *flags))
        .collect();
    sys::poll(&mut polled, deadline)?;
    let mut ready = polled.iter().map(|fd| fd.any().unwrap_or(true));
    Ok(fds.map(|(fd, _)| fd.and_then(|_| ready.next()).unwrap_or(false)))
}
