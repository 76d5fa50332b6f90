//! The kernel's table of open descriptors, and the channels that some of them are ends of.
//!
//! A descriptor that is used or closed when it is not open ends the test by a panic.

use std::os::fd::RawFd;

use super::kernel::Id;

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) enum File {
    Pidfd(Id),
    /// The two ends of a channel, by its number.
    Readable(usize),
    Dropped(usize),
}

#[derive(Debug, Default)]
pub(super) struct Files {
    open: Vec<(RawFd, File)>,
    /// Of each channel, whether its second half was dropped.
    ended: Vec<bool>,
}

impl Files {
    pub(super) fn open(&mut self, number: RawFd, file: File) {
        self.open.push((number, file));
    }

    pub(super) fn get(&self, number: RawFd) -> File {
        let found = self.open.iter().find(|(open, _)| *open == number);
        found.expect("a descriptor was used that is not open").1
    }

    pub(super) fn close(&mut self, number: RawFd) {
        let found = self.open.iter().position(|(open, _)| *open == number);
        let place = found.expect("a descriptor was closed that is not open");
        if let (_, File::Dropped(channel)) = self.open.swap_remove(place) {
            self.ended[channel] = true;
        }
    }

    pub(super) fn close_pidfds(&mut self) {
        self.open
            .retain(|(_, file)| !matches!(file, File::Pidfd(_)));
    }

    pub(super) fn number_open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn add_channel(&mut self) -> usize {
        self.ended.push(false);
        self.ended.len() - 1
    }

    pub(super) fn has_ended(&self, channel: usize) -> bool {
        self.ended[channel]
    }
}
