//! What becomes of the model kernel's processes and their PIDs.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGKILL, SIGTERM};
use nix::Result;
use shuttle::current::me;
use shuttle::rand::{thread_rng, Rng};

use super::kernel::{Fault, Kernel, Reuse};
use super::process::{Id, Life, Process, PID, THIS};
use crate::exit::Event;

impl Kernel {
    pub(super) fn start_target(&mut self, child: bool, leads: bool) -> Id {
        let id = self.start(PID, child, Life::Running, leads);
        let process = &mut self.processes[id.0];
        process.target = true;
        process.status = 3 << 8; // It differs from those of all others.
        self.target = id;
        id
    }

    /// Starts a process that leads a group, or is in that of the test.
    fn start(&mut self, pid: pid_t, child: bool, life: Life, leads: bool) -> Id {
        let id = Id(self.processes.len());
        self.processes.push(Process {
            pid,
            child,
            group: if leads { id } else { THIS },
            target: false,
            member: false,
            life,
            status: 4 << 8,
            reaped_by_us: false,
        });
        if self.forks_in_flight == 0 {
            // The numbers have wrapped around, and not to the same number as at any moment before.
            self.new_pid();
        }
        id
    }

    /// Gives a free PID to another process, or leaves it free.
    pub(super) fn reuse_pid(&mut self, pid: pid_t) {
        let reuse = if pid == PID {
            self.rules.reuse
        } else {
            self.rules.reuse_of_members
        };
        let (child, life) = match (reuse, thread_rng().gen_range(0..4)) {
            (Reuse::Never, _) | (Reuse::Any, 0) => return,
            (Reuse::ByRunningChild, _) | (Reuse::Any, 1) => (true, Life::Running),
            (Reuse::Any, 2) => (true, Life::Zombie),
            (Reuse::Any, _) => (false, Life::Running),
        };
        let leads = thread_rng().gen_ratio(3, 4);
        self.start(pid, child, life, leads);
    }

    /// Gives the target's PID, which is free, to a process that runs on, or to a zombie.
    pub(super) fn reuse_target_pid(&mut self, life: Life) {
        assert!(self.is_free(PID), "the PID is not free");
        let child = life == Life::Zombie || thread_rng().gen();
        self.start(PID, child, life, true);
    }

    /// Ends the processes that got the PID since.
    pub(super) fn exit_unrelated(&mut self) {
        for id in (1..self.processes.len()).map(Id) {
            if !self.is_related(id) {
                self.exit(id);
            }
        }
    }

    fn is_related(&self, id: Id) -> bool {
        self.processes[id.0].target || self.processes[id.0].member
    }

    /// The target's parent exits, and this process adopts the target.
    pub(super) fn adopt(&mut self, id: Id) {
        self.processes[id.0].child = true;
        self.wake();
    }

    pub(super) fn life(&self, id: Id) -> Life {
        self.processes[id.0].life
    }

    pub(super) fn status(&self, id: Id) -> ExitStatus {
        ExitStatus::from_raw(self.processes[id.0].status)
    }

    pub(super) fn reaped_by_us(&self, id: Id) -> bool {
        self.processes[id.0].reaped_by_us
    }

    pub(super) fn pid(&self, id: Id) -> pid_t {
        self.processes[id.0].pid
    }

    pub(super) fn start_time(&self, id: Id) -> u64 {
        match self.rules.fault {
            Some(Fault::IgnoreStartTimes) => 0,
            _ => id.0 as u64,
        }
    }

    /// A forked process has no children.
    pub(super) fn is_child(&self, id: Id) -> bool {
        self.processes[id.0].child && !self.is_forked()
    }

    pub(super) fn parent(&self, id: Id) -> pid_t {
        match self.is_child(id) {
            true => self.processes[0].pid,
            false => 1,
        }
    }

    /// The process that has the PID now.
    pub(super) fn owner(&self, pid: pid_t) -> Result<Id> {
        let has_it = |process: &Process| process.pid == pid && process.life != Life::Reaped;
        let found = self.processes.iter().rposition(has_it);
        found.map(Id).ok_or(Errno::ESRCH)
    }

    /// The same, and records it as the calling thread's last check.
    pub(super) fn check_owner(&mut self, pid: pid_t) -> Result<Id> {
        let owner = self.owner(pid)?;
        self.note_check(owner);
        Ok(owner)
    }

