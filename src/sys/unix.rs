// Tests: tests/descriptors/, tests/syscalls.rs, tests/it/seccomp.rs

//! The system calls of Unix. For what a target lacks there are files of stubs with the same functions.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
mod fd;
mod no_ppoll;
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "unix/no_pidfd.rs"
)]
mod pidfd;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod ppoll;
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "unix/no_procfs.rs"
)]
mod procfs;
mod signal;
mod thread;
mod wait;
mod write;

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::{Errno, ErrnoSentinel};
use nix::Result;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use epoll::*;
pub(crate) use fd::*;
pub(crate) use pidfd::*;
pub(crate) use procfs::*;
pub(crate) use signal::*;
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
pub(crate) use thread::*;
pub(crate) use wait::*;
pub(crate) use write::*;

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
use no_ppoll::poll_once;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
use ppoll::poll_once;

/// A pidfd.
pub(crate) type Pidfd = OwnedFd;

/// Repeats a call as long as it fails with EINTR.
fn retry<T: ErrnoSentinel + PartialEq>(mut call: impl FnMut() -> T) -> Result<T> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Whether a call failed for lack of descriptors or memory, and may succeed later.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)
}

/// The errno of a system call that std made.
fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
