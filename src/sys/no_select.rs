//! For systems on which `poll` refuses only thousands of descriptors.

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFd;
use nix::Result;

/// Not EINVAL, which from a handle means that it is released.
pub(super) fn select_once(_fds: &mut [PollFd<'_>], _limit: Option<Duration>) -> Result<usize> {
    Err(Errno::EMFILE)
}