    pub(super) fn note_check(&mut self, id: Id) {
        if self.rules.signal_window {
            self.last_checks.retain(|(thread, _)| *thread != me());
            self.last_checks.push((me(), id));
        }
    }

    /// The smallest PID above this one.
    pub(super) fn next_pid(&self, last: pid_t) -> Option<pid_t> {
        let exists = |process: &&Process| process.life != Life::Reaped;
        let pids = self
            .processes
            .iter()
            .filter(exists)
            .map(|process| process.pid);
        pids.filter(|pid| *pid > last).min()
    }

    pub(super) fn is_in_signal_window(&self) -> bool {
        let mut checks = self.last_checks.iter();
        let last = checks.find(|(thread, _)| *thread == me());
        self.rules.signal_window && last.is_some_and(|(_, id)| self.is_related(*id))
    }

    /// The same for a wait.
    pub(super) fn child(&mut self, pid: pid_t) -> Result<Id> {
        let owner = self.check_owner(pid).map_err(|_| Errno::ECHILD)?;
        self.is_child(owner).then_some(owner).ok_or(Errno::ECHILD)
    }

    /// What a wait finds. ECHILD: not a child, or reaped already.
    pub(super) fn peek(&self, id: Id) -> Result<Event> {
        match self.life(id) {
            _ if !self.is_child(id) => Err(Errno::ECHILD),
            Life::Running => Ok(Event::Running),
            Life::Zombie => Ok(Event::Exited(self.status(id))),
            Life::Dead | Life::Reaped => Err(Errno::ECHILD),
        }
    }

    /// The same, and begins to reap a zombie.
    pub(super) fn reap(&mut self, id: Id) -> Result<Event> {
        let event = self.peek(id)?;
        // While a failed test unwinds, groups are dropped, and a second panic would end all tests.
        if std::thread::panicking() {
            return Err(Errno::ECHILD);
        }
        if let Event::Exited(_) = event {
            assert!(self.processes[id.0].target, "reaped an unrelated process");
            assert_eq!(self.kept, 0, "reaped the leader of a group that lives");
            self.processes[id.0].reaped_by_us = true;
            self.begin_reap(id);
        }
        Ok(event)
    }

    /// The first half of a reap, by any process.
    pub(super) fn begin_reap(&mut self, id: Id) {
        self.processes[id.0].life = Life::Dead;
        self.wake();
    }

    /// The second half: frees the PID and makes the record.
    pub(super) fn free_pid(&mut self, id: Id) {
        if self.life(id) != Life::Dead {
            return;
        }
        self.processes[id.0].life = Life::Reaped;
        // Its PID, and the number of its group if it was the last member.
        for id in [id, self.processes[id.0].group] {
            let pid = self.pid(id);
            if self.is_free(pid) {
                self.reuse_pid(pid);
            }
        }
        self.wake();
    }

    /// What can happen at any moment: PIDs become free, and the parents of other processes reap.
    pub(super) fn free_some_pids(&mut self) {
        for id in (0..self.processes.len()).map(Id) {
            let is_reaped = self.processes[id.0].member && self.rules.members_are_reaped;
            if is_reaped && self.life(id) == Life::Zombie && thread_rng().gen() {
                self.begin_reap(id);
            }
            if self.life(id) == Life::Dead && thread_rng().gen() {
                self.free_pid(id);
            }
        }
    }

    pub(super) fn exit(&mut self, id: Id) {
        if self.life(id) != Life::Running {
            return;
        }
        self.processes[id.0].life = Life::Zombie;
        if self.processes[id.0].child && self.rules.sigchld_ignored {
            self.begin_reap(id);
        }
        self.wake();
    }

    /// Delivers a signal by PID.
    pub(super) fn deliver_by_pid(&mut self, pid: pid_t, signal: c_int) -> Result<()> {
        let owner = match signal {
            0 => self.check_owner(pid)?,
            _ => self.owner(pid)?,
        };
        if self.is_related(owner) || !self.is_in_signal_window() {
            self.deliver(owner, signal);
        }
        Ok(())
    }

    /// Delivers a signal. SIGTERM may or may not end the process.
    pub(super) fn deliver(&mut self, id: Id, signal: c_int) {
        if signal == 0 {
            return;
        }
        assert!(
            self.is_related(id),
            "signal {signal} hit an unrelated process"
        );
        let ends_it = signal == SIGKILL || signal == SIGTERM && thread_rng().gen();
        if ends_it && self.life(id) == Life::Running {
            self.processes[id.0].status = signal;
            self.exit(id);
        }
    }
}
