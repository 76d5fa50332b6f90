//! Two thousand live processes in one set, and the memory that the set itself has for them.

#![allow(unsafe_code)] // An allocator, and the descriptor limit.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;

use nix::libc::{self, EAGAIN, SIGKILL};
use pidwait::{Backend, PidHandle, WaitSet};

use common::{backends, descriptor_limit, set_descriptor_limit, skip, sleep};

const MANY: usize = 2_000;
/// What they take of the kernel's memory, at about 150 KiB each, with their watchers' threads.
const MEMORY: u64 = 512 << 20;
/// Either backend's, with what else is open: one a process, or two.
const DESCRIPTORS: libc::rlim_t = 2 * MANY as libc::rlim_t + 100;
/// A set's own bytes for a process.
const AT_MOST: usize = 100;

/// Counts what the calling thread has allocated and not freed.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn count(freed: usize, allocated: usize) {
    // A thread that is about to end has none.
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_sub(freed).wrapping_add(allocated)));
}

// SAFETY: the system's allocator does it all; the counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn two_thousand_live_processes_in_one_set() {
    if let Err(why) = raise_descriptor_limit().and_then(|()| enough_memory()) {
        return skip(&why);
    }
    for backend in backends() {
        let Some(children) = spawn(backend) else {
            return;
        };
        let held = HELD.get();
        let mut set = WaitSet::new().unwrap();
        // `by_ref`: the memory of the list itself is freed later.
        let mut children = children.into_iter();
        for (child, count) in children.by_ref().zip(1..) {
            set.insert(child, ()).unwrap();
            let each = HELD.get().wrapping_sub(held) / count;
            let enough = count < MANY / 4 || (1..AT_MOST).contains(&each);
            assert!(enough, "{each} bytes a process at {count} of them");
        }
        drop(children);
        every_exit_is_reported(set);
    }
}

/// Ended in an order that is neither that of their start nor its reverse: the first half one by
/// one, the rest at once.
fn every_exit_is_reported(mut set: WaitSet<()>) {
    let keys: Vec<_> = set.iter().map(|(key, _, ())| key).collect();
    let order = (0..MANY).map(|place| keys[place * 7 % MANY]);
    let mut left: HashMap<_, _> = set.iter().map(|(key, it, ())| (key, it.id())).collect();
    for (count, key) in order.enumerate() {
        set.get(key).unwrap().0.kill().unwrap();
        if count < MANY / 2 {
            assert_eq!(report(&mut set, &mut left), key);
        }
    }
    while !set.is_empty() {
        report(&mut set, &mut left);
    }
    assert!(left.is_empty());
}

fn report(set: &mut WaitSet<()>, left: &mut HashMap<pidwait::WaitKey, u32>) -> pidwait::WaitKey {
    let exited = set.wait().unwrap().expect("the set is not empty");
    assert_eq!(left.remove(&exited.key), Some(exited.handle.id()));
    assert_eq!(exited.status.unwrap().signal(), Some(SIGKILL));
    exited.key
}

/// Each with its watcher, where it needs one, so that nothing is left for the set to allocate
/// but its own. `None`, said aloud: the system lets nobody have so many.
fn spawn(backend: Backend) -> Option<Vec<PidHandle>> {
    match try_spawn(backend) {
        Ok(children) => Some(children),
        Err(error) if error.raw_os_error() == Some(EAGAIN) => {
            skip(&format!(
                "no {MANY} processes and threads on {backend}: {error}"
            ));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn try_spawn(backend: Backend) -> io::Result<Vec<PidHandle>> {
    let mut sleep = sleep();
    let one = |_| PidHandle::open_with(sleep.spawn()?.id(), backend);
    let children = (0..MANY).map(one).collect::<io::Result<Vec<_>>>()?;
    // Not before: a process with many threads takes long to fork.
    for child in &children {
        child.exit_fd()?;
    }
    Ok(children)
}

fn enough_memory() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match kib {
        Some(kib) if kib * 1024 < MEMORY => Err(format!("{kib} KiB of memory are too few")),
        _ => Ok(()),
    }
}

fn raise_descriptor_limit() -> Result<(), String> {
    let mut limit = descriptor_limit();
    limit.rlim_cur = limit.rlim_cur.max(DESCRIPTORS);
    limit.rlim_max = limit.rlim_max.max(DESCRIPTORS);
    set_descriptor_limit(limit).map_err(|error| format!("{DESCRIPTORS} descriptors: {error}"))
}
