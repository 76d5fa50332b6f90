//! Tests of the crate's behaviour, one module per area.

// Some imports are only for tests of Linux.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod background;
#[cfg(target_os = "linux")]
mod capture;
mod child;
mod clone;
mod exit;
mod exit_fd;
mod from_child;
#[cfg(target_os = "linux")]
mod from_pidfd;
#[cfg(target_os = "linux")]
mod identity;
#[cfg(target_os = "linux")]
mod kill_on_drop;
mod open;
#[cfg(target_os = "linux")]
mod process_group;
mod race;
mod release;
mod set;
mod shared;
mod signal;
mod spawn;
#[cfg(target_os = "linux")]
mod stopped;
mod support;
mod terminate;
mod timeout;
mod usage;
mod wait;
