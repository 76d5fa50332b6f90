// Tests: tests/it/fork.rs

//! A value for each process: a forked process does not share that of its parent.

use once_cell::race::OnceBox;

use crate::sys;

/// A static value that each process makes anew when it first uses it.
///
/// In a forked process a thread of the parent does not exist, and a lock that it held at the moment of the
/// fork stays locked. So the forked process gets a value of its own. No lock guards the values themselves.
pub(crate) struct PerProcess<T> {
    first: OnceBox<Node<T>>,
}

struct Node<T> {
    /// The number of forks does not count a raw `clone`, and a PID can be an ancestor's.
    process: (u32, u32),
    value: T,
    /// That of a process that was forked from this one.
    next: OnceBox<Node<T>>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: OnceBox::new(),
        }
    }

    pub(crate) fn get(&self) -> &T {
        let process = (sys::fork_number(), std::process::id());
        let mut slot = &self.first;
        loop {
            let node = slot.get_or_init(|| {
                Box::new(Node {
                    process,
                    value: T::default(),
                    next: OnceBox::new(),
                })
            });
            if node.process == process {
                return &node.value;
            }
            slot = &node.next;
        }
    }
}
