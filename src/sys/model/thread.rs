//! Clock, threads and forks.

use std::time::{Duration, Instant};

use nix::Result;

use super::kernel::{self, with};

pub(crate) fn now() -> Instant {
    with(|kernel| kernel.now())
}

pub(crate) fn sleep(time: Duration) {
    let end = now() + time;
    shuttle::thread::yield_now();
    with(|kernel| kernel.advance_clock(end));
}

pub(crate) fn spawn_thread(run: impl FnOnce() + Send + 'static) -> Result<()> {
    with(|kernel| kernel.watchers += 1);
    kernel::spawn(run);
    Ok(())
}

pub(crate) fn fork_number() -> u32 {
    with(|kernel| kernel.fork_number())
}
