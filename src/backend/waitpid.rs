//! By pid. A child's pid is its own until it is reaped, so all is well for as long as nobody who
//! shares this `Process` can reap while another is about to name the pid.
//!
//! Two rules see to that. Reaping and signalling happen under the lock, and a signal looks first.
//! And a look that blocks, which cannot hold the lock, is counted, and nobody reaps while one is
//! under way: it will not keep them long, for whoever is about to reap has seen the zombie.

use std::process::ExitStatus;
use std::sync::PoisonError;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use super::{Limit, Pause};
use crate::exit::{Event, ResourceUsage};
use crate::sys::{self, Arc, Condvar, Mutex, MutexGuard, Readable, Weak};

#[derive(Debug)]
pub(crate) struct Process {
    pid: pid_t,
    relation: Relation,
    state: Mutex<State>,
    nobody_looks: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Child,
    /// Nobody here can wait for it; others reap it, whenever they like.
    Stranger,
}

#[derive(Debug, Default)]
struct State {
    /// Reaped, or known not to be there any longer: its pid is never named again.
    gone: bool,
    /// Blocking looks under way.
    looking: usize,
    /// Who waits for those to end, in order to reap.
    queued: usize,
    /// What the watcher makes readable, for as long as it is there.
    watched: Weak<Readable>,
    /// A child's watcher stays until the exit, so one serves all who will ever listen.
    kept: Option<Arc<Readable>>,
}

