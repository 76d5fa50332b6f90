// Tests: tests/it/seccomp.rs, tests/it/timeout.rs

//! `poll`, where there is no `ppoll` with its nanoseconds, or a sandbox denies it.

use std::time::Duration;

use nix::poll::{PollFd, PollTimeout};
use nix::Result;

pub(super) fn poll_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    // Rounded up to the next millisecond, so that no timeout ends early.
    let limit = limit.map_or(PollTimeout::NONE, |time| {
        let millis = time.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
    });
    let ready = nix::poll::poll(fds, limit)?;
    Ok(usize::try_from(ready).unwrap_or(0))
}
