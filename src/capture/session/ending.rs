//! The end of the child, or of its group.

use std::io;

use nix::errno::Errno;

use super::{Session, Stage};
use crate::ending::Ending;
use crate::escalation::Escalation;

impl Session<'_> {
    /// Begins to end the group that the child leads, or the child if it leads none.
    pub(super) fn begin_to_end(&mut self, escalation: Escalation) {
        let subject = self.target.subject();
        let ending = match subject.signal_group(0) {
            Err(Errno::ESRCH | Errno::ECHILD) => Ending::unreaped(escalation),
            Ok(()) | Err(_) => Ending::of_group(subject, escalation, false),
        };
        self.ending = Some(ending);
        self.stage = Stage::Ending;
    }

    /// The same after the exit of the child. False: it leads no group.
    pub(super) fn begin_to_end_group(&mut self, escalation: Escalation) -> bool {
        let subject = self.target.subject();
        // If there is no such group, another process has the pipe.
        if subject.signal_group(0).is_err() {
            return false;
        }
        self.ending = Some(Ending::of_group(subject, escalation, false));
        self.stage = Stage::Ending;
        true
    }

    /// Takes the next step. Returns whether all has ended.
    pub(super) fn step_ending(&mut self, is_ready: bool) -> io::Result<bool> {
        match &mut self.ending {
            Some(ending) => ending.step(self.target.subject(), is_ready),
            None => Ok(true),
        }
    }
}
