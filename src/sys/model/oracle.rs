//! Checks the result of every call against the state of the model kernel.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::SIGUSR1;

use super::kernel::{self, with, Fault};
use super::processes::{Id, Life, PID};
use super::run::{Call, Run, Scenario};
use crate::backend::Process;
use crate::wait::poll_until;
use crate::{Backend, PidHandle};

const TIMEOUT: Duration = Duration::from_millis(5);

/// What all threads that share the handle have seen.
#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) process: Id,
    scenario: Scenario,
    backend: Backend,
    exits_last: bool,
    /// The kernel's count when the handle was ready.
    steps: usize,
    /// How many waits got a status.
    statuses: AtomicUsize,
    /// A call failed with ECHILD because the process was reaped.
    had_echild: AtomicBool,
    /// The handle was done before it could be released, and stays so.
    done: AtomicBool,
    releasing: AtomicBool,
    released: AtomicBool,
}

/// The state when a call began.
struct Before {
    life: Life,
    released: bool,
    deadline: Instant,
}

impl Oracle {
    pub(super) fn new(run: &Run, process: Id, steps: usize) -> Self {
        Self {
            process,
            scenario: run.scenario,
            backend: run.backend,
            exits_last: run.exits_last,
            steps,
            statuses: AtomicUsize::new(0),
            had_echild: AtomicBool::new(false),
            done: AtomicBool::new(false),
            releasing: AtomicBool::new(false),
            released: AtomicBool::new(false),
        }
    }

    pub(super) fn life(&self) -> Life {
        with(|kernel| kernel.life(self.process))
    }

    /// Makes a call and checks its result.
    pub(super) fn call(&self, handle: &PidHandle, call: Call) {
        let before = Before {
            life: self.life(),
            released: self.released.load(SeqCst),
            deadline: super::now() + TIMEOUT,
        };
        match call {
            Call::Wait => _ = self.check_wait(handle, &before, handle.wait().map(Some)),
            Call::WaitUsage => {
                let result = handle.wait_usage().map(|(status, _)| Some(status));
                self.check_wait(handle, &before, result);
            }
            Call::Terminate => {
                let result = handle.terminate(TIMEOUT).map(Some);
                self.check_wait(handle, &before, result);
            }
            Call::TryWait => {
                let missed = !self.check_wait(handle, &before, handle.try_wait());
                assert!(!missed || before.life == Life::Running, "missed the exit");
            }
            Call::WaitTimeout => {
                let late = !self.check_wait(handle, &before, handle.wait_timeout(TIMEOUT));
                assert!(!late || super::now() >= before.deadline, "ended early");
            }
            Call::Signal => self.check_signal(&before, handle.signal(SIGUSR1)),
            Call::Kill => self.check_signal(&before, handle.kill()),
            Call::SignalGroup => {
                if self.check_error(handle.signal_group(SIGUSR1)).is_ok() {
                    assert!(!before.released && before.life != Life::Reaped);
                }
            }
            Call::HasExited => {
                let missed = !self.check_exited(&before, handle.has_exited());
                assert!(!missed || !self.is_visible(before.life), "missed the exit");
            }
            Call::WaitExited => {
                let exited = self.check_exited(&before, handle.wait_exited().map(|()| true));
                assert!(exited);
            }
            Call::WaitExitedTimeout => {
                let late = !self.check_exited(&before, handle.wait_exited_timeout(TIMEOUT));
                assert!(!late || super::now() >= before.deadline, "ended early");
            }
            Call::ExitFd => self.check_exit_fd(handle, &before),
            Call::ExitStatus => {
                if let Some(status) = handle.exit_status() {
                    self.check_status(status);
                }
            }
            Call::Release => self.release(handle),
            Call::OpenAgain => {
                self.check_open(&before, PidHandle::open_with(handle.id(), self.backend));
            }
            Call::Peek => self.peek(),
        }
        if self.had_echild.load(SeqCst) {
            self.check_record(handle);
        }
    }

