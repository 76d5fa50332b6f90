//! What becomes of the model kernel's processes and their PIDs.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGKILL, SIGTERM};
use nix::Result;
use shuttle::current::me;
use shuttle::rand::{thread_rng, Rng};

use super::kernel::{Fault, Kernel, Reuse};
use super::process::{Id, Life, Process, PID};
use crate::exit::Event;

impl Kernel {
    pub(super) fn start_target(&mut self, child: bool) -> Id {
        self.start(child, true, Life::Running)
    }

    fn start(&mut self, child: bool, target: bool, life: Life) -> Id {
        self.processes.push(Process {
            pid: PID,
            child,
            target,
            life,
            // A status that differs from the target's.
            status: if target { 3 << 8 } else { 4 << 8 },
            reaped_by_us: false,
        });
        Id(self.processes.len() - 1)
    }

    /// Gives the free PID to another process, or leaves it free.
    pub(super) fn reuse_pid(&mut self) {
        let (child, life) = match (self.rules.reuse, thread_rng().gen_range(0..4)) {
            (Reuse::Never, _) | (Reuse::Any, 0) => return,
            (Reuse::ByRunningChild, _) | (Reuse::Any, 1) => (true, Life::Running),
            (Reuse::Any, 2) => (true, Life::Zombie),
            (Reuse::Any, _) => (false, Life::Running),
        };
        self.start(child, false, life);
    }

    /// Gives the free PID to a process that runs on.
    pub(super) fn reuse_pid_by_running(&mut self) {
        assert_eq!(self.owner(PID), Err(Errno::ESRCH), "the PID is not free");
        let child = thread_rng().gen();
        self.start(child, false, Life::Running);
    }

    /// Ends the processes that got the PID since.
    pub(super) fn exit_unrelated(&mut self) {
        for id in (1..self.processes.len()).map(Id) {
            if !self.processes[id.0].target {
                self.exit(id);
            }
        }
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
        let owner = self.owner(pid);
        self.last_checks.retain(|(thread, _)| *thread != me());
        self.last_checks.extend(owner.map(|id| (me(), id)));
        owner
    }

    fn is_in_signal_window(&self) -> bool {
        let mut checks = self.last_checks.iter();
        let last = checks.find(|(thread, _)| *thread == me());
        self.rules.signal_window && last.is_some_and(|(_, id)| self.processes[id.0].target)
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
        if let Event::Exited(_) = event {
            let process = &mut self.processes[id.0];
            assert!(process.target, "reaped an unrelated process");
            process.reaped_by_us = true;
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
        self.reuse_pid();
        self.wake();
    }

    pub(super) fn free_some_pids(&mut self) {
        for id in (0..self.processes.len()).map(Id) {
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
        if self.processes[owner.0].target || !self.is_in_signal_window() {
            self.deliver(owner, signal);
        }
        Ok(())
    }

    /// Delivers a signal. SIGTERM may or may not end the process.
    pub(super) fn deliver(&mut self, id: Id, signal: c_int) {
        if signal == 0 {
            return;
        }
        let process = &mut self.processes[id.0];
        assert!(process.target, "signal {signal} hit an unrelated process");
        let ends_it = signal == SIGKILL || signal == SIGTERM && thread_rng().gen();
        if ends_it && process.life == Life::Running {
            process.status = signal;
            self.exit(id);
        }
    }
}
