// Tests: tests/it/terminate.rs, tests/it/process_group/terminate.rs, tests/contract/

//! Ends a process or a group, by the steps of an [`Escalation`].
//!
//! [`Ending`] never blocks: [`step`](Ending::step) sends what is due and checks, and then
//! [`wait_for`](Ending::wait_for) and [`until`](Ending::until) say what to wait for. [`run`](Ending::run)
//! is the loop of the blocking calls. The async calls, a capture and the background thread have their own.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{c_int, pid_t, SIGCONT, SIGKILL};

use crate::engine::{earlier, try_share, Backoff, Subject};
use crate::errno::is_denied;
use crate::escalation::{is_followed_by_sigcont, Due, Escalation, Progress};
use crate::process_group::members::{Look, Members};
use crate::support::Backend;
use crate::sys::{self, Arc, Pidfd};

/// What can end the wait for the next step, besides the time.
#[derive(Debug)]
pub(crate) enum WaitFor {
    /// The exit of the subject.
    Exit,
    /// The exit of a member of the group.
    Member(Arc<Pidfd>),
    /// Nothing.
    Time,
}

impl WaitFor {
    /// Blocks until it happens, or the time has come. Returns whether it has happened.
    pub(crate) fn block(&self, subject: &mut impl Subject, until: Option<Instant>) -> bool {
        let waited = match self {
            WaitFor::Exit => subject.block(until),
            WaitFor::Member(fd) => sys::poll_readable(&**fd, until).map_err(io::Error::from),
            WaitFor::Time => {
                let time = until.map(|at| at.saturating_duration_since(sys::now()));
                sys::sleep(time.unwrap_or(Backoff::LONGEST));
                Ok(false)
            }
        };
        // If it cannot be waited for, because no descriptor can be polled, the caller checks repeatedly.
        waited.unwrap_or_else(|_| {
            Backoff::new().sleep(until);
            false
        })
    }
}

/// How far the end of a process or a group has come.
#[derive(Debug)]
pub(crate) struct Ending {
    progress: Progress,
    /// The status is part of the end.
    reaps: bool,
    status: Option<ExitStatus>,
    is_group: bool,
    /// Of a group, until they have gone. What is left then is the end of the leader.
    members: Option<Members>,
    /// The caller has just found that the subject has not ended.
    is_checked: bool,
    /// The subject has exited, or looked so, but that is not enough: a tracer holds its zombie.
    late: Option<Backoff>,
    /// The leader has left the group, and was killed after its members had gone.
    is_former_leader_killed: bool,
}

impl Ending {
    /// Of a child that has not exited, up to its status.
    pub(crate) fn reaping(escalation: Escalation) -> Self {
        Self::new(escalation, true, None)
    }

    /// Of a process that has not exited, up to its exit.
    pub(crate) fn unreaped(escalation: Escalation) -> Self {
        Self::new(escalation, false, None)
    }

    /// Of all members of the group that the subject leads, or has led. `reaps`: up to the subject's status.
    pub(crate) fn of_group(
        subject: &mut (impl Subject + ?Sized),
        escalation: Escalation,
        reaps: bool,
    ) -> Self {
        let mut members = Members::of(subject);
        members.trust_leader();
        Self {
            is_checked: false,
            ..Self::new(escalation, reaps, Some(members))
        }
    }

    fn new(escalation: Escalation, reaps: bool, members: Option<Members>) -> Self {
        Self {
            progress: Progress::new(escalation, sys::now()),
            reaps,
            status: None,
            is_group: members.is_some(),
            members,
            is_checked: true,
            late: None,
            is_former_leader_killed: false,
        }
    }

    /// Runs all steps, and returns the child's status. The end must be one that reaps.
    pub(crate) fn run(mut self, child: &mut impl Subject) -> io::Result<ExitStatus> {
        self.run_steps(child)?;
        self.status.ok_or_else(|| Errno::ECHILD.into())
    }

    /// Runs all steps of an end that does not reap.
    pub(crate) fn run_unreaped(mut self, subject: &mut impl Subject) -> io::Result<()> {
        self.run_steps(subject)
    }

    fn run_steps(&mut self, subject: &mut impl Subject) -> io::Result<()> {
        let mut is_ready = false;
        while !self.step(subject, is_ready)? {
            is_ready = self.wait_for().block(subject, self.until());
        }
        Ok(())
    }

    /// Sends what is due, and returns whether the subject has ended. `is_ready`: what
    /// [`wait_for`](Self::wait_for) named has happened. Never blocks.
    pub(crate) fn step(
        &mut self,
        subject: &mut (impl Subject + ?Sized),
        is_ready: bool,
    ) -> io::Result<bool> {
        let is_checked = std::mem::take(&mut self.is_checked);
        if !is_checked && self.has_ended(subject, is_ready)? {
            return Ok(true);
        }
        let was_killed = self.progress.killed().is_some();
        match self.progress.due(sys::now()) {
            Due::Nothing => {}
            // `members_have_ended` has just sent it.
            Due::Signal(SIGKILL) if was_killed && self.members.is_some() => {}
            Due::Signal(signal) => self.send(subject, signal)?,
            Due::GiveUp => return Err(self.give_up(subject)),
        }
        self.check_denied(subject)?;
        if !self.reaps && self.members.is_none() && subject.backend() == Backend::Waitpid {
            // No event tells by PID that a non-child is a zombie.
            self.late.get_or_insert_with(Backoff::new);
        }
        Ok(false)
    }

