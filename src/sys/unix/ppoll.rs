// Tests: tests/it/timeout.rs, tests/it/capture/timeout.rs

//! `ppoll`, which takes nanoseconds.

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::Result;

pub(super) fn poll_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    match nix::poll::ppoll(fds, limit.map(Into::into), None) {
        // A sandbox may allow only the older call.
        Err(Errno::ENOSYS | Errno::EPERM) => super::no_ppoll::poll_once(fds, limit),
        ready => Ok(usize::try_from(ready?).unwrap_or(0)),
    }
}
