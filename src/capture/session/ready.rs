// Tests: tests/it/capture/timeout.rs, tests/it/capture/leak.rs

//! Waiting until there is something to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use super::{Session, Stage};
use crate::sys;
use crate::wait::Backoff;

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
        let exit = match self.exited || self.no_exit_fd {
            true => None,
            false => self.target.exit_fd(),
        };
        // There is nothing to poll for the exit of the child, or of its group.
        let repeat = match self.exited {
            true => self.stage == Stage::Ending,
            false => exit.is_none(),
        };
        let until = match repeat {
            true => earlier(self.deadline, self.recheck.next()),
            false => self.deadline,
        };
        let fds = [
            (self.input.open(), PollFlags::POLLOUT),
            (self.stdout.open(), PollFlags::POLLIN),
            (self.stderr.open(), PollFlags::POLLIN),
            (exit, PollFlags::POLLIN),
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

pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
