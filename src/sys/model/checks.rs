//! Checks results against the state of the model kernel.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::Ordering::SeqCst;

use nix::errno::Errno;

use super::kernel::{self, with};
use super::oracle::{Before, Oracle};
use super::process::{Life, PID};
use super::scenario::Scenario;
use crate::handle::ExitFd;
use crate::{Backend, PidHandle};

impl Oracle {
    /// Checks the result of a wait. False if it returned neither a status nor an error.
    pub(super) fn check_wait(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<Option<ExitStatus>>,
    ) -> bool {
        match self.check_error(handle, before, result) {
            Ok(found) => {
                assert!(!before.released, "waited through a released handle");
                assert_ne!(self.scenario, Scenario::NonChild, "waited for a non-child");
                let Some(status) = found else { return false };
                self.check_status(status);
                let earlier = self.statuses.fetch_add(1, SeqCst);
                assert_eq!(earlier, 0, "two waits got the status");
                self.done.store(true, SeqCst);
            }
            Err(Errno::ECHILD) => {
                self.had_echild.store(true, SeqCst);
                // A pidfd stays open to read the kernel's record, and a non-child's handle stays live.
                let is_done = self.backend == Backend::Waitpid
                    && !matches!(self.scenario, Scenario::NonChild | Scenario::Adopted);
                self.done.fetch_or(is_done, SeqCst);
                if self.was_waitable(before) {
                    self.check_loser(handle);
                }
            }
            Err(_) => {}
        }
        true
    }

    /// Checks the result of a call that returns the status to every caller. False if it returned neither
    /// a status nor an error.
    pub(super) fn check_shared(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<Option<ExitStatus>>,
    ) -> bool {
        match self.check_error(handle, before, result) {
            Ok(found) => {
                let Some(status) = found else { return false };
                self.check_status(status);
                self.done.store(true, SeqCst);
                let is_recorded = self.is_recorded() && !self.is_reaped_by_us();
                let is_waited_for = !is_recorded || self.scenario == Scenario::ReapedEarly;
                assert!(
                    !is_waited_for || self.scenario != Scenario::NonChild,
                    "waited for a non-child"
                );
                self.is_shared.fetch_or(is_waited_for, SeqCst);
                self.is_noted.store(true, SeqCst);
            }
            Err(Errno::ECHILD) => {
                self.had_echild.store(true, SeqCst);
                let is_lost = self.was_waitable(before)
                    && (self.is_reaped_by_us() || self.scenario == Scenario::ReapedEarly);
                assert!(!is_lost, "the status was not shared");
            }
            Err(_) => {}
        }
        true
    }

    /// Whether the kernel has a record of the exit, and the handle can read it.
    fn is_recorded(&self) -> bool {
        with(|kernel| kernel.rules.exit_records)
            && self.backend == Backend::Pidfd
            && self.scenario != Scenario::Missing
            && self.life() == Life::Reaped
    }

    pub(super) fn is_reaped_by_us(&self) -> bool {
        with(|kernel| kernel.reaped_by_us(self.process))
    }

    /// Checks a wait that failed with ECHILD because another wait through the handle had the status.
    fn check_loser(&self, handle: &PidHandle) {
        if self.is_reaped_by_us() {
            let status = handle.exit_status().expect("the status is not noted yet");
            self.check_status(status);
        }
    }

    pub(super) fn check_signal(&self, handle: &PidHandle, before: &Before, result: io::Result<()>) {
        match self.check_error(handle, before, result) {
            Ok(()) => {
                assert!(!before.released, "signalled through a released handle");
                let reaped = before.life == Life::Reaped;
                assert!(!reaped || self.scenario == Scenario::ReapedEarly);
            }
            Err(Errno::ECHILD) => {
                assert!(self.is_over(handle), "not signalled");
                // The group of a zombie that was reaped early cannot be signalled.
                let was_reaped = self.scenario != Scenario::ReapedEarly;
                self.had_echild.fetch_or(was_reaped, SeqCst);
            }
            Err(_) => {}
        }
    }

    /// Checks a call that checks for the exit. False if it did not see it.
    pub(super) fn check_exited(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<bool>,
    ) -> bool {
        match self.check_error(handle, before, result) {
            Ok(true) => {
                assert_ne!(self.life(), Life::Running, "reported an exit too early");
                assert!(!before.released, "checked through a released handle");
                true
            }
            Ok(false) => {
                assert!(!before.released, "checked through a released handle");
                false
            }
            Err(errno) => {
                assert_eq!(errno, Errno::EINVAL);
                true
            }
        }
    }

    pub(super) fn check_exit_status(&self, before: &Before, found: Option<ExitStatus>) {
        if let Some(status) = found {
            return self.check_status(status);
        }
        // Not reaped before the call, so the call found the zombie, or the status that a wait has stored.
        let was_zombie = before.life == Life::Zombie && self.was_waitable(before);
        let is_known = was_zombie && (self.is_reaped_by_us() || !self.life().is_gone());
        assert!(!is_known || self.releasing.load(SeqCst), "no status");
    }

    pub(super) fn check_exit_fd(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<ExitFd>,
    ) {
        let fd = match self.check_error(handle, before, result) {
            Ok(fd) => fd,
            Err(errno) => return assert_ne!(errno, Errno::ECHILD, "no descriptor"),
        };
        assert!(!before.released);
        // In a forked process a zombie may not be visible, and no code may reap it.
        let certain = match self.forked {
            true => self.was_visible(before),
            false => !self.exits_last,
        };
        let deadline = (!certain).then_some(before.deadline);
        let readable = super::poll_readable(&fd, deadline).expect("poll never fails");
        assert!(readable || !certain);
        assert!(
            !readable || self.life() != Life::Running,
            "reported an exit too early"
        );
    }

