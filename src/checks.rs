// Tests: tests/idle.rs, tests/it/threads.rs, tests/it/exit_fd.rs

//! Checks that are repeated in the background, by one thread for all of them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::Result;

use crate::engine::{rest_after, Backoff};
use crate::per_process::PerProcess;
use crate::sys;

/// Repeats a check, with a backoff, until it returns true. It must not block. The thread ends with the last
/// check. EAGAIN: it cannot be started.
///
/// However many checks there are, they take at most a twentieth of the time of one CPU.
pub(crate) fn repeat(is_over: impl FnMut() -> bool + Send + 'static) -> Result<()> {
    let check = Check {
        is_over: Box::new(is_over),
        backoff: Backoff::new(),
        next: sys::now(),
    };
    if cfg!(test) {
        // A static thread would not belong to one run of the model kernel.
        return sys::spawn_thread(move || repeat_alone(check));
    }
    let checks = CHECKS.get();
    let mut state = checks.lock();
    if !state.is_running {
        sys::spawn_thread(|| CHECKS.get().run())?;
        state.is_running = true;
    }
    state.all.push(check);
    drop(state);
    checks.added.notify_one();
    Ok(())
}

static CHECKS: PerProcess<Checks> = PerProcess::new();

#[derive(Default)]
struct Checks {
    state: Mutex<State>,
    added: Condvar,
}

#[derive(Default)]
struct State {
    all: Vec<Check>,
    is_running: bool,
}

struct Check {
    is_over: Box<dyn FnMut() -> bool + Send>,
    backoff: Backoff,
    next: Instant,
}

impl Check {
    /// Whether it is over now.
    fn run(&mut self, now: Instant) -> bool {
        if self.next > now {
            return false;
        }
        let is_over = (self.is_over)();
        self.next = now + self.backoff.next_delay(None).unwrap_or_default();
        is_over
    }
}

impl Checks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.lock();
            if state.all.is_empty() {
                state.is_running = false; // Under the lock, so that the next check starts a thread.
                return;
            }
            let mut checks = std::mem::take(&mut state.all);
            drop(state);
            // Without the lock: a check can end the life of a handle, and its drop can add a check.
            let now = sys::now();
            let rest = rest_after(|| checks.retain_mut(|check| !check.run(now)));
            let next = checks.iter().map(|check| check.next).min();
            let mut state = self.lock();
            let is_new = !state.all.is_empty();
            state.all.append(&mut checks);
            let until_next = next.map_or(Duration::ZERO, |at| {
                at.saturating_duration_since(sys::now())
            });
            let rest = rest.max(until_next);
            if !is_new && !state.all.is_empty() {
                // A new check ends the rest early, and is due at once.
                let waited = self.added.wait_timeout(state, rest);
                drop(waited);
            }
        }
    }
}

fn repeat_alone(mut check: Check) {
    while !check.run(sys::now()) {
        check.backoff.sleep(None);
    }
}
