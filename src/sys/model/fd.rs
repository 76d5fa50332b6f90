//! Descriptors.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use nix::errno::Errno;
use nix::Result;
use shuttle::rand::{thread_rng, Rng};

use super::files::File;
use super::kernel::{block_until, step, switch, with, Fault};
use super::now;
use super::process::Id;

/// A descriptor of /dev/null, so that it can be borrowed as a real one. What it refers to exists only
/// in the model kernel.
#[derive(Debug)]
pub(crate) struct Descriptor(OwnedFd);

impl Descriptor {
    pub(super) fn open(file: File) -> Result<Self> {
        static NULL: OnceLock<fs::File> = OnceLock::new();
        if with(|kernel| kernel.rules.no_descriptors) {
            return Err(Errno::EMFILE);
        }
        let null = NULL.get_or_init(|| fs::File::open("/dev/null").expect("cannot open /dev/null"));
        let descriptor = Self(null.as_fd().try_clone_to_owned().expect("no descriptors"));
        with(|kernel| kernel.files.open(descriptor.as_raw_fd(), file));
        Ok(descriptor)
    }

    pub(super) fn adopt(fd: OwnedFd) -> Self {
        Self(fd)
    }

    fn file(&self) -> File {
        with(|kernel| kernel.files.get(self.as_raw_fd()))
    }

    pub(super) fn process(&self) -> Id {
        match self.file() {
            File::Pidfd(id) => id,
            other => panic!("{other:?} is no pidfd"),
        }
    }
}

/// Another descriptor of the same file, as a forked process has it.
impl Clone for Descriptor {
    fn clone(&self) -> Self {
        Self::open(self.file()).expect("a fork copies all descriptors")
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        switch();
        if !std::thread::panicking() {
            with(|kernel| kernel.close(self.as_raw_fd()));
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A socket pair. Its first end is readable once it was shut down, or all copies of the second end are
/// closed.
#[derive(Debug)]
pub(crate) struct NotifyFd {
    readable: Descriptor,
    /// Taken out only by [`Fault::NotifyByClosing`].
    peer: Mutex<Option<Descriptor>>,
}

impl NotifyFd {
    pub(crate) fn new() -> Result<Self> {
        let pair = with(|kernel| kernel.files.add_pair());
        let readable = Descriptor::open(File::Notify(pair))?;
        let peer = Mutex::new(Some(Descriptor::open(File::Peer(pair))?));
        Ok(Self { readable, peer })
    }

    pub(crate) fn notify(&self) {
        switch();
        if with(|kernel| kernel.rules.fault) == Some(Fault::NotifyByClosing) {
            let peer = self.peer.lock().map(|mut peer| peer.take());
            drop(peer);
            return;
        }
        with(|kernel| kernel.shut_down(self.readable.as_raw_fd()));
    }
}

/// The same pair, as a forked process has it.
impl Clone for NotifyFd {
    fn clone(&self) -> Self {
        let peer = self.peer.lock().map_or(None, |peer| peer.clone());
        Self {
            readable: self.readable.clone(),
            peer: Mutex::new(peer),
        }
    }
}

impl AsFd for NotifyFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

pub(crate) fn is_readable(fd: &impl AsFd) -> Result<bool> {
    let file = begin_poll(fd);
    Ok(with(|kernel| kernel.poll(file)))
}

pub(crate) fn poll_readable(fd: &impl AsFd, deadline: Option<Instant>) -> Result<bool> {
    let file = begin_poll(fd);
    let Some(deadline) = deadline else {
        block_until(|kernel| kernel.poll(file).then_some(()));
        if let File::Pidfd(id) = file {
            with(|kernel| kernel.reap_without_lock(id));
        }
        return Ok(true);
    };
    while !with(|kernel| kernel.poll(file)) {
        if now() >= deadline {
            return Ok(false);
        }
        shuttle::thread::yield_now();
        if thread_rng().gen_ratio(1, 4) {
            with(|kernel| kernel.advance_clock(deadline));
        }
    }
    Ok(true)
}

fn begin_poll(fd: &impl AsFd) -> File {
    let file = || with(|kernel| kernel.files.get(fd.as_fd().as_raw_fd()));
    match file() {
        File::Pidfd(_) => step(),
        File::Notify(_) | File::Peer(_) => switch(),
    }
    file()
}
