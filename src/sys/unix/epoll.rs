// Tests: tests/it/set/, tests/it/background.rs, tests/descriptors/set.rs

//! `epoll_wait` with a deadline: Linux.

use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::Result;

use super::fd::retry_until;

/// Waits until there are events, and returns how many. 0 only once the deadline has passed.
pub(crate) fn epoll_wait(
    epoll: &Epoll,
    events: &mut [EpollEvent],
    deadline: Option<Instant>,
) -> Result<usize> {
    retry_until(deadline, |left| {
        let timeout = left.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, because no timeout may end early.
            let millis = time.as_nanos().div_ceil(1_000_000);
            EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
        });
        epoll.wait(events, timeout)
    })
}