    fn release(&self, handle: &PidHandle) {
        if !self.done.load(SeqCst) {
            self.releasing.store(true, SeqCst);
        }
        handle.release().expect("release never fails");
        with(|kernel| {
            if kernel.rules.fault == Some(Fault::CloseAtRelease) {
                kernel.files.close_pidfds();
            }
        });
        self.released.store(true, SeqCst);
    }

    /// After ECHILD the kernel's record is there at once.
    fn check_record(&self, handle: &PidHandle) {
        let status = handle.exit_status();
        let has_status = !matches!(self.scenario, Scenario::Missing | Scenario::NonChild);
        let is_recorded = has_status
            && self.backend == Backend::Pidfd
            && with(|kernel| kernel.rules.exit_records);
        let released = self.releasing.load(SeqCst);
        assert!(!is_recorded || released || status.is_some(), "no record");
    }

    /// Of a wait; false if it returned no status and no error.
    fn check_wait(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<Option<ExitStatus>>,
    ) -> bool {
        match self.check_error(result) {
            Ok(found) => {
                assert!(!before.released, "waited through a released handle");
                let Some(status) = found else { return false };
                self.check_status(status);
                let earlier = self.statuses.fetch_add(1, SeqCst);
                assert_eq!(earlier, 0, "two waits got the status");
                self.done.store(true, SeqCst);
            }
            Err(Errno::ECHILD) => {
                self.had_echild.store(true, SeqCst);
                // A pidfd stays open for the kernel's record, and so does a non-child's handle.
                let is_done =
                    self.backend == Backend::Waitpid && self.scenario != Scenario::NonChild;
                self.done.fetch_or(is_done, SeqCst);
                self.check_loser(handle);
            }
            Err(_) => {}
        }
        true
    }

    /// Of a wait that failed with ECHILD because another wait through the handle had the status.
    fn check_loser(&self, handle: &PidHandle) {
        if with(|kernel| kernel.reaped_by_us(self.process)) {
            let status = handle.exit_status().expect("the status is not noted yet");
            self.check_status(status);
        }
    }

    fn check_signal(&self, before: &Before, result: io::Result<()>) {
        match self.check_error(result) {
            Ok(()) => {
                assert!(!before.released, "signalled through a released handle");
                let reaped = before.life == Life::Reaped;
                assert!(!reaped || self.scenario == Scenario::ReapedEarly);
            }
            Err(Errno::ECHILD) => {
                assert!(self.life().is_gone(), "not signalled");
                self.had_echild.store(true, SeqCst);
            }
            Err(_) => {}
        }
    }

