// Tests: tests/it/reactor/

//! What differs between the runtimes.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};
use std::time::Instant;

/// A descriptor that can be registered. It stays open until it is dropped.
pub trait Descriptor: AsFd + AsRawFd + fmt::Debug + Send + Sync + Unpin {}

impl<F: AsFd + AsRawFd + fmt::Debug + Send + Sync + Unpin> Descriptor for F {}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// A runtime, as the futures use it. Public, because `Reactor` names it; the module is private, so
/// other crates cannot implement it.
pub trait Driver: Copy + fmt::Debug + Send + Sync + Unpin + 'static {
    /// A descriptor that is registered with the reactor until this is dropped.
    type Source<F: Descriptor>: fmt::Debug + Send + Sync + Unpin;

    type Sleep: Future<Output = ()> + Send;

    /// Checks that the calling thread can register descriptors and sleep. `Unsupported`: it is not in a
    /// runtime. Panics if the runtime is one that lacks a part.
    fn check() -> io::Result<()>;

    /// EEXIST: the descriptor is registered already. EPERM: it cannot be waited for, because it is a
    /// regular file, for example; it is always ready.
    fn register<F: Descriptor>(fd: F, direction: Direction) -> io::Result<Self::Source<F>>;

    fn get<F: Descriptor>(source: &Self::Source<F>) -> &F;

    /// `None`: it does not end.
    fn sleep_until(deadline: Option<Instant>) -> Self::Sleep;

    /// Wakes the task so that other tasks and the reactor have a turn first.
    fn yield_now(context: &mut Context<'_>);

    /// Waits until `attempt` has a result. It is called at once, and then each time the descriptor has
    /// become readable. Any number of tasks can wait at the same time.
    ///
    /// A descriptor can be readable although the attempt finds nothing, and stay so: a tracer holds the
    /// zombie. The future does not spin then.
    fn attempt<F: Descriptor, T: Send>(
        source: &Self::Source<F>,
        attempt: impl FnMut() -> io::Result<Option<T>> + Send,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Whether the descriptor has become ready since the last call. Only one task may wait in each
    /// direction.
    ///
    /// The event is consumed. So the caller first asks, and then reads or writes until that would block. In
    /// the other order, what comes after the last read would be lost with the event.
    fn poll_event<F: Descriptor>(
        source: &Self::Source<F>,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A runtime's pipe that is made from a pipe of std.
pub trait FromPipe<P>: Sized {
    fn from_pipe(pipe: P) -> io::Result<Self>;
}
