// Tests: tests/it/reactor.rs

//! Waits as futures: `AsyncPidHandle`, `AsyncProcessGroup` and `AsyncSpawned`, on any [`Reactor`].
//!
//! The futures are the same on every runtime. What differs is behind [`Driver`], in one file each.
//!
//! A future never blocks and never spins: after each check that finds nothing it waits for the reactor.

#[cfg(feature = "async-io")]
mod async_io;
mod driver;
mod exit;
mod handle;
mod process_group;
mod spawned;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::os::fd::AsFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use driver::FromPipe;
pub(crate) use driver::{Direction, Driver};
pub(crate) use exit::Exit;

#[cfg(feature = "async-io")]
pub use self::async_io::{AsyncIo, AsyncIoPidHandle, AsyncIoSpawned};
#[cfg(feature = "tokio")]
pub use self::tokio::{Tokio, TokioPidHandle, TokioSpawned};
pub use handle::AsyncPidHandle;
pub use process_group::AsyncProcessGroup;
pub use spawned::AsyncSpawned;

/// A reactor that futures wait on: `Tokio`, behind the feature `tokio`, or `AsyncIo`, behind `async-io`.
///
/// [`AsyncPidHandle`], [`AsyncProcessGroup`] and [`AsyncSpawned`] take it as a parameter. All futures are
/// `Send` for every reactor, so code can be generic over it. The trait is sealed.
///
/// # Examples
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use pidwait::{AsyncPidHandle, Reactor, Tokio};
/// use std::io;
/// use std::process::Command;
///
/// async fn run<R: Reactor>(command: &mut Command) -> io::Result<bool> {
///     let child = AsyncPidHandle::<R>::spawn(command)?;
///     Ok(child.handle.wait().await?.success())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> io::Result<()> {
/// assert!(run::<Tokio>(&mut Command::new("true")).await?);
/// # Ok(())
/// # }
/// ```
pub trait Reactor: Driver {
    /// The runtime's pipe to a child's standard input.
    type Stdin: FromPipe<ChildStdin> + AsFd + fmt::Debug + Send + Sync + Unpin;
    /// The runtime's pipe from a child's standard output.
    type Stdout: FromPipe<ChildStdout> + AsFd + fmt::Debug + Send + Sync + Unpin;
    /// The runtime's pipe from a child's standard error.
    type Stderr: FromPipe<ChildStderr> + AsFd + fmt::Debug + Send + Sync + Unpin;
}
