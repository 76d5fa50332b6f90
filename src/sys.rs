// Tests: tests/descriptors/, tests/syscalls.rs

//! The system: processes, descriptors, clock, threads and locks, one function for each call.
//!
//! `unix` makes the real system calls. In unit tests `model` replaces it: the same functions on a
//! kernel in memory, under a scheduler that tries many interleavings.
//!
//! # Safety
//!
//! All `unsafe` of the crate is below this module, each block around one call. The functions
//! themselves are safe: they take descriptors as owned or borrowed values, and memory as
//! references. No function fails with EINTR.

#![allow(unsafe_code)] // The one place for it: see above.

mod lease;
#[cfg(test)]
mod model;
#[cfg_attr(test, allow(dead_code, unused_imports))] // The model replaces most of it.
mod unix;

pub(crate) use lease::{Guard, Lease, Leased, LeasedPart};

#[cfg(test)]
pub(crate) use model::*;
#[cfg(not(test))]
pub(crate) use unix::*;
