//! Clock, threads and forks.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::Result;
use shuttle::rand::{thread_rng, Rng};

use super::kernel::{self, with};

pub(crate) fn now() -> Instant {
    with(|kernel| kernel.now())
}

/// Can last much longer than asked for.
pub(crate) fn sleep(time: Duration) {
    const LATE: Duration = Duration::from_millis(10);
    let late = thread_rng().gen_ratio(1, 8);
    let end = now() + time + if late { LATE } else { Duration::ZERO };
    shuttle::thread::yield_now();
    with(|kernel| kernel.advance_clock(end));
}

pub(crate) fn spawn_thread(run: impl FnOnce() + Send + 'static) -> Result<()> {
    if with(|kernel| kernel.rules.no_threads) {
        return Err(Errno::EAGAIN);
    }
    with(|kernel| kernel.watchers += usize::from(!kernel.is_forked()));
    kernel::spawn(run);
    Ok(())
}

pub(crate) fn fork_number() -> u32 {
    with(|kernel| kernel.fork_number())
}

pub(crate) fn is_in_another_pid_namespace(_number: u32) -> bool {
    false
}

pub(crate) fn is_forked_since(number: u32) -> bool {
    fork_number() != number
}
