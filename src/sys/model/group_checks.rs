//! Makes calls of process groups, and checks their results.

use std::io;
use std::sync::atomic::Ordering::SeqCst;

use nix::errno::Errno;
use nix::libc::SIGUSR1;
use shuttle::rand::{thread_rng, Rng};

use super::kernel::with;
use super::oracle::{Before, Oracle, TIMEOUT};
use super::process::Life;
use super::scenario::{Call, Group, Scenario};
use crate::{Escalation, PidHandle, ProcessGroup};

impl Oracle {
    /// Names the group, and checks the result.
    pub(super) fn name_group(&self, handle: &PidHandle) -> Option<ProcessGroup> {
        let before = self.before();
        let result = handle.process_group();
        if let Err(error) = &result {
            if error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none() {
                let may_have_none = matches!(self.group, Group::None | Group::Left);
                assert!(may_have_none, "{error}");
                return None;
            }
        }
        let group = self.check_error(handle, &before, result).ok()?;
        // If it is reaped between two checks by PID, its number can be that of a later group.
        let was_lost = with(|kernel| kernel.rules.signal_window) && self.life().is_gone();
        let leads = self.group != Group::None;
        assert!(
            leads || was_lost,
            "named a group that the process does not lead"
        );
        assert!(!before.released, "named the group of a released handle");
        // If no other call was running, no other thread has a group that it has just named, or drops now.
        let was_gone = before.life == Life::Reaped && before.kept == 0 && before.in_flight == 1;
        assert!(!was_gone, "named the group of a process that is gone");
        let may_be_child = !matches!(self.scenario, Scenario::NonChild | Scenario::Adopted);
        let was_zombie_or_runs = !self.life().is_gone();
        assert!(
            group.keeps_zombie() || !may_be_child || !was_zombie_or_runs,
            "does not keep the zombie"
        );
        if group.keeps_zombie() {
            with(|kernel| kernel.kept += 1);
        }
        Some(group)
    }

    pub(super) fn drop_group(&self, group: ProcessGroup) {
        if group.keeps_zombie() {
            with(|kernel| kernel.kept -= 1);
        }
        self.in_flight.fetch_add(1, SeqCst);
        drop(group);
        self.in_flight.fetch_sub(1, SeqCst);
        self.check_paid();
    }

    /// A zombie whose status was given out is reaped once nothing keeps it. By PID, calls and watchers can
    /// keep it, too.
    pub(super) fn check_paid(&self) {
        let is_quiet =
            self.in_flight.load(SeqCst) == 0 && with(|kernel| kernel.kept + kernel.threads) == 0;
        let was_given = self.statuses.load(SeqCst) > 0 || self.is_shared.load(SeqCst);
        let is_paid = self.life().is_gone();
        assert!(!is_quiet || !was_given || is_paid, "a zombie was left");
    }

    pub(super) fn call_group(&self, group: &ProcessGroup, call: Call) {
        let before = self.before();
        let leader = group.leader();
        match call {
            Call::GroupSignal => _ = self.check_group(leader, call, group.signal(SIGUSR1)),
            Call::GroupKill => {
                if self.check_group(leader, call, group.kill()).is_some() {
                    assert!(!with(|kernel| kernel.group_is_alive()), "not killed");
                }
            }
            Call::GroupHasExited => {
                self.check_group_exited(&before, leader, call, group.has_exited())
            }
            Call::GroupWaitExited => {
                let result = group.wait_exited().map(|()| true);
                self.check_group_exited(&before, leader, call, result);
            }
            Call::GroupWaitExitedTimeout => {
                let result = group.wait_exited_timeout(TIMEOUT);
                let is_late = matches!(result, Ok(false));
                self.check_group_exited(&before, leader, call, result);
                assert!(!is_late || super::now() >= before.deadline, "ended early");
            }
            Call::GroupTerminate => {
                let result = group.terminate(escalation());
                if let Some(status) = self.check_group(leader, call, result) {
                    self.check_shared(leader, &before, Ok(Some(status)));
                    self.check_ended();
                }
            }
            Call::GroupTerminateUnreaped => {
                let result = group.terminate_unreaped(escalation());
                if self.check_group(leader, call, result).is_some() {
                    self.check_ended();
                }
            }
            _ => unreachable!("{call:?} is no call of a group"),
        }
    }

    fn check_ended(&self) {
        assert!(!with(|kernel| kernel.group_is_alive()), "a member is alive");
        assert_ne!(self.life(), Life::Running, "the leader is alive");
    }

    fn check_group_exited(
        &self,
        before: &Before,
        leader: &PidHandle,
        call: Call,
        result: io::Result<bool>,
    ) {
        match self.check_group(leader, call, result) {
            Some(true) => assert!(!with(|kernel| kernel.group_is_alive()), "a member is alive"),
            Some(false) => assert!(before.group_is_alive, "missed the end of the group"),
            None => {}
        }
    }

    /// Checks that the error of a call of a group has a reason. A release of the handle is none.
    fn check_group<T>(&self, leader: &PidHandle, call: Call, result: io::Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let rules = with(|kernel| kernel.rules);
        let has_reason = match error.raw_os_error().map(Errno::from_raw) {
            // It was no child when the group was named, or other code has reaped it.
            Some(Errno::ECHILD) if self.is_terminated_non_child(call) => true,
            Some(Errno::ECHILD) => self.life().is_gone(),
            Some(Errno::ESRCH) => {
                self.group == Group::Left && !with(|kernel| kernel.group_exists())
            }
            Some(Errno::EAGAIN) => rules.no_threads && !rules.loadavg,
            None if error.kind() == io::ErrorKind::Unsupported => !rules.procfs,
            _ => false,
        };
        assert!(
            has_reason,
            "wrong error of a group: {error}; {leader:?}, {self:?}"
        );
        None
    }

    fn is_terminated_non_child(&self, call: Call) -> bool {
        call == Call::GroupTerminate
            && matches!(self.scenario, Scenario::NonChild | Scenario::Adopted)
    }
}

fn escalation() -> Escalation {
    match thread_rng().gen() {
        true => Escalation::from(TIMEOUT),
        false => Escalation::kill(),
    }
}
