//! Two thousand live processes in one set, and the memory that the set uses for them.

#![allow(unsafe_code)] // A global allocator and the descriptor limit.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;

use nix::libc::{self, EAGAIN, SIGKILL};
use pidwait::{Backend, PidHandle, WaitSet};

use common::{backends, descriptor_limit, set_descriptor_limit, skip};

const MANY: usize = 2_000;
/// The kernel memory of these processes, about 150 KiB each, and of their watcher threads.
const MEMORY: u64 = 512 << 20;
/// Enough for both backends (one or two descriptors a process), with some to spare.
const DESCRIPTORS: libc::rlim_t = 2 * MANY as libc::rlim_t + 100;
/// Upper bound for the bytes that a set uses per process.
const MAX_BYTES: usize = 100;

/// Counts the bytes that the calling thread has allocated and not freed.
struct Counting;

thread_local! {
    static IN_USE: Cell<usize> = const { Cell::new(0) };
}

fn count(freed: usize, allocated: usize) {
    // Fails in a thread whose thread-locals are already destroyed.
    let _ =
        IN_USE.try_with(|bytes| bytes.set(bytes.get().wrapping_sub(freed).wrapping_add(allocated)));
}

// SAFETY: forwards every call to the system allocator. Counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller upholds the requirements.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller upholds the requirements.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_set_of_two_thousand_processes_stays_small_and_reports_every_exit() {
    if let Err(why) = raise_descriptor_limit().and_then(|()| enough_memory()) {
        return skip(&why);
    }
    for backend in backends() {
        let Some(children) = spawn(backend) else {
            return;
        };
        let before = IN_USE.get();
        let mut set = WaitSet::new().unwrap();
        // `by_ref` keeps the list's memory allocated until after the measurement.
        let mut children = children.into_iter();
        for (child, count) in children.by_ref().zip(1..) {
            set.insert(child, ()).unwrap();
            let each = IN_USE.get().wrapping_sub(before) / count;
            let small = count < MANY / 4 || (1..MAX_BYTES).contains(&each);
            assert!(small, "{each} bytes per process at {count} processes");
        }
        drop(children);
        assert_every_exit_is_reported(set);
    }
}

#[cfg(target_os = "linux")]
mod non_children {
    use std::fs;
    use std::time::Duration;

    use nix::libc::SIGKILL;
    use pidwait::{Backend, PidHandle, WaitSet};

    use crate::common::isolated::enter_with_each_backend;
    use crate::common::{
        assert_process_uses_at_most, eventually, fork, kill, pause, reap_externally, skip,
        thread_count,
    };
    use crate::raise_descriptor_limit;

    /// By PID one thread checks all of them, in at most a twentieth of the time of one CPU. With pidfds there is
    /// none.
    #[test]
    fn a_thousand_idle_non_children_cost_one_thread_and_little_time() {
        if !enter_with_each_backend(
            "non_children::a_thousand_idle_non_children_cost_one_thread_and_little_time",
        ) {
            return;
        }
        if let Err(why) = raise_descriptor_limit() {
            return skip(&why);
        }
        const COUNT: usize = 1_000;
        let parent = fork(|| {
            for _ in 0..COUNT {
                fork(pause);
            }
            pause();
        });
        let children = format!("/proc/{parent}/task/{parent}/children");
        let pids = || -> Vec<u32> {
            let text = fs::read_to_string(&children).unwrap();
            text.split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect()
        };
        eventually("all run", || pids().len() == COUNT);
        let before = thread_count();
        let mut set = WaitSet::new().unwrap();
        for pid in pids() {
            set.insert(PidHandle::open(pid).unwrap(), pid).unwrap();
        }
        let by_pid = pidwait::support().unwrap().backend() == Backend::Waitpid;
        assert_eq!(thread_count(), before + usize::from(by_pid));
        assert_process_uses_at_most(20, || {
            let second = Duration::from_secs(1);
            assert!(set.wait_timeout(second).unwrap().is_none());
        });
        kill(parent, SIGKILL); // They die with it.
        reap_externally(parent);
        let mut reported = 0;
        while set.wait().unwrap().is_some() {
            reported += 1;
        }
        assert_eq!(reported, COUNT);
        eventually("the thread ends", || thread_count() == before);
    }
}

/// Kills the processes in an order that is neither the insertion order nor its reverse: the first half
/// one by one, the rest at once.
fn assert_every_exit_is_reported(mut set: WaitSet<()>) {
    let keys: Vec<_> = set.iter().map(|(key, _, ())| key).collect();
    let order = (0..MANY).map(|index| keys[index * 7 % MANY]);
    let mut left: HashMap<_, _> = set
        .iter()
        .map(|(key, handle, ())| (key, handle.id()))
        .collect();
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

/// Opens handles whose watchers are already started, so that the set allocates only its own data.
/// Returns `None` and skips if the system does not allow so many processes.
fn spawn(backend: Backend) -> Option<Vec<PidHandle>> {
    match try_spawn(backend) {
        Ok(children) => Some(children),
        Err(error) if error.raw_os_error() == Some(EAGAIN) => {
            skip(&format!(
                "cannot start {MANY} processes and threads on {backend}: {error}"
            ));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn try_spawn(backend: Backend) -> io::Result<Vec<PidHandle>> {
    let pids = (0..MANY).map(|_| start());
    let pids = pids.collect::<io::Result<Vec<_>>>()?;
    let one = |pid| PidHandle::open_with(pid, backend);
    let children = pids.into_iter().map(one).collect::<io::Result<Vec<_>>>()?;
    // After all forks: a process with many threads forks slowly.
    for child in &children {
        child.exit_fd()?;
    }
    Ok(children)
}

/// Starts a process that runs until it is killed. An exec of each would take most of the test's time.
#[cfg(target_os = "linux")]
fn start() -> io::Result<u32> {
    common::try_fork(common::pause)
}

#[cfg(not(target_os = "linux"))]
fn start() -> io::Result<u32> {
    Ok(common::sleep().spawn()?.id())
}

fn enough_memory() -> Result<(), String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match kib {
        Some(kib) if kib * 1024 < MEMORY => Err(format!("{kib} KiB of memory are not enough")),
        _ => Ok(()),
    }
}

fn raise_descriptor_limit() -> Result<(), String> {
    let mut limit = descriptor_limit();
    limit.rlim_cur = limit.rlim_cur.max(DESCRIPTORS);
    limit.rlim_max = limit.rlim_max.max(DESCRIPTORS);
    set_descriptor_limit(limit).map_err(|error| format!("{DESCRIPTORS} descriptors: {error}"))
}
