//! Signals without end for the threads that want them, to interrupt every call that can be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::libc;
use nix::unistd::gettid;

use crate::common::kill_thread;

pub(crate) struct Storm {
    struck: Mutex<Vec<libc::pid_t>>,
    over: AtomicBool,
}

impl Storm {
    pub(crate) fn new() -> Self {
        Self {
            struck: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }

    /// The calling thread is to be struck, for as long as it keeps this.
    pub(crate) fn strike_me(&self) -> Struck<'_> {
        let me = gettid().as_raw();
        self.struck().push(me);
        Struck(self, me)
    }

    pub(crate) fn rage(&self) {
        while !self.over.load(Ordering::SeqCst) {
            for thread in self.struck().iter() {
                kill_thread(*thread, libc::SIGUSR1);
            }
            thread::yield_now();
        }
    }

    pub(crate) fn calm(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    fn struck(&self) -> MutexGuard<'_, Vec<libc::pid_t>> {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Struck<'a>(&'a Storm, libc::pid_t);

impl Drop for Struck<'_> {
    fn drop(&mut self) {
        self.0.struck().retain(|thread| *thread != self.1);
    }
}
