// Tests: tests/it/threads.rs, tests/it/fork.rs, tests/it/storm.rs

//! Clock, threads and forks.

use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::Result;

use super::{errno_of, poll};

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sleeps for that long by the clock.
///
/// Not with std's `sleep`, which restarts with the remaining time after each signal handler and does
/// not count the time in between: frequent signals would prolong it without limit.
pub(crate) fn sleep(time: Duration) {
    // With no descriptors, poll can only report that the time is over. It fails where a sandbox denies
    // it; repeated checks must not spin there.
    if poll(&mut [], now().checked_add(time)).is_err() {
        thread::sleep(time);
    }
}

/// Starts a thread with all signals blocked and a small stack.
///
/// EAGAIN: no thread can be started, also after `unshare(CLONE_NEWPID)`.
pub(crate) fn spawn_thread(run: impl FnOnce() + Send + 'static) -> Result<()> {
    // Blocked before the thread starts and inherits the mask, so that no handler ever runs on it.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = thread::Builder::new()
        .name("pidwait".to_owned())
        .stack_size(64 * 1024)
        .spawn(run);
    // It cannot fail for a mask that was in use, and the thread has started.
    let _ = before.thread_set_mask();
    spawned.map(drop).map_err(|error| match errno_of(error) {
        Errno::EINVAL => Errno::EAGAIN, // How clone fails after unshare(CLONE_NEWPID).
        errno => errno,
    })
}

/// The number of forks from the first process that called this function to this process. A handle that
/// was made under another number belongs to a parent.
///
/// A fork by a raw system call is counted only in [`is_forked_since`].
pub(crate) fn fork_number() -> u32 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        OWNER.store(std::process::id(), Relaxed);
        // SAFETY: the handler makes two system calls and changes atomics, which is safe in a forked
        // process. If there is no memory for it, `is_forked_since` still counts.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
    });
    FORKS.load(Relaxed)
}

/// Whether this process was forked since `fork_number` returned `number`, even by a raw system call.
pub(crate) fn is_forked_since(number: u32) -> bool {
    if fork_number() == number && OWNER.load(Relaxed) != std::process::id() {
        count_fork();
    }
    fork_number() != number
}

/// Whether this process was forked since `fork_number` returned that number, into another PID
/// namespace: PIDs from before the fork mean other processes here.
pub(crate) fn is_in_another_pid_namespace(number: u32) -> bool {
    is_forked_since(number) && NESTED_SINCE.load(Relaxed) > number
}

/// The number of the last fork into another PID namespace.
static NESTED_SINCE: AtomicU32 = AtomicU32::new(0);
static FORKS: AtomicU32 = AtomicU32::new(0);
/// The process that `FORKS` was last counted in.
static OWNER: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_fork() {
    OWNER.store(std::process::id(), Relaxed);
    let number = FORKS.fetch_add(1, Relaxed) + 1;
    // The parent is of an outer namespace. Elsewhere only the system's first process has none, and
    // that is not forked.
    if parent_id() == 0 {
        NESTED_SINCE.store(number, Relaxed);
    }
}
