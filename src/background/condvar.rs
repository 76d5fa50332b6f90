// Tests: tests/it/background.rs

//! Sleeps between checks, on systems without pidfds to poll.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use crate::handle::ExitFd;

pub(super) struct Poller {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Poller {
    #[allow(clippy::unnecessary_wraps)] // On Linux it can fail.
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            is_woken: Mutex::new(false),
            woken: Condvar::new(),
        })
    }

    pub(super) fn add(&self, _exit: &ExitFd, _key: u64) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn remove(&self, _exit: &ExitFd) {}

    pub(super) fn wake(&self) {
        *self.is_woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }

    #[allow(clippy::unnecessary_wraps)] // On Linux it can fail.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        _ready: &mut Vec<u64>,
    ) -> nix::Result<bool> {
        let is_woken = self.is_woken.lock().unwrap_or_else(PoisonError::into_inner);
        let timeout = timeout.unwrap_or(Duration::MAX);
        let waited = self
            .woken
            .wait_timeout_while(is_woken, timeout, |is_woken| !*is_woken);
        let (mut is_woken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *is_woken))
    }
}
