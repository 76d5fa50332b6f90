//! Bad input: random calls in random order, with pids, signals and durations from their whole
//! ranges. No panic, no overflow, and no answer that the contract does not have.
//!
//! Whatever is tried here, signals reach nothing but children made for it: a pid of which nothing
//! is known gets signal 0, and waits that are short or do not block.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod non_child;
mod own;

use std::fmt::Debug;
use std::io;
use std::time::{Duration, Instant};

use nix::libc::{self, c_int};
use pidwait::Backend;
use proptest::prelude::*;
use proptest::sample::select;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None, // What has failed is said, and no file left behind.
        ..ProptestConfig::default()
    }
}

fn backend() -> impl Strategy<Value = Backend> {
    select(common::backends())
}

/// From the whole range, and often from where it matters.
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

fn signal() -> impl Strategy<Value = c_int> {
    prop_oneof![
        any::<c_int>(),
        -1..=65,
        select(vec![c_int::MIN, c_int::MAX])
    ]
}

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

fn short() -> impl Strategy<Value = Duration> {
    (0..2_000_000u64).prop_map(Duration::from_nanos)
}

/// A moment that a duration from now is, or was; where the clock has none such, now.
fn moment(from_now: Duration, past: bool) -> Instant {
    let now = Instant::now();
    let moment = match past {
        true => now.checked_sub(from_now),
        false => now.checked_add(from_now),
    };
    moment.unwrap_or(now)
}

/// The signals that there are, 0 included.
fn is_signal(number: c_int) -> bool {
    (0..=libc::SIGRTMAX()).contains(&number)
}

/// That the answer is this error.
#[track_caller]
fn refused<T: Debug>(answer: io::Result<T>, errno: c_int) {
    assert_eq!(common::errno(answer), errno);
}

/// That time has not run out before its time.
#[track_caller]
fn late<T>(answer: &Option<T>, since: Instant, limit: Duration) {
    assert!(answer.is_some() || since.elapsed() >= limit, "early");
}

/// That a child of which a status was reported is gone, and any other still there to be reaped.
fn account(pid: u32, reported: bool) {
    if !reported {
        kill(pid);
        common::reap_externally(pid);
    }
    let left = common::try_reap_externally(pid);
    assert!(left.is_err(), "reported, and a zombie still");
}

/// Ends a child that nobody has reaped, stopped or not.
fn kill(pid: u32) {
    common::kill(pid, libc::SIGKILL);
}
