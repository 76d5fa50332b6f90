// Tests: tests/it/auto_traits.rs

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
//! [`PidHandle`] is a handle to any process, child or not. All its methods take `&self`, and clones
//! share one state, so one thread can wait while others signal:
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
//! | choose the signals that end it, and how long each one gets | [`Escalation`] |
//! | capture output, with timeouts and limits, blocking or async | [`Capture`] |
//! | wait until a server prints that it is ready | [`Capture::run_until`] |
//! | wait for the first of many processes | [`WaitSet`] |
//! | end a child, or its group, at the end of a scope | [`KillOnDrop`] |
//! | let a child run on without leaving a zombie | [`PidHandle::reap_in_background`] |
//! | reap orphans, as PID 1 or as a subreaper | [`reap_orphans`] |
//! | remember a process in a file | [`Identity`] |
//! | wait in an event loop | [`PidHandle::exit_fd`], [`WaitSet::ready_fd`] |
//! | wait in an async function | `AsyncPidHandle`, with its aliases `TokioPidHandle` and `AsyncIoPidHandle` |
//! | capture output in an async function | `AsyncCapture`, from `Capture::on` |
//!
//! The last two need the feature `tokio` or `async-io`.
//!
//! # The problem
//!
//! Once a child is reaped its PID can be reused, so a late `kill` can hit an unrelated process, and
//! a late `waitpid` can take the status of another child. std's `Child` prevents this only if nothing
//! else reaps the child: once other code has, `kill` hits whatever process has the PID. It also
//! needs `&mut self` and has no timeouts. Of the crates that add timeouts, some install a SIGCHLD
//! handler for the whole program, some start a thread for each wait, and some lose statuses: see the
//! [comparison].
//!
//! A pidfd is a file descriptor that refers to one process, and never to another. It can be polled
//! for the exit, and signals can be sent through it.
//!
//! # Backends
//!
//! The first call that needs a backend probes whether the kernel has what the pidfd backend uses:
//! `pidfd_open`, `waitid(P_PIDFD)` and `pidfd_send_signal`. Linux 5.4 and later has them, unless a
//! sandbox forbids one. [`support`](fn@support) returns the result and the reason, and
//! [`PidHandle::backend`] returns what a handle uses. The environment variable `PIDWAIT_BACKEND`, set
//! to `pidfd` or `waitpid`, overrides the probe, except in a program that runs with more privileges than its
//! caller. The result is kept: a seccomp filter that forbids one of these calls later makes the calls of this
//! crate fail with its errno.
//!
//! Both backends have the same calls and, with few exceptions, the same results. The sections
//! *Platform notes* name the exceptions. With the waitpid backend:
//!
//! - A child that is reaped only through one handle and its clones is as safe as with a pidfd. If
//!   other code may reap it, its PID can be reused between the handle's check and its signal.
//! - A process that is not a child is distinguished from a later process with the same PID by its
//!   start time, in clock ticks (10 ms). Without `/proc`, and on systems other than Linux, only its
//!   bare PID is checked.
//! - A handle needs a watcher thread for its timed waits. Timed waits of [`ChildExt`] check
//!   repeatedly instead.
//!
//! [`ChildExt`] uses std's `Child`, which knows the process only by its PID, on both backends: its own
//! platform notes say what that means.
//!
//! # Errors
//!
//! All calls fail with a [`std::io::Error`], which [`CaptureError`] and [`InsertError`] contain. The errno
//! is in [`raw_os_error`](std::io::Error::raw_os_error):
//!
//! - **ECHILD**: there is no status to wait for, or no process to signal. The process was reaped, by
//!   any code, or never existed; or, for a wait, it is not a child of this process. [`is_echild`]
//!   tests for it.
//! - **EINVAL**: the handle is released, or there is no such signal.
//! - **EPERM**: no permission to signal the process. A security module can say EACCES instead.
//! - **EMFILE, ENFILE, ENOMEM, EAGAIN**: no descriptor, memory or thread is available. A later call
//!   may succeed.
//!
//! Calls that can fail with another errno name it. These kinds carry a text instead of an errno:
//!
//! - [`InvalidInput`](std::io::ErrorKind::InvalidInput) names the input. A process that leads no
//!   process group, where a call needs its group, is such an input.
//! - [`Unsupported`](std::io::ErrorKind::Unsupported) names what the system lacks.
//! - [`TimedOut`](std::io::ErrorKind::TimedOut): the process or the group outlived the
//!   [`kill_timeout`](Escalation::kill_timeout), or, from [`Captured::into_output`], a run was stopped by
//!   a timeout. A timed wait whose time has passed returns `None` or `false`.
//! - [`Other`](std::io::ErrorKind::Other), only from `into_output`: the run was cancelled, or the child
//!   runs on.
//!
//! No call fails with EINTR. No call panics, except that tokio panics if its runtime was built
//! without I/O or time, and async-io if it cannot start: see `AsyncPidHandle::new`.
//!
//! # Signals and zombies
//!
//! The crate never installs a signal handler. If the program ignores SIGCHLD, the kernel throws the
//! statuses of its children away: waits fail with ECHILD. On Linux 6.15 and later, with pidfds,
//! [`PidHandle::exit_status`] still returns how a child ended.
//!
//! A process that has exited and was not reaped is a *zombie*. It keeps its PID, and signals to it
//! succeed without effect. Dropping a handle, or std's `Child`, does not reap. A [`ProcessGroup`] keeps
//! the zombie of its leader. A table at [`KillOnDrop`] shows what a drop, a release and a reap in the
//! background leave behind.
//!
//! # Threads
//!
//! All handles are `Send` and `Sync`. The crate starts threads in these cases:
//!
//! - One thread for the whole program reaps and ends processes in the background. It starts with the
//!   first [`reap_in_background`](PidHandle::reap_in_background) or
//!   [`terminate_in_background`](PidHandle::terminate_in_background), the first drop of a [`KillOnDrop`]
//!   whose child does not exit in time, or the first drop of one in async code.
//! - Where `/proc/loadavg` does not tell the last PID, a wait for a process group starts a thread that
//!   ends at once: see [`ProcessGroup`].
//! - With the waitpid backend a handle gets a watcher thread at its first timed wait or [`ExitFd`]. It has
//!   a small stack and all signals blocked, and ends when the process exits. One thread watches all
//!   non-children, and ends when no [`ExitFd`] of one is left.
//!
//! A thread that has called `unshare(CLONE_FILES)` has descriptors of its own. It must not use the handles
//! of other threads: the same number can be another descriptor there.
//!
//! # Forks
//!
//! In a process that was forked and has not exec'ed, the handles are copies, and their processes
//! are non-children: waits fail with ECHILD, and signals reach the process. [`KillOnDrop`] does
//! nothing there. All descriptors are close-on-exec. In a forked process that is in another PID
//! namespace, signals fail with EINVAL, and so do other calls by PID.
//!
//! If another thread held a handle's lock at the moment of the fork, calls on that handle block forever in
//! the forked process. If another thread was just starting or ending, it may have held a lock of std; then
//! every thread that the forked process starts blocks forever. [Threads](#threads) names the calls that need one.
//!
//! A process that was made by the bare `clone` system call, and not by libc's `fork`, must not use a
//! [`WaitSet`] of its parent, because both share its registrations. With the waitpid backend it must
//! not mix its parent's handles with its own.
//!
//! # Async
//!
//! The features `tokio` and `async-io` add futures. The runtime is a parameter, a `Reactor`: `Tokio` or
//! `AsyncIo`. `AsyncPidHandle` waits for processes and ends them, `AsyncProcessGroup` does so for groups,
//! `AsyncSpawned` has the runtime's own pipes, and `AsyncCapture` captures output. The futures do not
//! block; those of a group read `/proc` from time to time. A wait that is dropped loses nothing, so the
//! runtime's own timeouts work:
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use pidwait::TokioPidHandle;
//! use std::process::Command;
//! use std::time::Duration;
//!
//! let child = TokioPidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
//! let timeout = Duration::from_millis(10);
//! let status = match tokio::time::timeout(timeout, child.wait()).await {
//!     Ok(status) => status?,
//!     Err(_) => child.terminate(Duration::from_secs(5)).await?,
//! };
//! assert!(!status.success());
//! # Ok(())
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
//! suspended. It does count the time during which this process is stopped or frozen: a timed wait whose
//! time has passed meanwhile ends when the process continues. In async calls the timers are the runtime's.
//!
//! # Tracing
//!
//! Only an exit ends a wait. A stop, a trace stop or a continue does not. For a process that you
//! trace yourself, use `waitpid`: a wait of this crate may consume the report of a trace stop.
//!
//! A zombie that another process traces cannot be reaped until the tracer releases it. A wait notices the
//! release up to 50 ms late, with pidfds too, because no event follows it.
//!
//! # Guides
//!
//! - [What each call returns in each case][contract]
//! - [Coming from another crate][migrating], with recipes for signals and groups
//! - [Comparison with other crates][comparison]
//! - [Before you depend on it][depending]: releases, dependencies, tests
//!
//! [pidfd]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
//! [contract]: crate::guide::contract
//! [migrating]: crate::guide::migrating
//! [comparison]: crate::guide::comparison
//! [depending]: crate::guide::depending

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

