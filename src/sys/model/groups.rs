//! Process groups of the model kernel: their members, their numbers, and forks.

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};
use nix::Result;
use shuttle::rand::{thread_rng, Rng};

use super::kernel::{self, switch, with, Kernel};
use super::process::{Id, Life, Process, PID, THIS};

impl Kernel {
    /// Whether no process has this PID, and no process is in a group with this number.
    pub(super) fn is_free(&self, pid: pid_t) -> bool {
        let exists = |process: &&Process| process.life != Life::Reaped;
        let uses_it =
            |process: &Process| process.pid == pid || self.processes[process.group.0].pid == pid;
        !self.processes.iter().filter(exists).any(uses_it)
    }

    pub(super) fn group_number(&self, id: Id) -> pid_t {
        self.pid(self.processes[id.0].group)
    }

    /// The processes of a group, zombies included.
    fn members(&self, group: Id) -> Vec<Id> {
        let is_member = |id: &Id| {
            let process = &self.processes[id.0];
            process.group == group && process.life != Life::Reaped
        };
        (0..self.processes.len())
            .map(Id)
            .filter(is_member)
            .collect()
    }

    /// Whether a process of the target's group is alive.
    pub(super) fn group_is_alive(&self) -> bool {
        let mut members = self.members(self.target).into_iter();
        members.any(|id| self.life(id) == Life::Running)
    }

    /// Whether a process of the target's group exists, or a zombie.
    pub(super) fn group_exists(&self) -> bool {
        !self.members(self.target).is_empty()
    }

    pub(super) fn target_leads(&self) -> bool {
        self.processes[self.target.0].group == self.target
    }

    /// Delivers a signal to the group that a process leads or has led. It reaches all members at once.
    pub(super) fn deliver_to_group(&mut self, group: Id, signal: c_int) -> Result<()> {
        let members = self.members(group);
        if members.is_empty() {
            return Err(Errno::ESRCH);
        }
        for id in members {
            self.deliver(id, signal);
        }
        Ok(())
    }

    /// The same by the number of the group.
    pub(super) fn deliver_by_group_number(&mut self, pid: pid_t, signal: c_int) -> Result<()> {
        let has_it = |id: &Id| self.pid(*id) == pid && !self.members(*id).is_empty();
        // Two groups never have the same number at the same time.
        let group = (0..self.processes.len())
            .map(Id)
            .find(has_it)
            .ok_or(Errno::ESRCH)?;
        if group != self.target && self.is_in_signal_window() {
            return Ok(());
        }
        self.deliver_to_group(group, signal)
    }

    /// Gives out a PID for the first time. The numbers can wrap around at any moment, so that a later
    /// process has a smaller one; but not during a fork, which takes no time compared to that.
    pub(super) fn new_pid(&mut self) -> pid_t {
        let mut pid = self.newest_pid;
        if pid >= PID && self.forks_in_flight == 0 && thread_rng().gen_ratio(1, 4) {
            pid = PID / 2;
        }
        pid += 1;
        while self.given_pids.contains(&pid) {
            pid += 1;
        }
        self.given_pids.push(pid);
        self.newest_pid = pid;
        pid
    }

    /// Starts a member of the target's group.
    pub(super) fn start_member(&mut self, pid: pid_t) {
        self.processes.push(Process {
            pid,
            group: self.target,
            member: true,
            life: Life::Running,
            ..Process::this()
        });
    }

    fn any_member_that_runs(&self) -> Option<Id> {
        let mut members = self.members(self.target);
        members.retain(|id| self.life(*id) == Life::Running);
        let count = members.len();
        (count > 0).then(|| members[thread_rng().gen_range(0..count)])
    }

    /// The target leaves the group that it has led.
    pub(super) fn leave_group(&mut self) {
        if self.life(self.target) == Life::Running {
            self.processes[self.target.0].group = THIS;
        }
    }
}

/// A member of the group exits.
pub(super) fn exit_member() {
    wait_a_while();
    with(|kernel| {
        let member = (0..kernel.processes.len())
            .map(Id)
            .find(|id| kernel.processes[id.0].member && kernel.life(*id) == Life::Running);
        if let Some(id) = member {
            kernel.exit(id);
        }
    });
}

/// A member of the group forks. The new process has its PID before it can be seen, and does not come to be
/// if its parent is killed before that.
pub(super) fn fork_member() {
    wait_a_while();
    let forked = with(|kernel| {
        let parent = kernel.any_member_that_runs()?;
        let pid = kernel.new_pid();
        kernel.forks_in_flight += 1;
        Some((parent, pid))
    });
    let Some((parent, pid)) = forked else { return };
    wait_a_while();
    with(|kernel| {
        let parent_is_member = kernel.processes[parent.0].group == kernel.target;
        kernel.forks_in_flight -= 1;
        if kernel.life(parent) == Life::Running && parent_is_member {
            kernel.start_member(pid);
        }
    });
    kernel::spawn(exit_member);
}

/// Lets other threads run for any number of their steps.
pub(super) fn wait_a_while() {
    for _ in 0..thread_rng().gen_range(0..20) {
        switch();
    }
}
