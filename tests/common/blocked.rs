//! Threads that are known to block: the tests poll /proc for that instead of sleeping.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::libc;

#[cfg(target_os = "linux")]
use super::thread_ids;
use super::{eventually, this_thread, ThreadId};
#[cfg(not(target_os = "linux"))]
use super::{sleeps, waits_for_a_child};

/// A thread that waits for a process.
pub(crate) struct Waiter<'scope, T> {
    pub(crate) tid: ThreadId,
    thread: ScopedJoinHandle<'scope, T>,
}

impl<'scope, T: Send + 'scope> Waiter<'scope, T> {
    /// Starts the thread and returns when it blocks in `waitid`, `wait4` or `poll`.
    pub(crate) fn start(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
    ) -> Self {
        Self::blocked(scope, wait, waits_for_a_child)
    }

    /// Starts the thread and returns when it sleeps, in whatever system call.
    pub(crate) fn asleep(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
    ) -> Self {
        Self::blocked(scope, wait, sleeps)
    }

    /// Also returns when the thread has already finished, and after a while, because a wait that spins
    /// never blocks. Then the test judges the result.
    fn blocked(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
        is_blocked: fn(ThreadId) -> bool,
    ) -> Self {
        let waiter = Self::spawn(scope, wait);
        let start = Instant::now();
        let timeout = Duration::from_secs(10);
        while !waiter.is_finished() && !is_blocked(waiter.tid) && start.elapsed() < timeout {
            thread::yield_now();
        }
        waiter
    }

    /// Starts the thread and returns at once.
    pub(crate) fn spawn(
        scope: &'scope Scope<'scope, '_>,
        wait: impl FnOnce() -> T + Send + 'scope,
    ) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = scope.spawn(move || {
            sender.send(this_thread()).expect("the receiver exists");
            wait()
        });
        let tid = receiver.recv().expect("the thread sends its ID");
        Self { tid, thread }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Returns the result of the wait.
    pub(crate) fn join(self) -> T {
        self.thread
            .join()
            .expect("the waiting thread does not panic")
    }
}

/// Calls `wait` in another thread, and `then` when that thread sleeps, in whatever system call.
pub(crate) fn while_asleep<T: Send>(wait: impl FnOnce() -> T + Send, then: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let waiter = Waiter::asleep(scope, wait);
        then();
        waiter.join()
    })
}

/// Returns whether a thread of this process sleeps in a system call that waits for a child, or for a
/// descriptor; or in any, if the system hides which one.
#[cfg(target_os = "linux")]
fn waits_for_a_child(tid: libc::pid_t) -> bool {
    match system_call(tid) {
        Ok(number) => number.is_some_and(|number| WAITS.contains(&number)),
        Err(_) => sleeps(tid),
    }
}

#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    )
))]
const WAITS: [libc::c_long; 3] = [libc::SYS_waitid, libc::SYS_wait4, libc::SYS_ppoll];
/// The older targets have `poll`, too.
#[cfg(all(
    target_os = "linux",
    not(any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    ))
))]
const WAITS: [libc::c_long; 4] = [
    libc::SYS_waitid,
    libc::SYS_wait4,
    libc::SYS_ppoll,
    libc::SYS_poll,
];

/// Not in `futex`: that is a lock, such as one of the allocator, which another thread has for a moment.
/// It may be over when the number is read, and then there is none.
#[cfg(target_os = "linux")]
fn sleeps(tid: libc::pid_t) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.contains(") S ") && !matches!(system_call(tid), Ok(None | Some(libc::SYS_futex)))
}

/// Waits until all threads of the library sleep.
///
/// A thread that starts or ends holds a lock of std for a moment. In a process that is forked just then, no
/// thread can start, or end.
#[cfg(target_os = "linux")]
pub(crate) fn await_library_threads() {
    eventually("the threads of the library sleep", || {
        library_threads().all(sleeps)
    });
}

#[cfg(target_os = "linux")]
pub(crate) fn library_threads() -> impl Iterator<Item = libc::pid_t> {
    let is_of_the_library = |tid: &libc::pid_t| {
        let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
        name.is_ok_and(|name| name == "pidwait\n")
    };
    thread_ids().into_iter().filter(is_of_the_library)
}

#[cfg(target_os = "linux")]
pub(crate) fn is_in_nanosleep(tid: libc::pid_t) -> bool {
    const CLOCK_NANOSLEEP_TIME64: libc::c_long = 407; // Of 32-bit systems.
    let calls = [
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        CLOCK_NANOSLEEP_TIME64,
    ];
    let call = system_call(tid).ok().flatten();
    call.is_some_and(|call| calls.contains(&call))
}

/// Returns the number of the system call in which a thread of this process sleeps, or `None` if it runs. An
/// error if the system hides it.
#[cfg(target_os = "linux")]
fn system_call(tid: libc::pid_t) -> io::Result<Option<libc::c_long>> {
    // Either "running", or the number of the system call, its arguments and two addresses.
    let call = fs::read_to_string(format!("/proc/self/task/{tid}/syscall"))?;
    Ok(call.split(' ').next().and_then(|word| word.parse().ok()))
}
