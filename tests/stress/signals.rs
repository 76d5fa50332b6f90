//! Sends signals to threads without pause, to interrupt all their interruptible calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::libc;
use nix::unistd::gettid;

use crate::common::kill_thread;

pub(crate) struct SignalSender {
    targets: Mutex<Vec<libc::pid_t>>,
    stopped: AtomicBool,
}

impl SignalSender {
    pub(crate) fn new() -> Self {
        Self {
            targets: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Makes the calling thread a target until the guard is dropped.
    pub(crate) fn target_this_thread(&self) -> Target<'_> {
        let tid = gettid().as_raw();
        self.targets().push(tid);
        Target(self, tid)
    }

    /// Sends signals to all targets until `stop`.
    pub(crate) fn run(&self) {
        while !self.stopped.load(Ordering::SeqCst) {
            for thread in self.targets().iter() {
                kill_thread(*thread, libc::SIGUSR1);
            }
            thread::yield_now();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    fn targets(&self) -> MutexGuard<'_, Vec<libc::pid_t>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Target<'a>(&'a SignalSender, libc::pid_t);

impl Drop for Target<'_> {
    fn drop(&mut self) {
        self.0.targets().retain(|thread| *thread != self.1);
    }
}
