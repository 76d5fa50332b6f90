// Tests: tests/it/capture/terminate.rs

//! Ending the child, or the group that it leads.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{c_int, SIGCONT, SIGKILL};

use super::ready::Recheck;
use super::{Session, Stage};
use crate::wait::{is_echild, Timeout, FIRST_SIGNAL};

impl Session<'_> {
    /// Whether the child, or the group, that was signalled to end has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.exited && (!self.group || self.group_has_exited())
    }

    /// If that is unknown, the group gets the full grace.
    fn group_has_exited(&mut self) -> bool {
        match self.target.group_has_exited() {
            Ok(exited) => exited,
            Err(error) => is_gone(&error),
        }
    }

    /// The timeout has passed, and the child runs.
    pub(super) fn ask_to_end(&mut self, grace: Duration) -> io::Result<()> {
        self.group = match self.target.signal_group(FIRST_SIGNAL) {
            Ok(()) => true,
            Err(error) if is_gone(&error) => false,
            Err(error) => return Err(error),
        };
        if !self.group {
            unless_gone(self.target.signal(FIRST_SIGNAL))?;
        }
        // A stopped process handles the first signal only when it continues.
        unless_gone(self.signal(SIGCONT))?;
        self.wait_for_end(grace);
        Ok(())
    }

    /// The child has exited, and another process has a pipe open, perhaps one of its group.
    pub(super) fn ask_group_to_end(&mut self, grace: Duration) {
        self.group = true;
        let sent = self.target.signal_group(FIRST_SIGNAL);
        // If there is no such group, or it may not be signalled, another process has the pipe.
        if sent.is_err() || self.group_has_exited() {
            self.asked = true;
            return;
        }
        let _ = self.target.signal_group(SIGCONT);
        self.wait_for_end(grace);
    }

    fn wait_for_end(&mut self, grace: Duration) {
        self.asked = true;
        self.stage = Stage::Ending;
        self.deadline = Timeout::after(grace).deadline();
        self.recheck = Recheck::new();
    }

    pub(super) fn kill(&mut self) -> io::Result<()> {
        if !self.asked {
            self.group = self.target.signal_group(SIGKILL).is_ok();
            self.asked = true;
        }
        unless_gone(self.signal(SIGKILL))?;
        if self.group && !self.target.has_exited()? {
            // It may have left the group, or be the one member that may not be signalled: EPERM.
            unless_gone(self.target.signal(SIGKILL))?;
        }
        self.stage = Stage::Killed;
        self.deadline = None;
        Ok(())
    }

    fn signal(&mut self, signal: c_int) -> io::Result<()> {
        match self.group {
            true => self.target.signal_group(signal),
            false => self.target.signal(signal),
        }
    }
}

/// ECHILD: the child was reaped. ESRCH: there is no such group.
fn is_gone(error: &io::Error) -> bool {
    is_echild(error) || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// The process may be reaped before the signal is sent.
fn unless_gone(sent: io::Result<()>) -> io::Result<()> {
    sent.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}
