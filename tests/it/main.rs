//! Tests of the crate's behaviour, one module per area.

// Some imports are only for tests of Linux.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod adoption;
#[cfg(feature = "async-io")]
mod async_io;
mod auto_traits;
#[cfg(target_os = "linux")]
mod background;
#[cfg(target_os = "linux")]
mod capture;
mod child;
mod clone;
mod exit;
mod exit_fd;
mod fd_exhausted;
#[cfg(target_os = "linux")]
mod fork;
#[cfg(target_os = "linux")]
mod from_pidfd;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod kill_on_drop;
#[cfg(target_os = "linux")]
mod namespaces;
mod open;
#[cfg(target_os = "linux")]
mod orphans;
#[cfg(target_os = "linux")]
mod pid_reuse;
#[cfg(target_os = "linux")]
mod pid_reuse_seen;
#[cfg(target_os = "linux")]
mod process_group;
mod race;
#[cfg(any(feature = "async-io", feature = "tokio"))]
mod reactor;
mod release;
#[cfg(target_os = "linux")]
mod seccomp;
mod set;
mod shared;
mod signal;
mod spawn;
#[cfg(target_os = "linux")]
mod stopped;
mod storm;
mod support;
mod terminate;
#[cfg(target_os = "linux")]
mod threads;
mod timeout;
#[cfg(target_os = "linux")]
mod together;
#[cfg(feature = "tokio")]
mod tokio;
mod usage;
mod wait;
