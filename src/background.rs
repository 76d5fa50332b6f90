// Tests: tests/it/background.rs

//! Reaping children in the background, by one thread for the whole program.
//!
//! Children with a pidfd are registered with an epoll instance, in which the thread blocks. Those
//! without a pidfd, and those that could not be registered, are checked repeatedly.

#[cfg_attr(
    any(target_os = "linux", target_os = "android"),
    path = "background/epoll.rs"
)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "background/condvar.rs"
)]
mod poller;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use once_cell::race::OnceBox;
use once_cell::sync::OnceCell;

use crate::handle::{ExitFd, Held};
use crate::support::Backend;
use crate::sys;
use crate::wait::{is_final, Backoff};
use crate::PidHandle;

use poller::Poller;

impl PidHandle {
    /// Lets the child run on, and reaps it in a background thread when it exits. Never blocks.
    ///
    /// Use it for a child that no code waits for, so that it does not stay a zombie. This handle can be
    /// dropped or released. One thread serves the whole program. The first call starts it, with a small
    /// stack and all signals blocked.
    ///
    /// Once the thread has reaped the child, the handle and its clones are done, and
    /// [`exit_status`](Self::exit_status) returns the status. A wait in another thread may get the status
    /// first; otherwise it fails with ECHILD. [`wait_shared`](Self::wait_shared) returns it in any case.
    ///
    /// It has no effect on a non-child, or if the handle is done or released.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("0.01"))?.handle;
    /// child.reap_in_background();
    /// child.wait_exited()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// The thread waits in [epoll_wait(2)], and needs two descriptors besides the pidfds of the
    /// children. With [`Backend::Waitpid`] it checks the children repeatedly,
    /// at first 1 ms and later up to 50 ms apart, or less often if there are thousands.
    ///
    /// If the thread cannot be started, the children stay zombies when they exit. The next call, for any
    /// child, reaps those and tries again.
    ///
    /// [epoll_wait(2)]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html
    pub fn reap_in_background(&self) {
        let found = match self.try_wait() {
            Err(error) if is_final(&error) => return,
            found => found,
        };
        let reaper = Reaper::current();
        if !matches!(found, Ok(Some(_))) {
            reaper.add(self);
        }
        reaper.ensure_running();
    }
}

/// The reaper of this process, and of each process that was forked from it.
static REAPERS: OnceBox<Reaper> = OnceBox::new();

struct Reaper {
    /// The process that it works in. In a forked process its thread does not exist, and its lock stays
    /// locked if another thread held it at the moment of the fork.
    process: (u32, u32),
    poller: OnceCell<Poller>,
    state: Mutex<State>,
    /// The reaper of a process that was forked from this one.
    next: OnceBox<Reaper>,
}

#[derive(Default)]
struct State {
    /// Whether the thread was started; it does not end.
    is_running: bool,
    polled: HashMap<u64, Polled>,
    last_key: u64,
    /// Children without a descriptor to poll.
    unpolled: Vec<Arc<Held>>,
}

struct Polled {
    child: Arc<Held>,
    exit: ExitFd,
}