    /// The status that the end has taken, if it reaps.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// When to call [`step`](Self::step) at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        let late = self.late.as_ref().and_then(|it| it.next_deadline(None));
        let check = self.members.as_ref().and_then(Members::next_check);
        earlier(self.progress.until(), earlier(late, check))
    }

    /// What to wait for until then.
    pub(crate) fn wait_for(&self) -> WaitFor {
        match &self.members {
            Some(members) => members.wait_for(),
            None if self.late.is_some() => WaitFor::Time,
            None => WaitFor::Exit,
        }
    }

    fn has_ended(
        &mut self,
        subject: &mut (impl Subject + ?Sized),
        is_ready: bool,
    ) -> io::Result<bool> {
        if !self.members_have_ended(subject, is_ready)? {
            return Ok(false);
        }
        self.members = None;
        let has_ended = if self.reaps {
            self.status = try_share(subject)?;
            self.status.is_some()
        } else {
            subject.has_exited()? || is_zombie(subject)
        };
        if !has_ended {
            self.kill_former_leader(subject)?;
            if is_ready {
                self.late.get_or_insert_with(Backoff::new);
            }
        }
        Ok(has_ended)
    }

    fn members_have_ended(
        &mut self,
        subject: &mut (impl Subject + ?Sized),
        is_ready: bool,
    ) -> io::Result<bool> {
        let is_killed = self.progress.killed().is_some();
        let Some(members) = &mut self.members else {
            return Ok(true);
        };
        if is_killed {
            // A process can have joined the group since the last SIGKILL, so each scan comes after one.
            members.signal(subject, SIGKILL)?;
        }
        match members.look(subject, is_ready)? {
            Look::Gone => Ok(true),
            Look::Alive => Ok(false),
            // SIGKILL reaches all members, so it leaves none. Before that, only the time ends the wait. If
            // that has no limit, the exit of the leader does.
            Look::Unknown(_) if is_killed || self.progress.until().is_none() => {
                subject.has_exited()
            }
            Look::Unknown(_) => Ok(false),
        }
    }

    /// A leader that has left the group gets none of the signals to the group.
    fn kill_former_leader(&mut self, subject: &mut (impl Subject + ?Sized)) -> io::Result<()> {
        if !self.is_group || self.is_former_leader_killed || subject.has_exited()? {
            return Ok(());
        }
        self.is_former_leader_killed = true;
        send_to_one(subject, SIGKILL)
    }

    fn send(&mut self, subject: &mut (impl Subject + ?Sized), signal: c_int) -> io::Result<()> {
        let Some(members) = &mut self.members else {
            return send_to_one(subject, signal);
        };
        members.signal(subject, signal)?;
        if is_followed_by_sigcont(signal) {
            members.signal(subject, SIGCONT)?;
        }
        Ok(())
    }

    /// EPERM: only members that may not be signalled have survived SIGKILL for this long.
    fn check_denied(&mut self, subject: &mut (impl Subject + ?Sized)) -> io::Result<()> {
        /// A member such as `sudo` ends a moment after the process that it has started.
        const LAST_CHANCE: Duration = Duration::from_millis(100);
        let is_late = |killed: Instant| sys::now().saturating_duration_since(killed) >= LAST_CHANCE;
        match &mut self.members {
            Some(members) if self.progress.killed().is_some_and(is_late) => {
                members.check_denied(subject)
            }
            _ => Ok(()),
        }
    }

    fn give_up(&mut self, subject: &mut (impl Subject + ?Sized)) -> io::Error {
        if let Some(members) = &mut self.members {
            if let Err(error) = members.check_denied(subject) {
                return error;
            }
        }
        timed_out(subject.pid(), self.is_group)
    }
}

/// Sends a signal to the subject alone, and SIGCONT after it.
fn send_to_one(subject: &mut (impl Subject + ?Sized), signal: c_int) -> io::Result<()> {
    let sent = match subject.signal(signal) {
        Ok(()) if is_followed_by_sigcont(signal) => subject.signal(SIGCONT),
        sent => sent,
    };
    match sent {
        // ECHILD: another wait has reaped it since. The next check finds that.
        Ok(()) | Err(Errno::ECHILD) => Ok(()),
        Err(errno) if is_denied(errno) && subject.has_exited()? => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a process that counts as running is a zombie: by PID only `/proc` shows that of a non-child,
/// which its parent may never reap.
fn is_zombie(subject: &mut (impl Subject + ?Sized)) -> bool {
    subject.backend() == Backend::Waitpid
        && sys::proc_is_own() == Ok(true)
        && sys::proc_stat(subject.pid()).is_ok_and(|stat| stat.is_zombie())
}

fn timed_out(pid: pid_t, is_group: bool) -> io::Error {
    let what = if is_group { "process group" } else { "process" };
    let text = format!("{what} {pid} has not ended, although it was killed with SIGKILL");
    io::Error::new(io::ErrorKind::TimedOut, text)
}
