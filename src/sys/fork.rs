//! Counting forks: a forked process must know which handles are its parent's.

use std::os::unix::process::parent_id;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use nix::libc;

#[cfg(test)]
use shuttle::sync::atomic::AtomicU32;
#[cfg(not(test))]
use std::sync::atomic::AtomicU32;

static FORKS: Forks = Forks::new();

/// The number of forks from the first process that called this function to this process. A handle that
/// was made under another number belongs to a parent.
///
/// A fork by a raw system call is counted only in [`is_forked_since`].
pub(crate) fn fork_number() -> u32 {
    static IS_HOOKED: AtomicBool = AtomicBool::new(false);
    // Not a `Once`: if another thread was inside it at a fork, the forked process would wait for that
    // thread forever. If two threads register the handler, each fork is counted twice, which does not
    // matter. No thread has a number before the handler is registered.
    if !IS_HOOKED.load(Acquire) {
        FORKS.own(std::process::id());
        // SAFETY: the handler makes two system calls and changes atomics, which is safe in a forked
        // process. If there is no memory for it, `is_forked_since` still counts.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(count_fork)) };
        IS_HOOKED.store(true, Release);
    }
    FORKS.number()
}

/// Whether this process was forked since `fork_number` returned `number`, even by a raw system call.
pub(crate) fn is_forked_since(number: u32) -> bool {
    let now = fork_number();
    now != number || {
        let process = std::process::id();
        if !FORKS.is_owned(now, process) {
            FORKS.count(now, process, is_first_of_namespace());
        }
        FORKS.number() != number
    }
}

/// Whether this process was forked since `fork_number` returned that number, into another PID
/// namespace: PIDs from before the fork mean other processes here.
pub(crate) fn is_in_another_pid_namespace(number: u32) -> bool {
    is_forked_since(number) && FORKS.nested_since.load(Acquire) > number
}

extern "C" fn count_fork() {
    FORKS.count(FORKS.number(), std::process::id(), is_first_of_namespace());
}

/// The parent is of an outer namespace. Elsewhere only the system's first process has none, and that is
/// not forked.
fn is_first_of_namespace() -> bool {
    parent_id() == 0
}

struct Forks {
    number: AtomicU32,
    /// The process that has a number: one slot for even numbers and one for odd ones.
    owners: [AtomicU32; 2],
    /// The number of the last fork into another PID namespace.
    nested_since: AtomicU32,
}

impl Forks {
    const fn new() -> Self {
        Self {
            number: AtomicU32::new(0),
            owners: [AtomicU32::new(0), AtomicU32::new(0)],
            nested_since: AtomicU32::new(0),
        }
    }

    fn number(&self) -> u32 {
        self.number.load(Acquire)
    }

    fn owner(&self, number: u32) -> &AtomicU32 {
        let [even, odd] = &self.owners;
        if number % 2 == 0 {
            even
        } else {
            odd
        }
    }

    fn is_owned(&self, number: u32, process: u32) -> bool {
        self.owner(number).load(Acquire) == process
    }

    /// Takes the current number for this process.
    fn own(&self, process: u32) {
        self.owner(self.number()).store(process, Release);
    }

    /// Counts the fork to `process`, in which `number` was just loaded and has another owner.
    ///
    /// Threads A and B of that process may be here at once. The owner is stored before the number is,
    /// and where the owner of the old number is not overwritten. So if B loads the number that A has
    /// stored, B finds the right owner and does not count again. If B has loaded the old number, its
    /// exchange fails.
    fn count(&self, number: u32, process: u32, is_nested: bool) {
        let next = number.wrapping_add(1);
        self.owner(next).store(process, Release);
        if is_nested {
            self.nested_since.store(next, Release);
        }
        let _ = self.number.compare_exchange(number, next, AcqRel, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use shuttle::sync::Arc;
    use shuttle::thread;

    use super::*;

    /// Threads of a process that was made by a raw `clone`. A handle that one of them makes after its
    /// first check must not become a parent's handle by the check of another.
    #[test]
    fn fork_is_counted_once_by_several_threads() {
        shuttle::check_random(
            || {
                const PARENT: u32 = 100;
                const CHILD: u32 = 101;
                let forks = Arc::new(Forks::new());
                forks.own(PARENT);
                let check = |forks: &Forks| {
                    let number = forks.number();
                    if !forks.is_owned(number, CHILD) {
                        forks.count(number, CHILD, false);
                    }
                    forks.number()
                };
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        let forks = Arc::clone(&forks);
                        thread::spawn(move || {
                            assert_eq!(check(&forks), 1);
                            assert_eq!(check(&forks), 1);
                        })
                    })
                    .collect();
                threads.into_iter().for_each(|it| it.join().unwrap());
            },
            1_000,
        );
    }
}