impl Reaper {
    fn current() -> &'static Self {
        // The number of forks does not count a raw `clone`, and a PID can be an ancestor's.
        let process = (sys::fork_number(), std::process::id());
        let mut slot = &REAPERS;
        loop {
            let reaper = slot.get_or_init(|| Box::new(Self::new(process)));
            if reaper.process == process {
                return reaper;
            }
            slot = &reaper.next;
        }
    }

    fn new(process: (u32, u32)) -> Self {
        Self {
            process,
            poller: OnceCell::new(),
            state: Mutex::default(),
            next: OnceBox::new(),
        }
    }

    /// No handle is used or dropped under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, handle: &PidHandle) {
        if let Some(child) = handle.hold() {
            let child = Arc::new(child);
            if self.add_polled(handle, &child) {
                return;
            }
            self.lock().unpolled.push(child);
        } else if self.lock().unpolled.is_empty() {
            return; // It is polled already, or the handle was done or released since.
        }
        if let Some(poller) = self.poller.get() {
            poller.wake();
        }
    }

    /// False if the child cannot be polled: it has no pidfd, or no descriptor is available.
    fn add_polled(&self, handle: &PidHandle, child: &Arc<Held>) -> bool {
        if handle.backend() != Backend::Pidfd {
            return false;
        }
        let (Ok(poller), Ok(exit)) = (self.poller.get_or_try_init(Poller::new), handle.exit_fd())
        else {
            return false;
        };
        let entry = Polled {
            child: Arc::clone(child),
            exit: exit.clone(),
        };
        let mut state = self.lock();
        state.last_key += 1;
        let key = state.last_key;
        // Before the poller has it, so that the thread finds the entry of each event.
        state.polled.insert(key, entry);
        drop(state);
        let added = poller.add(&exit, key).is_ok();
        if !added {
            drop(self.remove(key));
        }
        added
    }

    fn remove(&self, key: u64) -> Option<Polled> {
        self.lock().polled.remove(&key)
    }

    /// Starts the thread if there are children. If it cannot be started, reaps those that have exited
    /// now; the next call tries again.
    fn ensure_running(&'static self) {
        let mut state = self.lock();
        if state.is_running || state.polled.is_empty() && state.unpolled.is_empty() {
            return;
        }
        let started = match self.poller.get_or_try_init(Poller::new) {
            Ok(poller) => sys::spawn_thread(move || self.run(poller)),
            Err(errno) => Err(errno),
        };
        state.is_running = started.is_ok();
        let keys: Vec<u64> = state.polled.keys().copied().collect();
        drop(state);
        if started.is_err() {
            keys.into_iter().for_each(|key| self.try_reap_polled(key));
            self.try_reap_unpolled();
        }
    }

    fn run(&self, poller: &Poller) {
        /// Checks take at most a twentieth of the time of one CPU.
        const REST: u32 = 20;
        let mut ready = Vec::new();
        let mut backoff = Backoff::new();
        let mut took = Duration::ZERO;
        loop {
            let has_unpolled = !self.lock().unpolled.is_empty();
            let delay = has_unpolled
                .then(|| backoff.next_delay(None))
                .flatten()
                .map(|delay| delay.max(took.saturating_mul(REST)));
            match poller.wait(delay, &mut ready) {
                Ok(true) => backoff = Backoff::new(), // New children may exit soon.
                Ok(false) => {}
                // A sandbox denies the call.
                Err(_) => {
                    backoff.sleep(None);
                    ready.extend(self.lock().polled.keys());
                }
            }
            ready.drain(..).for_each(|key| self.try_reap_polled(key));
            let start = sys::now();
            self.try_reap_unpolled();
            took = sys::now().saturating_duration_since(start);
        }
    }

    fn try_reap_polled(&self, key: u64) {
        let Some(child) = self.lock().polled.get(&key).map(|it| Arc::clone(&it.child)) else {
            return;
        };
        // `None`: a tracer holds the zombie. Another event follows when it releases it.
        if is_over(&child) {
            if let (Some(entry), Some(poller)) = (self.remove(key), self.poller.get()) {
                poller.remove(&entry.exit);
            }
        }
    }

    fn try_reap_unpolled(&self) {
        let mut children = std::mem::take(&mut self.lock().unpolled);
        children.retain(|child| matches!(child.has_exited(), Ok(false)) || !is_over(child));
        self.lock().unpolled.append(&mut children);
    }
}

/// Reaps the child if it has exited. Whether there is nothing left to reap: a lack of descriptors, to
/// check that it is the same process, passes.
fn is_over(child: &Held) -> bool {
    match child.try_reap() {
        Ok(status) => status.is_some(),
        Err(error) => is_final(&error),
    }
}
