//! A handle is one allocation, or two with the descriptor that blocking calls share. `clone`, `try_wait`, `signal` and `wait` do not allocate. A separate
//! binary, because the counting allocator is process-wide.

#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{backends, sleeper};
use nix::libc::SIGKILL;
use pidwait::{Backend, PidHandle};

/// The system allocator, which also counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards every call unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the requirements.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the requirements.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many times this thread allocates during `run`.
fn allocations<T>(run: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    let result = run();
    let after = ALLOCATIONS.get();
    drop(result);
    after - before
}

#[test]
fn waits_and_signals_do_not_allocate() {
    assert_eq!(allocations(|| Box::new(1)), 1, "the allocator counts");
    for backend in backends() {
        let child = sleeper();
        let open = || PidHandle::open_with(child.id(), backend).unwrap();
        let state_and_descriptor = if backend == Backend::Pidfd { 2 } else { 1 };
        assert_eq!(allocations(open), state_and_descriptor);
        let handle = open();
        assert_eq!(allocations(|| handle.try_wait().unwrap()), 0);
        assert_eq!(allocations(|| handle.signal(0).unwrap()), 0);
        assert_eq!(allocations(|| handle.signal(SIGKILL).unwrap()), 0);
        assert_eq!(allocations(|| handle.clone()), 0, "clones share it");
        assert_eq!(allocations(|| handle.wait().unwrap()), 0);
        assert_eq!(allocations(|| handle.wait_shared().unwrap()), 0);
        assert_eq!(allocations(|| handle.wait().unwrap_err()), 0);
        assert_eq!(allocations(|| handle.signal(0).unwrap_err()), 0);
    }
}

/// The child is in the reaper's list once.
#[test]
fn repeated_reap_in_background_does_not_allocate() {
    for backend in backends() {
        let child = sleeper();
        let handle = PidHandle::open_with(child.id(), backend).unwrap();
        handle.reap_in_background();
        assert_eq!(allocations(|| handle.reap_in_background()), 0);
        assert_eq!(allocations(|| handle.clone().reap_in_background()), 0);
        handle.kill().unwrap();
    }
}