impl Process {
    pub(crate) fn open(pid: pid_t) -> nix::Result<Self> {
        let relation = match sys::look_by_pid(pid, false) {
            Ok(_) => Relation::Child,
            Err(Errno::ECHILD) => match sys::kill(pid, 0) {
                Ok(()) | Err(Errno::EPERM) => Relation::Stranger,
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        };
        Ok(Self::new(pid, relation))
    }

    pub(crate) fn new(pid: pid_t, relation: Relation) -> Self {
        Self {
            pid,
            relation,
            state: Mutex::new(State::default()),
            nobody_looks: Condvar::new(),
        }
    }

    pub(crate) fn try_wait(
        &self,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Option<ExitStatus>> {
        let mut state = self.lock();
        // To reap at once is to look as well; but not in the face of those who still look.
        if state.looking > 0 && self.look_locked(&mut state)?.exited().is_none() {
            return Ok(None);
        }
        self.reap_locked(state, usage)
    }

    pub(crate) fn wait(&self, mut usage: Option<&mut ResourceUsage>) -> nix::Result<ExitStatus> {
        // A child that has exited takes this one call.
        if let Some(status) = self.try_wait(usage.as_deref_mut())? {
            return Ok(status);
        }
        loop {
            let state = self.look_until_exit()?;
            if let Some(status) = self.reap_locked(state, usage.as_deref_mut())? {
                return Ok(status);
            }
        }
    }

    /// Reaps if there is a zombie, once nobody is looking at it any more.
    fn reap_locked(
        &self,
        mut state: MutexGuard<'_, State>,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Option<ExitStatus>> {
        while state.looking > 0 {
            state.queued += 1;
            state = self
                .nobody_looks
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.queued -= 1;
        }
        self.check_mine(&state)?;
        let reaped = state.note(sys::reap_by_pid(self.pid, usage))?.exited();
        state.gone |= reaped.is_some();
        Ok(reaped)
    }

    pub(crate) fn look(&self) -> nix::Result<Event> {
        self.look_locked(&mut self.lock())
    }

    pub(crate) fn zombie_usage(&self) -> Option<ResourceUsage> {
        sys::usage_by_pid(self.pid)
    }

    pub(crate) fn look_until_reapable(&self, limit: Limit) -> nix::Result<bool> {
        if let Limit::Never = limit {
            return self.look_until_exit().map(|_| true);
        }
        let deadline = limit.deadline();
        let mut pause = Pause::new();
        while self.look()?.exited().is_none() {
            if !pause.take(deadline) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn has_exited(&self) -> nix::Result<bool> {
        let mut state = self.lock();
        let there = match self.relation {
            _ if state.gone => Err(Errno::ECHILD),
            Relation::Child => sys::look_by_pid(self.pid, false),
            Relation::Stranger => match sys::kill(self.pid, 0) {
                Err(Errno::EPERM) | Ok(()) => Ok(Event::Running),
                Err(errno) => Err(errno),
            },
        };
        match state.note(there) {
            Ok(event) => Ok(event.exited().is_some()),
            Err(Errno::ECHILD) => Ok(true),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn wait_exited(self: &Arc<Self>, deadline: Option<Instant>) -> nix::Result<bool> {
        match self.relation {
            Relation::Child if deadline.is_some() => {
                if self.has_exited()? {
                    return Ok(true);
                }
                // Where no watcher can be had, for want of descriptors or threads, looking again
                // answers the same, only later.
                if let Ok(watched) = self.exit_fd() {
                    // The watcher may come too late to tell: the last look is one's own.
                    return Ok(sys::poll_readable(&*watched, deadline)? || self.has_exited()?);
                }
            }
            Relation::Child => {
                return match self.look_until_reapable(Limit::Never) {
                    Err(Errno::ECHILD) => Ok(true),
                    found => found,
                };
            }
            Relation::Stranger => {}
        }
        let mut pause = Pause::new();
        while !self.has_exited()? {
            if !pause.take(deadline) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn signal(&self, signal: c_int) -> nix::Result<()> {
        let mut state = self.lock();
        self.check_unreaped(&mut state)?;
        state.note(sys::kill(self.pid, signal))
    }

    pub(crate) fn signal_group(&self, signal: c_int) -> nix::Result<()> {
        let mut state = self.lock();
        self.check_unreaped(&mut state)?;
        if !state.note(sys::leads_group(self.pid))? {
            return Err(Errno::EINVAL);
        }
        state.note(sys::kill_group(self.pid, signal))
    }

    pub(crate) fn exit_fd(self: &Arc<Self>) -> nix::Result<Arc<Readable>> {
        let mut state = self.lock();
        if let Some(watched) = state.watched.upgrade() {
            return Ok(watched);
        }
        let (readable, dropped) = sys::channel()?;
        let readable = Arc::new(readable);
        if state.gone {
            // The other end is dropped here, which makes it readable.
            return Ok(readable);
        }
        let (pid, process) = (self.pid, Arc::downgrade(self));
        match self.relation {
            Relation::Child => {
                sys::spawn_watcher(move || {
                    let found = look_until_exit(pid);
                    if let Some(process) = process.upgrade() {
                        // An error is ECHILD: reaped by others, and noted here.
                        drop(process.stop_looking(found));
                    }
                    drop(dropped);
                })?;
                state.looking += 1;
                state.kept = Some(Arc::clone(&readable));
            }
            Relation::Stranger => {
                let listeners = Arc::downgrade(&readable);
                sys::spawn_watcher(move || {
                    let mut pause = Pause::new();
                    while sys::kill(pid, 0) != Err(Errno::ESRCH) && listeners.strong_count() > 0 {
                        pause.take(None);
                    }
                    drop(dropped);
                })?;
            }
        }
        state.watched = Arc::downgrade(&readable);
        Ok(readable)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// ECHILD: nobody here can wait for it, or not any longer, whoever has the pid.
    fn check_mine(&self, state: &State) -> nix::Result<()> {
        match self.relation {
            Relation::Child if !state.gone => Ok(()),
            Relation::Child | Relation::Stranger => Err(Errno::ECHILD),
        }
    }

    fn look_locked(&self, state: &mut State) -> nix::Result<Event> {
        self.check_mine(state)?;
        state.note(sys::look_by_pid(self.pid, false))
    }

    /// Before a signal by pid: whether that pid is still the process's own. Of a stranger nobody
    /// can say more than that it was not seen to go.
    fn check_unreaped(&self, state: &mut State) -> nix::Result<()> {
        match self.relation {
            Relation::Child => self.look_locked(state).map(drop),
            Relation::Stranger if state.gone => Err(Errno::ECHILD),
            Relation::Stranger => Ok(()),
        }
    }

    fn look_until_exit(&self) -> nix::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        self.check_mine(&state)?;
        state.looking += 1;
        drop(state);
        self.stop_looking(look_until_exit(self.pid))
    }

    /// Ends a look that was counted, with what it has found.
    fn stop_looking(&self, found: nix::Result<()>) -> nix::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.looking -= 1;
        // To notify costs a system call even where nobody listens.
        if state.looking == 0 && state.queued > 0 {
            self.nobody_looks.notify_all();
        }
        state.note(found)?;
        Ok(state)
    }
}

impl State {
    /// Notes it where a call by pid says that the process is there no longer, and makes the
    /// kernel's two words for that one.
    fn note<T>(&mut self, result: nix::Result<T>) -> nix::Result<T> {
        if let Err(Errno::ECHILD | Errno::ESRCH) = result {
            self.gone = true;
            return Err(Errno::ECHILD);
        }
        result
    }
}

/// Blocks until there is a zombie to reap, or, ECHILD, nobody to wait for. In a trace stop
/// `waitid` comes back at once, and so is called only now and then.
fn look_until_exit(pid: pid_t) -> nix::Result<()> {
    let mut pause = Pause::new();
    while sys::look_by_pid(pid, true)?.exited().is_none() {
        pause.take(None);
    }
    Ok(())
}