    /// Of a call that looks for the exit; false if it did not see it.
    fn check_exited(&self, before: &Before, result: io::Result<bool>) -> bool {
        match self.check_error(result) {
            Ok(true) => {
                assert_ne!(self.life(), Life::Running, "reported an exit too early");
                assert!(!before.released || self.life().is_gone());
                true
            }
            Ok(false) => {
                assert!(!before.released, "looked through a released handle");
                false
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EINVAL);
                true
            }
        }
    }

    fn check_exit_fd(&self, handle: &PidHandle, before: &Before) {
        if let Ok(fd) = self.check_error(handle.exit_fd()) {
            assert!(!before.released);
            let deadline = self.exits_last.then_some(before.deadline);
            let readable = super::poll_readable(&fd, deadline);
            assert_eq!(readable, Ok(!self.exits_last));
            assert_eq!(self.life() == Life::Running, self.exits_last);
        }
    }

    fn check_open(&self, before: &Before, result: io::Result<PidHandle>) {
        let has_owner = || with(|kernel| kernel.owner(PID)).is_ok();
        match result {
            Ok(_) if has_owner() => {}
            Ok(handle) if before.life == Life::Reaped => {
                let error = handle.wait().expect_err("no process has the PID");
                assert_eq!(error.raw_os_error(), Some(Errno::ECHILD as i32));
            }
            Ok(_) => {}
            // It was reaped during the call, and the check for the reason found the PID's next
            // owner.
            Err(error) => assert!(has_owner(), "{error}"),
        }
    }

    fn peek(&self) {
        let Ok((process, mut seen)) = Process::open(PID, self.backend) else {
            return;
        };
        let found: Result<_, Errno> = poll_until(None, || {
            let event = process.peek(&mut seen)?;
            Ok(event.exited())
        });
        match found {
            Ok(status) => self.check_status(status.expect("ended without a deadline")),
            Err(errno) => assert_eq!(errno, Errno::ECHILD),
        }
        match super::block_by_pid(PID) {
            Ok(event) => self.check_status(event.exited().expect("no exit")),
            Err(errno) => assert_eq!(errno, Errno::ECHILD),
        }
    }

    /// Checks that an error is true.
    fn check_error<T>(&self, result: io::Result<T>) -> Result<T, Errno> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let errno = error.raw_os_error().map(Errno::from_raw);
        match errno {
            Some(Errno::ECHILD) if self.life().is_gone() => {}
            Some(Errno::ECHILD) if self.scenario == Scenario::NonChild => {}
            Some(Errno::EINVAL) if self.releasing.load(SeqCst) => {}
            Some(Errno::EMFILE) if self.scenario == Scenario::NoDescriptors => {}
            _ => panic!("wrong error: {error}; {:?}, {self:?}", self.life()),
        }
        Err(errno.unwrap_or(Errno::UnknownErrno))
    }

    fn check_status(&self, status: ExitStatus) {
        assert_eq!(status, with(|kernel| kernel.status(self.process)));
        assert_ne!(self.life(), Life::Running, "a status before the exit");
    }

    /// Whether its exit can be seen. By PID, a non-child's zombie cannot.
    fn is_visible(&self, life: Life) -> bool {
        match life {
            Life::Running => false,
            Life::Zombie | Life::Dead => {
                self.scenario != Scenario::NonChild || self.backend == Backend::Pidfd
            }
            Life::Reaped => true,
        }
    }

    /// A non-child's watchers end when no listener is left, while the process still runs.
    pub(super) fn check_watchers_ended(&self) {
        if self.scenario == Scenario::NonChild {
            kernel::join_threads();
            assert_eq!(self.life(), Life::Running);
        }
    }

    /// After all threads have ended; with the last clone of the handle, if there is one.
    pub(super) fn check_end(&self, handle: Option<PidHandle>) {
        kernel::join_threads();
        if self.scenario != Scenario::NonChild {
            assert!(
                with(|kernel| kernel.watchers) <= 1,
                "more than one watcher for a child"
            );
        }
        with(|kernel| kernel.free_pid(self.process));
        let has_status = self.statuses.load(SeqCst) == 1;
        match self.scenario {
            Scenario::ReapedEarly => {
                assert!(
                    has_status || !self.had_echild.load(SeqCst),
                    "lost the status"
                );
            }
            Scenario::Missing => {
                let steps = with(|kernel| kernel.steps) - self.steps;
                assert_eq!(steps, 0, "a handle that is done made a call");
            }
            _ => {
                let reaped = with(|kernel| kernel.reaped_by_us(self.process));
                assert_eq!(has_status, reaped, "lost the status");
            }
        }
        if let Some(handle) = handle {
            self.check_last_clone(&handle, has_status);
        }
        kernel::join_threads();
        assert_eq!(with(|kernel| kernel.files.count()), 0, "never closed");
    }

    fn check_last_clone(&self, handle: &PidHandle, has_status: bool) {
        let released = self.released.load(SeqCst);
        if has_status || released {
            assert_eq!(with(|kernel| kernel.files.count()), 0, "not closed");
        }
        let is_recorded = with(|kernel| kernel.rules.exit_records)
            && self.backend == Backend::Pidfd
            && self.scenario != Scenario::Missing
            && self.life() == Life::Reaped
            && !released;
        let is_known = has_status || is_recorded || self.scenario == Scenario::ReapedEarly;
        let status = with(|kernel| kernel.status(self.process));
        assert_eq!(handle.exit_status(), is_known.then_some(status));
    }
}
