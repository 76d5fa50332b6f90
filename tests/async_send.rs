//! The futures are `Send` on every reactor, so that generic code can spawn them.
#![cfg(any(feature = "tokio", feature = "async-io"))]

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use pidwait::{AsyncPidHandle, AsyncProcessGroup, AsyncSpawned, Reactor};

fn assert_send<T: Send>(_: T) {}

#[allow(dead_code)] // It has to compile.
fn handle<R: Reactor>(handle: &AsyncPidHandle<R>) {
    assert_send(handle.wait());
    assert_send(handle.wait_usage());
    assert_send(handle.wait_shared());
    assert_send(handle.wait_exited());
    assert_send(handle.terminate(Duration::ZERO));
    assert_send(handle.terminate_unreaped(Duration::ZERO));
}

#[allow(dead_code)]
fn group<R: Reactor>(group: &AsyncProcessGroup<R>) {
    assert_send(group.wait_exited());
    assert_send(group.terminate(Duration::ZERO));
    assert_send(group.terminate_unreaped(Duration::ZERO));
}

#[allow(dead_code)]
fn types<R: Reactor>() {
    fn is_shared<T: Send + Sync + Unpin>() {}
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_shared::<AsyncPidHandle<R>>();
    is_shared::<AsyncProcessGroup<R>>();
    is_shared::<AsyncSpawned<R>>();
    is_unwind_safe::<AsyncPidHandle<R>>();
    is_unwind_safe::<AsyncProcessGroup<R>>();
}
