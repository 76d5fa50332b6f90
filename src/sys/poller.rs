//! Waits for the first of many descriptors to become readable.
//!
//! [`Poller`] has the same functions over `epoll` and over `poll`:
//!
//! - `new`; `with_waker` for one that [`wake`](Poller::wake) can wake.
//! - `add` registers a descriptor with a key. EEXIST: it is registered. As long as it is readable, each
//!   `wait` hands out the key.
//! - `quieten`: the caller could do nothing about a descriptor that is readable, such as the pidfd of a
//!   zombie that a tracer holds. It is handed out once more, and then only after a change (`epoll`) or
//!   at intervals (`poll`).
//! - `remove` takes out a descriptor that was added. Its key may still be among the `Events`.
//! - `wait` blocks until there are keys to hand out, and stores them in `Events`. False once the
//!   deadline has passed, or if it was woken.
//! - `ready_fd` duplicates a descriptor that is readable while `wait` has keys to hand out.
//!
//! One thread waits; others may add and remove meanwhile. A forked process shares the registrations
//! with its parent, and must make a poller of its own: `is_forked`.

// `--cfg pidwait_poll` is for tests of the other poller on Linux.
#[cfg(all(any(target_os = "linux", target_os = "android"), not(pidwait_poll)))]
mod epoll;
#[cfg(any(not(any(target_os = "linux", target_os = "android")), pidwait_poll))]
mod poll;

#[cfg(all(any(target_os = "linux", target_os = "android"), not(pidwait_poll)))]
pub(crate) use epoll::{Events, Poller};
#[cfg(any(not(any(target_os = "linux", target_os = "android")), pidwait_poll))]
pub(crate) use poll::{Events, Poller};
