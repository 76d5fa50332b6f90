//! Random calls in random order, with PIDs, signals and durations from their whole ranges. No call may
//! panic, overflow or return anything that docs/contract.md does not allow.
//!
//! Real signals are sent only to children that these tests spawn. Other PIDs get signal 0, and waits
//! that are short or do not block.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod handle;
mod non_child;

use std::fmt::Debug;
use std::io;
use std::time::{Duration, Instant};

use nix::libc::{self, c_int};
use pidwait::Backend;
use proptest::prelude::*;
use proptest::sample::select;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None, // A failure is printed; no file is written.
        ..ProptestConfig::default()
    }
}

fn backend() -> impl Strategy<Value = Backend> {
    select(common::backends())
}

/// A PID from the whole range, often from the edges.
fn pid() -> impl Strategy<Value = u32> {
    let edges = [
        0,
        1,
        2,
        1 << 22,
        i32::MAX.unsigned_abs(),
        1 << 31,
        u32::MAX - 1,
        u32::MAX,
    ];
    let edges = select([edges.as_slice(), &[std::process::id()]].concat());
    prop_oneof![any::<u32>(), 0..1u32 << 16, edges]
}

/// A signal number from the whole range, often a valid one.
fn signal() -> impl Strategy<Value = c_int> {
    prop_oneof![
        any::<c_int>(),
        -1..=65,
        select(vec![c_int::MIN, c_int::MAX])
    ]
}

/// A duration from the whole range, often from the edges.
fn duration() -> impl Strategy<Value = Duration> {
    let edges = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(u64::from(i32::MAX.unsigned_abs())),
        Duration::from_secs(i64::MAX.unsigned_abs()),
        Duration::from_secs(1 << 63),
        Duration::MAX,
    ];
    prop_oneof![any::<Duration>(), select(edges.to_vec())]
}

/// A duration short enough to wait for.
fn short() -> impl Strategy<Value = Duration> {
    (0..2_000_000u64).prop_map(Duration::from_nanos)
}

/// The instant that is this duration ahead, or ago; now, if the clock cannot represent it.
fn instant(offset: Duration, past: bool) -> Instant {
    let now = Instant::now();
    let instant = match past {
        true => now.checked_sub(offset),
        false => now.checked_add(offset),
    };
    instant.unwrap_or(now)
}

/// Whether this is a valid signal number, 0 included.
fn is_signal(number: c_int) -> bool {
    (0..=common::last_signal()).contains(&number)
}

#[track_caller]
fn assert_errno<T: Debug>(result: io::Result<T>, errno: c_int) {
    assert_eq!(common::errno(result), errno);
}

/// Asserts that a wait that returned nothing did not end before its timeout.
#[track_caller]
fn assert_not_early<T>(result: &Option<T>, start: Instant, timeout: Duration) {
    assert!(result.is_some() || start.elapsed() >= timeout, "early");
}

/// Asserts that the child is reaped if its status was returned, and otherwise can still be reaped.
fn assert_reaped_once(pid: u32, returned: bool) {
    if !returned {
        kill(pid);
        common::reap_externally(pid);
    }
    // By PID, a watcher thread that still peeks at the zombie reaps it, a moment later.
    common::eventually("it is reaped", || common::state_of(pid).is_none());
}

/// Kills an unreaped child, stopped or not.
fn kill(pid: u32) {
    common::kill(pid, libc::SIGKILL);
}