    /// Checks a descriptor that was made before a wait that has returned.
    pub(super) fn check_readable(&self, before: &Before, fd: &ExitFd) {
        let readable = super::is_readable(fd).expect("poll never fails");
        assert!(readable || !self.was_waitable(before), "not readable yet");
    }

    pub(super) fn check_open(&self, before: &Before, result: io::Result<PidHandle>) {
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

    /// Whether the process was reaped, or its status was given out while its zombie is kept.
    fn is_over(&self, handle: &PidHandle) -> bool {
        let has_status = || handle.noted_status().is_some();
        match self.life() {
            Life::Running => false,
            Life::Zombie => has_status(),
            Life::Dead | Life::Reaped => true,
        }
    }

    /// Checks that an error has a reason.
    pub(super) fn check_error<T>(
        &self,
        handle: &PidHandle,
        before: &Before,
        result: io::Result<T>,
    ) -> Result<T, Errno> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let errno = error.raw_os_error().map(Errno::from_raw);
        match errno {
            Some(Errno::ECHILD) if self.is_over(handle) || !self.was_waitable(before) => {}
            Some(Errno::EINVAL) if self.releasing.load(SeqCst) => {}
            Some(Errno::EMFILE) if self.scenario == Scenario::NoDescriptors => {}
            Some(Errno::EAGAIN) if self.scenario == Scenario::NoThreads => {}
            _ => panic!("wrong error: {error}; {:?}, {self:?}", self.life()),
        }
        Err(errno.unwrap_or(Errno::UnknownErrno))
    }

    pub(super) fn check_status(&self, status: ExitStatus) {
        let expected = with(|kernel| kernel.status(self.process));
        assert_eq!(status, expected, "the status of another process");
        assert_ne!(self.life(), Life::Running, "a status before the exit");
    }

    /// After ECHILD the kernel has the record at once.
    pub(super) fn check_record(&self, handle: &PidHandle) {
        let status = handle.exit_status();
        let is_child = !matches!(
            self.scenario,
            Scenario::Missing | Scenario::NonChild | Scenario::Adopted
        );
        let is_recorded =
            is_child && self.backend == Backend::Pidfd && with(|kernel| kernel.rules.exit_records);
        let released = self.releasing.load(SeqCst);
        assert!(!is_recorded || released || status.is_some(), "no record");
    }

    /// By PID, a child that other code has reaped is not distinguished from a later child with its PID.
    fn may_be_confused(&self) -> bool {
        self.backend == Backend::Waitpid
            && self.scenario == Scenario::ReapedExternally
            && self.life() == Life::Reaped
            && !self.is_reaped_by_us()
    }

    /// Whether a wait could get its status. By PID, an adopted child is distinguished from a later
    /// process with its PID only by its start time.
    fn was_waitable(&self, before: &Before) -> bool {
        before.is_child && self.is_known()
    }

    /// The same for a wait now.
    fn is_waitable(&self) -> bool {
        with(|kernel| kernel.is_child(self.process)) && self.is_known()
    }

    fn is_known(&self) -> bool {
        self.scenario != Scenario::Adopted || self.backend == Backend::Pidfd || self.procfs
    }

    /// Whether its exit could be seen. By PID, a non-child's zombie cannot.
    pub(super) fn was_visible(&self, before: &Before) -> bool {
        match before.life {
            Life::Running => false,
            Life::Zombie | Life::Dead => before.is_child || self.backend == Backend::Pidfd,
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

    pub(super) fn check_no_status(&self) {
        assert_eq!(self.statuses.load(SeqCst), 0, "a fork got the status");
    }

    /// After all threads have ended; with the last clone of the handle, if there is one.
    pub(super) fn check_end(&self, handle: Option<PidHandle>) {
        kernel::join_threads();
        if !matches!(self.scenario, Scenario::NonChild | Scenario::Adopted) {
            let watchers = with(|kernel| kernel.watchers);
            assert!(watchers <= 1, "more than one watcher for a child");
        }
        with(|kernel| kernel.free_pid(self.process));
        let has_status = self.statuses.load(SeqCst) == 1 || self.is_shared.load(SeqCst);
        match self.scenario {
            Scenario::ReapedEarly => {
                let was_lost = !has_status && self.had_echild.load(SeqCst);
                assert!(!was_lost, "lost the status");
            }
            Scenario::Missing => {
                let calls = with(|kernel| kernel.calls) - self.calls;
                assert_eq!(calls, 0, "a handle that is done made a call on a process");
            }
            _ => {
                // Other code can reap a zombie that is kept.
                let is_reaped = match self.scenario {
                    Scenario::ReapedExternally if has_status => self.life().is_gone(),
                    _ => self.is_reaped_by_us(),
                };
                assert_eq!(has_status, is_reaped, "lost the status");
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
        let is_recorded = self.is_recorded() && !released;
        let is_kept = self.scenario == Scenario::ReapedEarly && !released;
        let is_zombie = self.life() == Life::Zombie && self.is_waitable() && !released;
        let is_known =
            has_status || self.is_noted.load(SeqCst) || is_recorded || is_kept || is_zombie;
        let status = with(|kernel| kernel.status(self.process));
        let found = handle.exit_status();
        if !is_known && found.is_some() && self.may_be_confused() {
            let owner = with(|kernel| kernel.owner(PID))
                .expect("a status, although no process has the PID");
            return assert_eq!(found, with(|kernel| kernel.peek(owner).ok()?.exited()));
        }
        assert_eq!(found, is_known.then_some(status));
    }
}
