//! Tests of the crate's behaviour, one module per area.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod clone;
mod exit;
mod exit_fd;
mod from_child;
mod from_pidfd;
mod group;
mod identity;
mod kill_on_drop;
mod open;
mod output;
mod race;
mod release;
mod set;
mod shared;
mod signal;
mod spawn;
mod support;
mod terminate;
mod timeout;
mod usage;
mod wait;
