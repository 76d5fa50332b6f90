//! No allocation in `try_wait`, `signal` and `wait`. A binary of its own, for the allocator that
//! counts is everybody's.

#![allow(unsafe_code)] // An allocator is unsafe to be.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{backends, sleeper};
use nix::libc::SIGKILL;
use pidwait::PidHandle;

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates meanwhile.
fn allocations<T>(run: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    let result = run();
    let after = ALLOCATIONS.get();
    drop(result);
    after - before
}

#[test]
fn none_in_a_handle() {
    assert_eq!(allocations(|| Box::new(1)), 1, "it counts");
    for backend in backends() {
        let child = sleeper();
        let open = || PidHandle::open_with(child.id(), backend).unwrap();
        assert!(allocations(open) <= 1, "one small one for all its life");
        let handle = open();
        assert_eq!(allocations(|| handle.try_wait().unwrap()), 0);
        assert_eq!(allocations(|| handle.signal(0).unwrap()), 0);
        assert_eq!(allocations(|| handle.signal(SIGKILL).unwrap()), 0);
        assert_eq!(allocations(|| handle.wait().unwrap()), 0);
        assert_eq!(allocations(|| handle.wait().unwrap_err()), 0);
        assert_eq!(allocations(|| handle.signal(0).unwrap_err()), 0);
    }
}
