// Tests: tests/it/pid_reuse.rs, tests/it/wait.rs, src/sys/model/tests.rs

//! By PID. A child keeps its PID until it is reaped, so a check and a call by PID are safe if no reap
//! can run between them: all three run under the owner's lock. A blocking peek cannot hold the lock;
//! [`engine`](crate::engine) states how it is kept apart from reaps.

use nix::errno::Errno;
use nix::libc::{c_int, pid_t};

use super::Seen;
use crate::engine::check_until;
use crate::errno::{is_denied, is_shortage};
use crate::exit::{Event, ResourceUsage};
use crate::sys;

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: pid_t,
    /// The fork number when it was opened: in a forked process, the parent's child is a non-child.
    forks: u32,
    /// The start time of a non-child, which distinguishes it from a later process with its PID. `None`
    /// for children, which need no such check, and if `/proc` does not have it.
    start_time: Option<u64>,
}

impl Process {
    pub(crate) fn open(pid: pid_t) -> nix::Result<(Self, Seen)> {
        match Self::open_if_child(pid) {
            Err(Errno::ECHILD) => {
                let process = Self {
                    start_time: start_time_if_own(pid)?,
                    ..Self::of_child(pid)
                };
                // After the start time was read. In the other order, a process that is reaped in between
                // would have no start time, and would be known only by its PID.
                if exists(pid)? {
                    Ok((process, Seen::default()))
                } else {
                    Err(Errno::ESRCH)
                }
            }
            opened => opened,
        }
    }

    /// ECHILD: it is not an unreaped child.
    pub(crate) fn open_if_child(pid: pid_t) -> nix::Result<(Self, Seen)> {
        let event = sys::peek_by_pid(pid)?;
        let mut seen = Seen::of_child();
        seen.exited = event.exited().is_some();
        Ok((Self::of_child(pid), seen))
    }

    pub(crate) fn of_child(pid: pid_t) -> Self {
        Self {
            pid,
            forks: sys::fork_number(),
            start_time: None,
        }
    }

    #[inline]
    pub(crate) fn try_reap(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        if !self.is_child(seen) {
            self.peek(seen, None)?; // ECHILD, unless it was adopted.
        }
        seen.check_present()?;
        self.check_kept(seen)?;
        let found = self.note(seen, sys::reap_by_pid(self.pid, usage));
        if let Ok(Event::Exited(_)) = found {
            seen.gone = true;
        }
        found
    }

    pub(crate) fn peek(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        seen.check_present()?;
        if self.is_child(seen) {
            return self.note(seen, peek_by_pid(self.pid, usage));
        }
        match self.start_time {
            Some(_) => self.peek_adopted(seen, usage),
            None => Err(Errno::ECHILD),
        }
    }

    /// Notes the start time of a zombie that is kept. If other code reaps it, and another child gets its
    /// PID, neither a reap nor a signal to its group reaches that child.
    pub(crate) fn note_kept(&self, seen: &mut Seen) {
        seen.kept = start_time_if_own(self.pid).ok().flatten();
    }

    /// ECHILD: other code has reaped the zombie that was kept, and its PID was given to another process.
    fn check_kept(&self, seen: &mut Seen) -> nix::Result<()> {
        if let Some(then) = seen.kept {
            if has_other_start_time(self.pid, then)? {
                seen.set_gone();
            }
        }
        seen.check_present()
    }

    /// Peeks at a non-child, which is a child once this process has adopted it as an orphan.
    fn peek_adopted(
        &self,
        seen: &mut Seen,
        usage: Option<&mut ResourceUsage>,
    ) -> nix::Result<Event> {
        if self.is_forked() {
            return Err(Errno::ECHILD);
        }
        let event = peek_by_pid(self.pid, usage)?;
        if self.start_time.is_some() {
            // The child that has the PID keeps it now. But it may be a later process.
            if !self.still_exists(seen)? {
                return Err(Errno::ECHILD);
            }
            seen.child = true;
        }
        seen.note(Ok(event))
    }

    pub(crate) fn has_exited(&self, seen: &mut Seen) -> nix::Result<bool> {
        self.note_notified(seen);
        // Not looked for again: the PID may be another process's by now.
        if seen.has_exited() {
            return Ok(true);
        }
        let found = if self.is_child(seen) {
            self.peek(seen, None)
        } else {
            self.peek_adopted(seen, None)
        };
        let found = match found {
            Err(Errno::ECHILD) if seen.gone => return Ok(true),
            Err(Errno::ECHILD) => self.still_exists(seen).map(|exists| !exists),
            found => found.map(|event| event.exited().is_some()),
        };
        match found {
            // Whether a non-child is the same process is not known now. A wait checks again.
            Err(errno) if is_shortage(errno) && !self.is_child(seen) => Ok(false),
            found => found,
        }
    }

    pub(crate) fn signal(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        self.check_exists(seen)?;
        // No signal has an effect on a zombie. So none is sent: other code may reap it now.
        let is_for_zombie = seen.exited && sys::is_signal(signal);
        seen.note_gone(sys::kill(self.pid, if is_for_zombie { 0 } else { signal }))
    }

    pub(crate) fn signal_group(&self, seen: &mut Seen, signal: c_int) -> nix::Result<()> {
        self.check_exists(seen)?;
        // While the process exists, only it can have made a group with its PID as the number. If it
        // leads none, there is no such group: ESRCH. Not by `getpgid`, which fails for a zombie on
        // macOS.
        match sys::kill_group(self.pid, signal) {
            // It leads no group, or other code reaped it after the check.
            Err(Errno::ESRCH) => self.check_exists(seen).and(Err(Errno::ESRCH)),
            sent => sent,
        }
    }