mod backend;
mod background;
mod capture;
mod checks;
mod child;
mod ending;
mod engine;
mod errno;
mod escalation;
mod exit;
#[cfg(all(doc, not(doctest)))]
pub mod guide;
mod handle;
mod identity;
mod kill_on_drop;
mod orphans;
mod per_process;
mod process_group;
#[cfg(any(feature = "tokio", feature = "async-io"))]
mod reactor;
mod set;
mod support;
mod sys;

#[cfg(any(feature = "tokio", feature = "async-io"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "tokio", feature = "async-io"))))]
pub use capture::AsyncCapture;
pub use capture::{Capture, CaptureError, Captured, Pipe, Piped, StoppedBy};
pub use child::ChildExt;
pub use errno::is_echild;
pub use escalation::Escalation;
pub use exit::ResourceUsage;
pub use handle::{ExitFd, PidHandle, Spawned};
pub use identity::{Identity, ParseIdentityError};
pub use kill_on_drop::{Guarded, KillOnDrop};
pub use orphans::reap_orphans;
pub use process_group::ProcessGroup;
#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
pub use reactor::{AsyncIo, AsyncIoPidHandle, AsyncIoSpawned};
#[cfg(any(feature = "tokio", feature = "async-io"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "tokio", feature = "async-io"))))]
pub use reactor::{AsyncPidHandle, AsyncProcessGroup, AsyncSpawned, Reactor};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use reactor::{Tokio, TokioPidHandle, TokioSpawned};
pub use set::{Exited, InsertError, IntoIter, Iter, IterMut, WaitKey, WaitSet};
pub use support::{support, Backend, Missing, Support};

/// The programs in the README run as doctests.
#[cfg(all(doctest, feature = "tokio", feature = "async-io"))]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
}
