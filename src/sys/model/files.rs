//! The model kernel's table of open descriptors.
//!
//! A descriptor that is used or closed when it is not open fails the test with a panic.

use std::os::fd::RawFd;

use super::process::Id;

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    Pidfd(Id),
    /// The two ends of a socket pair, by the pair's index.
    Notify(usize),
    Peer(usize),
}

#[derive(Debug, Default)]
pub(super) struct Files {
    open: Vec<(RawFd, File)>,
    /// Of each socket pair, whether it was shut down.
    shut_down: Vec<bool>,
}

impl Files {
    pub(super) fn open(&mut self, number: RawFd, file: File) {
        self.open.push((number, file));
    }

    pub(super) fn get(&self, number: RawFd) -> File {
        let found = self.open.iter().find(|(open, _)| *open == number);
        found.expect("used a descriptor that is not open").1
    }

    pub(super) fn close(&mut self, number: RawFd) {
        let found = self.open.iter().position(|(open, _)| *open == number);
        let index = found.expect("closed a descriptor that is not open");
        self.open.swap_remove(index);
    }

    pub(super) fn close_pidfds(&mut self) {
        self.open
            .retain(|(_, file)| !matches!(file, File::Pidfd(_)));
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    pub(super) fn add_pair(&mut self) -> usize {
        self.shut_down.push(false);
        self.shut_down.len() - 1
    }

    pub(super) fn shut_down(&mut self, number: RawFd) {
        match self.get(number) {
            File::Notify(pair) | File::Peer(pair) => self.shut_down[pair] = true,
            File::Pidfd(_) => panic!("shut down a pidfd"),
        }
    }

    pub(super) fn pair_is_readable(&self, pair: usize) -> bool {
        let peer_is_open = || self.open.iter().any(|(_, file)| *file == File::Peer(pair));
        self.shut_down[pair] || !peer_is_open()
    }
}