    /// Stores what a wait by PID has found.
    #[inline]
    pub(crate) fn note(&self, seen: &mut Seen, found: nix::Result<Event>) -> nix::Result<Event> {
        match found {
            // Not a child of this process, because this process was forked. It is not reaped.
            Err(Errno::ECHILD) if sys::is_forked_since(self.forks) => found,
            found => seen.note(found),
        }
    }

    /// The PID to block on without the lock: see [`block_until_waitable`].
    pub(crate) fn pid(&self) -> pid_t {
        self.pid
    }

    /// Whether it is a child, in this process.
    pub(crate) fn is_child(&self, seen: &Seen) -> bool {
        seen.child && !self.is_forked()
    }

    fn is_forked(&self) -> bool {
        sys::fork_number() != self.forks
    }

    /// Stores the exit if the descriptor of the listeners is readable. A forked process shares it with its
    /// parent, but not what the parent sees, so either can be the first to see the exit.
    pub(crate) fn note_notified(&self, seen: &mut Seen) {
        if self.is_child(seen) || seen.has_exited() {
            return;
        }
        let fd = seen.notify_fd();
        if fd.is_some_and(|fd| sys::is_readable(&*fd) == Ok(true)) {
            if self.is_forked() {
                seen.set_exited(); // The parent may have seen the zombie of its child.
            } else {
                seen.set_gone(); // No forked process sees the zombie of a non-child.
            }
        }
    }

    /// Before a signal: fails with ECHILD if the PID no longer belongs to the process.
    fn check_exists(&self, seen: &mut Seen) -> nix::Result<()> {
        self.note_notified(seen);
        seen.check_present()?;
        if self.is_child(seen) {
            match self.peek(seen, None) {
                Err(Errno::ECHILD) if !seen.gone => {} // In a forked process.
                found => return found.and(self.check_kept(seen)),
            }
        } else if seen.exited && !self.is_forked() {
            // It was adopted, and its zombie is a child until it is reaped.
            return seen.note(sys::peek_by_pid(self.pid)).map(drop);
        }
        if self.still_exists(seen)? {
            Ok(())
        } else {
            Err(Errno::ECHILD)
        }
    }

    /// Whether the non-child still exists: by its start time if that is known, otherwise by its PID.
    fn still_exists(&self, seen: &mut Seen) -> nix::Result<bool> {
        if sys::is_in_another_pid_namespace(self.forks) {
            return Err(Errno::EINVAL); // As the kernel fails for a pidfd.
        }
        let same = match self.start_time {
            None => exists(self.pid)? && !(self.is_forked() && started_after_fork(self.pid)?),
            Some(then) => match start_time(self.pid) {
                Ok(Some(now)) if now == then => true,
                // In another time namespace than that of the open, every start time is another one.
                Ok(Some(_)) if self.is_forked() && sys::start_times_have_offset() => {
                    return Err(Errno::EINVAL);
                }
                // It is gone, or /proc can no longer be read: check the PID. If that exists, another
                // process may have got it between the two checks: hence a third one.
                Ok(_) | Err(_) => exists(self.pid)? && !has_other_start_time(self.pid, then)?,
            },
        };
        if !same {
            seen.set_gone();
        }
        Ok(same)
    }
}

/// Blocks until the child with that PID can be reaped. ECHILD: there is no such child.
pub(crate) fn block_until_waitable(pid: pid_t) -> nix::Result<Event> {
    // In a trace stop the call returns at once, again and again.
    let found = check_until(None, || {
        let event = sys::block_by_pid(pid)?;
        Ok(event.exited().map(|_| event))
    })?;
    found.ok_or(Errno::ECHILD) // Without a deadline there is always a result.
}

fn peek_by_pid(pid: pid_t, usage: Option<&mut ResourceUsage>) -> nix::Result<Event> {
    match usage {
        Some(usage) => sys::peek_usage_by_pid(pid, usage),
        None => sys::peek_by_pid(pid),
    }
}

fn exists(pid: pid_t) -> nix::Result<bool> {
    match sys::kill(pid, 0) {
        Ok(()) => Ok(true),
        Err(errno) if is_denied(errno) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// `None` also if `/proc` belongs to another PID namespace.
fn start_time_if_own(pid: pid_t) -> nix::Result<Option<u64>> {
    if sys::proc_is_own()? {
        start_time(pid)
    } else {
        Ok(None)
    }
}

/// Whether another process has the PID now. Not if `/proc` was replaced since the open, and counts the
/// PIDs of another namespace.
fn has_other_start_time(pid: pid_t, then: u64) -> nix::Result<bool> {
    Ok(start_time(pid)?.is_some_and(|now| now != then) && sys::proc_is_own()?)
}

/// Whether a process started after this one was forked: then it is not one that the parent had opened.
fn started_after_fork(pid: pid_t) -> nix::Result<bool> {
    let Some(start) = start_time_if_own(pid)? else {
        return Ok(false);
    };
    Ok(start > sys::own_start_time()?)
}

/// `None`: there is no such process, or `/proc` does not tell. EMFILE, ENFILE, ENOMEM: it cannot be
/// read just now.
fn start_time(pid: pid_t) -> nix::Result<Option<u64>> {
    match sys::proc_stat(pid) {
        Ok(stat) => Ok(Some(stat.start_time)),
        Err(errno) if is_shortage(errno) => Err(errno),
        Err(_) => Ok(None),
    }
}
