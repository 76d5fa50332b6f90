//! Wait for processes and signal them on Unix: by [pidfd] where there are any, and with the same
//! answers where there are none.
//!
//! # The problem
//!
//! A process is named by a number, and the number is given to another process as soon as the first
//! one was *reaped*: waited for. So between the wait and the `kill`, a stranger dies; a wait that
//! comes too late takes the status of another child; and std's [`Child`], which keeps such things
//! apart, wants `&mut self` for it and has no time limit. What is used instead sets a SIGCHLD
//! handler for the whole program, starts a thread for each wait, or loses statuses.
//!
//! A *pidfd* is a descriptor of a process. It never comes to mean another one, it can be polled,
//! and signals go through it. This crate does all its work by pidfd where the kernel has them, and
//! by pid with the same care where it does not.
//!
//! # The first program
//!
//! [`ChildExt`] adds to std's [`Child`] what it lacks, and never makes it believe what is not so:
//!
//! ```
//! use pidwait::ChildExt;
//! use std::process::Command;
//! use std::time::Duration;
//!
//! let mut child = Command::new("sleep").arg("60").spawn()?;
//! match child.pidfd_wait_timeout(Duration::from_millis(20))? {
//!     Some(status) => println!("{status}"),
//!     None => println!("{}", child.pidfd_terminate(Duration::from_secs(5))?),
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`PidHandle`] stands for any process, child or not. All its methods take `&self`, so that one
//! thread may wait while others signal; it lives in an `Arc`, in a scope, or in a [`WaitSet`]:
//!
//! ```
//! use pidwait::PidHandle;
//! use std::process::Command;
//! use std::thread;
//!
//! let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
//! let status = thread::scope(|scope| {
//!     let waiter = scope.spawn(|| child.wait());
//!     child.kill()?;
//!     waiter.join().expect("the waiter does not panic")
//! })?;
//! assert!(!status.success());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | wait for a child, signal it, end it, in place of std's methods | [`ChildExt`] |
//! | do so from several threads, or for a process that is no child | [`PidHandle`] |
//! | wait for the first of many | [`WaitSet`] |
//! | capture a child's output with a time limit | [`ChildExt::pidfd_output_timeout`] |
//! | not let a child outlive a scope | [`KillOnDrop`] |
//! | poll for an exit in an event loop of one's own | [`PidHandle::exit_fd`] |
//! | wait in an async function | `TokioPidHandle`, `AsyncIoPidHandle`: features `tokio`, `async-io` |
//!
//! # Which backend one gets
//!
//! At first use the kernel is asked, once, whether it has all that the pidfd backend needs:
//! `pidfd_open`, `waitid(P_PIDFD)` and `pidfd_send_signal`, so Linux 5.4 or later, and no sandbox
//! that forbids one of them. [`support`] tells the answer and the reason, and
//! [`PidHandle::backend`] what a handle has. `PIDWAIT_BACKEND=waitpid` or `=pidfd` in the
//! environment overrides it.
//!
//! Everything works on both backends. What is different is said under *Platform notes*, and comes
//! down to this: by pid, a process that is no child cannot be guarded against the reuse of its pid,
//! nor one's own child against other code that reaps it; and waits with a time limit need a thread,
//! or look again and again.
//!
//! # Errors
//!
//! All are [`std::io::Error`], with the errno in
//! [`raw_os_error`](std::io::Error::raw_os_error). **ECHILD** is the one answer to everything that
//! was reaped already, by anyone, or is no child of yours; [`is_echild`] knows it. **EINVAL**
//! is that of a released handle, and of a signal that does not exist; **EPERM** is the kernel's own.
//! Wrong input is [`InvalidInput`](std::io::ErrorKind::InvalidInput) with a text that names it, and
//! what a system lacks is [`Unsupported`](std::io::ErrorKind::Unsupported) with a text that says
//! what. EINTR is never seen. Nothing panics.
//!
//! # Signals and zombies
//!
//! The crate never sets a SIGCHLD handler. Where the program ignores SIGCHLD, children reap
//! themselves: their waits are ECHILD, and [`PidHandle::exit_status`] may still know how they
//! ended. A process that has exited and was not waited for is a *zombie*: it keeps its pid, may be
//! signalled to no effect, and every look says that it has exited. Dropping a handle does not reap;
//! nor does dropping std's [`Child`].
//!
//! # Threads
//!
//! All handles are `Send` and `Sync`. On the pidfd backend no thread is ever started. On the other
//! one a handle gets a watcher thread, with a small stack and all signals blocked, once it waits
//! with a limit or is asked for an [`ExitFd`]; it ends with the process.
//!
//! # Forking
//!
//! A process that was forked without exec has its parent's handles, but not its parent's children:
//! waits there answer ECHILD. Descriptors are close-on-exec.
//!
//! # Async
//!
//! The feature `tokio` has `TokioPidHandle`, and the feature `async-io`, for smol and any other
//! executor, `AsyncIoPidHandle`: their waits and `terminate` are futures. A future that is dropped
//! loses nothing, so a timeout is the runtime's:
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # fn main() -> std::io::Result<()> {
//! use pidwait::{PidHandle, TokioPidHandle};
//! use std::process::Command;
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
//! let child = TokioPidHandle::new(&child)?;
//! let limit = Duration::from_millis(10);
//! let status = match tokio::time::timeout(limit, child.wait()).await {
//!     Ok(status) => status?,
//!     Err(_) => {
//!         child.handle().kill()?;
//!         child.wait().await?
//!     }
//! };
//! assert!(!status.success());
//! # Ok(())
//! # })
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! For any other event loop, [`PidHandle::exit_fd`] is a descriptor to poll.
//!
//! # Tracing
//!
//! A wait is for the exit, and no stop, trace stop or continue ends it. For a process that you trace
//! yourself use `waitpid`: a wait of this crate may take the report of a trace stop away from it.
//!
//! # Migrating
//!
//! `docs/migrating.md`, in the [repository] and in the package, has a before and an after for std,
//! wait-timeout, shared_child, process_control, subprocess, async-process, tokio, nix and Go's
//! `os.Process`.
//!
//! [pidfd]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
//! [`Child`]: std::process::Child
//! [repository]: https://github.com/pidwait/pidwait/blob/main/docs/migrating.md

#![cfg_attr(docsrs, feature(doc_cfg))]
// The locks of the model that `sys` is there are large.
#![cfg_attr(test, allow(clippy::result_large_err))]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(any(feature = "tokio", feature = "async-io"))]
mod async_wait;
mod backend;
mod child;
mod exit;
mod handle;
mod kill_on_drop;
mod output;
mod set;
mod support;
mod sys;
#[cfg(feature = "tokio")]
mod tokio;
mod wait;

#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
pub use crate::async_io::AsyncIoPidHandle;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use crate::tokio::TokioPidHandle;
pub use child::ChildExt;
pub use exit::ResourceUsage;
pub use handle::{is_echild, ExitFd, Identity, ParseIdentityError, PidHandle, Spawned};
pub use kill_on_drop::KillOnDrop;
pub use output::{Captured, TimedOut};
pub use set::{Exited, InsertError, IntoIter, Iter, IterMut, WaitKey, WaitSet};
pub use support::{support, Backend, Missing, Support};

/// The programs in the documents, which run as doctests.
#[cfg(all(doctest, feature = "tokio", feature = "async-io"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/migrating.md")]
    mod migrating {}
}
