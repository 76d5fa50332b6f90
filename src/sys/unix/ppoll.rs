//! `ppoll`, which takes nanoseconds.

use std::time::Duration;

use nix::poll::PollFd;
use nix::Result;

pub(super) fn poll_once(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<usize> {
    let ready = nix::poll::ppoll(fds, limit.map(Into::into), None)?;
    Ok(usize::try_from(ready).unwrap_or(0))
}
