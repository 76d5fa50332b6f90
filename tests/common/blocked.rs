//! Threads that are known to block, without sleeping for some time and hoping.

use std::fs;
use std::sync::mpsc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::libc;

/// A thread that waits for a process.
pub(crate) struct Waiter<'scope, T> {
    pub(crate) tid: libc::pid_t,
    thread: ScopedJoinHandle<'scope, T>,
}

impl<'scope, T: Send + 'scope> Waiter<'scope, T> {
    /// Starts it, and returns once it blocks in `waitid` or `wait4`, or is through already: then
    /// whatever it has to say is for the test to judge.
    pub(crate) fn start(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
    ) -> Self {
        let waiter = Self::spawn(scope, wait);
        while !waiter.is_finished() && !waits_for_a_child(waiter.tid) {
            thread::yield_now();
        }
        waiter
    }

    /// The same for a thread that need not block there.
    pub(crate) fn spawn(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
    ) -> Self {
        let (say, hear) = mpsc::channel();
        let thread = scope.spawn(move || {
            say.send(nix::unistd::gettid().as_raw())
                .expect("somebody listens");
            wait()
        });
        let tid = hear.recv().expect("the thread says its id");
        Self { tid, thread }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What the wait came to.
    pub(crate) fn join(self) -> T {
        self.thread
            .join()
            .expect("the waiting thread does not panic")
    }
}

/// Calls `wait` in a thread of its own, and `then` once that sleeps, in whatever call: the wait is
/// under way.
pub(crate) fn while_asleep<T: Send>(wait: impl FnOnce() -> T + Send, then: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let waiter = Waiter::spawn(scope, wait);
        // One that spins instead is the test's to find out, and must not keep it here.
        let start = Instant::now();
        let patience = Duration::from_secs(10);
        while !waiter.is_finished() && !sleeps(waiter.tid) && start.elapsed() < patience {
            thread::yield_now();
        }
        then();
        waiter.join()
    })
}

/// Whether a thread of this process sleeps in a system call that waits for a child; or just
/// sleeps, where the system does not say in which.
fn waits_for_a_child(tid: libc::pid_t) -> bool {
    // "running" while it runs; else the number of the call, its arguments and two addresses.
    let Ok(now) = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")) else {
        return sleeps(tid);
    };
    let number = now.split(' ').next().and_then(|word| word.parse().ok());
    [Some(libc::SYS_waitid), Some(libc::SYS_wait4)].contains(&number)
}

fn sleeps(tid: libc::pid_t) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.contains(") S ")
}
