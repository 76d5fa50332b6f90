// Tests: tests/descriptors/, tests/syscalls.rs

//! The system: processes, descriptors, clock, threads and locks, one function for each call.
//!
//! Where systems differ, this file chooses. In unit tests `model` replaces most of it: the same
//! functions on a kernel in memory, under a scheduler that tries many interleavings.
//!
//! # Safety
//!
//! All `unsafe` of the crate is below this module, each block around one call. The functions
//! themselves are safe: they take descriptors as owned or borrowed values, and memory as
//! references. No function fails with EINTR.

#![allow(unsafe_code)] // The one place for it: see above.
#![cfg_attr(test, allow(dead_code, unused_imports))] // The model replaces most of it.

mod fd;
mod fork;
mod poller;
mod proc_types;
mod process;
mod thread;
mod wait;
mod write;

// Of Linux, and what stands in for it elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod no_pidfd;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod no_proc;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod no_select;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod pidfd;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod proc;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod select;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod wait4;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod waitid;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::{no_pidfd as pidfd, no_proc as proc, no_select as select, wait4 as waitid};

/// The real system.
mod real {
    pub(crate) use super::{
        fd::*, fork::*, pidfd::*, poller::*, proc::*, proc_types::*, process::*, thread::*,
        wait::*, write::*,
    };
}

#[cfg(test)]
mod model;

#[cfg(test)]
pub(crate) use model::*;
#[cfg(not(test))]
pub(crate) use real::*;

use std::io;

use nix::errno::{Errno, ErrnoSentinel};
use nix::Result;

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
