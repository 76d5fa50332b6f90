//! Wait for processes and signal them on Unix, with timeouts and without PID races.
//!
//! The crate uses [pidfds][pidfd] where the kernel has them and falls back to `waitid` and `kill`.
//! [`ChildExt`] adds timeouts and signals to [`std::process::Child`]:
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
//! [`PidHandle`] is a handle of any process, child or not. All its methods take `&self`, and its
//! clones are one handle, so that one thread can wait while others signal:
//!
//! ```
//! use pidwait::PidHandle;
//! use std::process::Command;
//! use std::thread;
//!
//! let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
//! let waiter = thread::spawn({
//!     let child = child.clone();
//!     move || child.wait()
//! });
//! child.kill()?;
//! let status = waiter.join().expect("the waiter does not panic")?;
//! assert!(!status.success());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | task | item |
//! |---|---|
//! | wait for a std `Child` with a timeout, signal it, terminate it | [`ChildExt`] |
//! | spawn a child and use it from several threads | [`PidHandle::spawn`] |
//! | wait for or signal a process that is not a child | [`PidHandle::open`] |
//! | end a command with everything that it has started | [`ProcessGroup`] |
//! | capture output, with a timeout and limits | [`Capture`] |
//! | wait for the first of many processes | [`WaitSet`] |
//! | end a child at the end of a scope | [`KillOnDrop`] |
//! | let a child run on without leaving a zombie | [`PidHandle::reap_in_background`] |
//! | remember a process in a file | [`Identity`] |
//! | poll for an exit in an event loop | [`PidHandle::exit_fd`] |
//! | wait in an async function | `TokioPidHandle` and `AsyncIoPidHandle`, behind features |
//!
//! # The problem
//!
//! Once a child is reaped its PID can be reused, so a late `kill` can hit an unrelated process, and
//! a late `waitpid` can take the status of another child. std's `Child` keeps these apart only for
//! itself: it needs `&mut self`, has no timeout, and sends its `kill` to whatever process has the
//! PID after other code reaped the child. Other crates install a SIGCHLD handler for the whole
//! program, start a thread for each wait, or lose statuses.
//!
//! A pidfd is a file descriptor of a process. It never refers to another process, it can be polled,
//! and signals can be sent through it.
//!
//! # Backends
//!
//! The first call probes, once, whether the kernel has what the pidfd backend needs: `pidfd_open`,
//! `waitid(P_PIDFD)` and `pidfd_send_signal`. That is Linux 5.4 or later, unless a sandbox forbids
//! one of them. [`support`] returns the result and the reason, and [`PidHandle::backend`] what a
//! handle uses. `PIDWAIT_BACKEND=waitpid` or `=pidfd` in the environment overrides it.
//!
//! Everything works on both backends. What differs is under *Platform notes*. By PID:
//!
//! - A child is as safe as by pidfd if it is reaped through one handle and its clones only. If
//!   other code may reap it, its PID can be reused between the handle's check and its signal.
//! - A process that is not a child is distinguished from a later process with its PID by its start time, to
//!   the clock tick (10 ms). Where `/proc` cannot tell that, or on systems other than Linux, its
//!   bare PID has to do.
//! - Timed waits need a watcher thread for each handle, or look repeatedly.
//!
//! # Errors
//!
//! All errors are [`std::io::Error`] with the errno in
//! [`raw_os_error`](std::io::Error::raw_os_error):
//!
//! - **ECHILD**: there is no status to wait for. The process was reaped, by any code, or is not a
//!   child of this process, or its status was thrown away because SIGCHLD is ignored. [`is_echild`]
//!   tests for it.
//! - **EINVAL**: the handle is released, or there is no such signal.
//! - **EPERM**: no permission to signal the process.
//! - [`InvalidInput`](std::io::ErrorKind::InvalidInput), with a text that names the input.
//! - [`Unsupported`](std::io::ErrorKind::Unsupported), with a text that names what the system
//!   lacks.
//!
//! No call fails with EINTR. No call panics, except where a runtime's own registration does: see
//! `Panics` of the async handles.
//!
//! # Signals and zombies
//!
//! The crate never installs a signal handler. If the program ignores SIGCHLD, the kernel reaps its
//! children at once: their waits fail with ECHILD, and [`PidHandle::exit_status`] may still know
//! how they ended.
//!
//! A process that has exited and was not reaped is a *zombie*. It keeps its PID, and signals to it
//! succeed without effect. Dropping a handle, or std's `Child`, does not reap. [`KillOnDrop`] has a
//! table of what drop, release and the others leave behind.
//!
//! # Threads
//!
//! All handles are `Send` and `Sync`. With pidfds no call starts a thread, except for
//! [`PidHandle::reap_in_background`]: one thread for the whole program. By PID a handle gets a
//! watcher thread, with a small stack and all signals blocked, once it waits with a timeout or is
//! asked for an [`ExitFd`]. The thread ends with the process.
//!
//! # Forks
//!
//! In a process that was forked and has not exec'ed, the handles are copies, and their processes
//! are non-children: waits fail with ECHILD, and signals reach the process. [`KillOnDrop`] does
//! nothing there. Descriptors are close-on-exec. A handle whose lock another thread held at the
//! moment of the fork cannot be used in the forked process.
//!
//! A process made by the bare `clone` system call, past libc's `fork`, must not use a [`WaitSet`] of
//! its parent: they share its registrations. By PID, it must not mix handles of its parent with its
//! own.
//!
//! # Async
//!
//! The features `tokio` and `async-io` have handles whose waits are futures. A future that is
//! dropped loses nothing, so the runtime's own timeouts work:
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
//! let timeout = Duration::from_millis(10);
//! let status = match tokio::time::timeout(timeout, child.wait()).await {
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
//! For other event loops, [`PidHandle::exit_fd`] returns a descriptor to poll.
//!
//! # Timeouts
//!
//! Timeouts use the monotonic clock. On Linux it does not count the time during which the system is
//! suspended.
//!
//! # Tracing
//!
//! Only an exit ends a wait: no stop, no trace stop, no continue. For a process that you trace
//! yourself use `waitpid`: a wait of this crate may take the report of a trace stop away from the
//! tracer.
//!
//! # More
//!
//! In the [repository]: [what each call returns in each case][contract], guides for
//! [coming from another crate][migrating] with recipes for signals and groups, and a
//! [comparison] with other crates.
//!
//! [pidfd]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
//! [repository]: https://github.com/pidwait/pidwait
//! [contract]: https://github.com/pidwait/pidwait/blob/main/docs/contract.md
//! [migrating]: https://github.com/pidwait/pidwait/blob/main/docs/migrating.md
//! [comparison]: https://github.com/pidwait/pidwait/blob/main/docs/comparison.md

#![cfg_attr(docsrs, feature(doc_cfg))]
// The model's locks are large.
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
mod background;
mod capture;
mod child;
mod exit;
mod group;
mod handle;
mod kill_on_drop;
mod process_group;
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
pub use capture::{Capture, CaptureError, Captured, Pipe, Piped};
pub use child::ChildExt;
pub use exit::ResourceUsage;
pub use handle::{is_echild, ExitFd, Identity, ParseIdentityError, PidHandle, Spawned};
pub use kill_on_drop::KillOnDrop;
pub use process_group::ProcessGroup;
pub use set::{Exited, InsertError, IntoIter, Iter, IterMut, WaitKey, WaitSet};
pub use support::{support, Backend, Missing, Support};

/// The programs in the README run as doctests.
#[cfg(all(doctest, feature = "tokio", feature = "async-io"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
}
