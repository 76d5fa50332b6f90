// Tests: tests/it/clone.rs, tests/it/release.rs, tests/it/race.rs, src/sys/model/tests.rs

//! `PidHandle`, and the state that its clones share.

mod exit_fd;
mod exited;
#[cfg(test)]
mod fork;
mod held;
mod identity;
mod leader;
mod open;
mod reap;
mod signal;
mod spawn;
mod wait;

pub use exit_fd::ExitFd;
pub(crate) use held::Held;
pub use identity::{Identity, ParseIdentityError};
pub(crate) use spawn::default_backend;
pub use spawn::Spawned;

use std::fmt;
use std::io;
use std::process::ExitStatus;

use nix::errno::Errno;

use crate::backend::{Process, Seen};
use crate::exit::ResourceUsage;
use crate::support::Backend;
use crate::sys::{self, Arc};

/// A handle to a process, to wait for it and to signal it.
///
/// It refers to the same process even if the PID is reused. [`Backend::Waitpid`] has limits there.
///
/// Every method takes `&self`, so one thread can wait while others signal. Clones share one state,
/// one descriptor and one status. A handle is **live** until it becomes one of these:
///
/// - **done**: a wait through this handle has reaped the process, or there was none when the handle
///   was opened. Every wait and signal fails with ECHILD without a system call, even if the PID was
///   reused. [`is_echild`](crate::is_echild) tests for that error.
/// - **released**, by [`release`](Self::release): every wait and signal fails with EINVAL.
///
/// Both states are final. Dropping a handle neither kills nor reaps; dropping the last clone closes
/// the descriptor. Wrap the handle in [`KillOnDrop`](crate::KillOnDrop) to kill and reap on drop.
///
/// Only its parent can wait for the status of a process. For other processes,
/// [`wait_exited`](Self::wait_exited) waits for the exit, and [`exit_status`](Self::exit_status)
/// returns how the process ended, if the kernel keeps a record.
///
/// # Examples
///
/// ```
/// use pidwait::PidHandle;
/// use std::process::Command;
///
/// let child = PidHandle::spawn(Command::new("sh").args(["-c", "exit 3"]))?.handle;
/// assert_eq!(child.wait()?.code(), Some(3));
/// assert!(pidwait::is_echild(&child.wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// With [`Backend::Pidfd`] a handle has one descriptor, which is closed as soon as the handle is
/// done. With [`Backend::Waitpid`] it has none until the first timed wait or
/// [`exit_fd`](Self::exit_fd), and it is also done once a call finds that other code reaped the
/// child.
#[derive(Clone)]
pub struct PidHandle {
    shared: Arc<Shared>,
    pid: u32,
    backend: Backend,
}

/// The process and what is known of it. Calls that do not block run under its lock; calls that
/// block take a lease of the process instead, so that it stays open.
type Shared = sys::Leased<Process, State>;
type Guard<'a> = sys::Guard<'a, Process, State>;
type Lease<'a> = sys::Lease<&'a Shared, Process, State>;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct State {
    phase: Phase,
    /// The status that a wait through this handle got.
    status: Option<ExitStatus>,
    /// Blocking calls that reap (by pidfd) or name the PID (by PID), in all threads.
    in_flight: u32,
    seen: Seen,
    /// The child is left to the background reaper. That lets it go only when it is reaped.
    is_held: bool,
    /// The fork number when the handle was made. In a forked process, calls in flight of the
    /// parent's threads do not exist.
    forks: u32,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Phase {
    Live,
    /// Reaped when the handle was made from a `Child`, and no wait has returned the status yet.
    ReapedEarly(Option<Box<ResourceUsage>>),
    Done,
    Released,
}

impl State {
    fn new(phase: Phase, seen: Seen) -> Self {
        Self {
            phase,
            status: None,
            in_flight: 0,
            seen,
            is_held: false,
            forks: sys::fork_number(),
        }
    }

    fn is_forked(&self) -> bool {
        sys::is_forked_since(self.forks)
    }

    fn is_reaped_early(&self) -> bool {
        matches!(self.phase, Phase::ReapedEarly(_))
    }

    /// Fails if the handle can no longer act: ECHILD if it is done, EINVAL if it is released.
    fn check_live(&self) -> nix::Result<()> {
        match self.phase {
            Phase::Live | Phase::ReapedEarly(_) => Ok(()),
            Phase::Done => Err(Errno::ECHILD),
            Phase::Released => Err(Errno::EINVAL),
        }
    }
}

impl PidHandle {
    pub(crate) fn live(pid: u32, process: Process, seen: Seen) -> Self {
        let state = State::new(Phase::Live, seen);
        Self::new(pid, process.backend(), Some(process), state)
    }

    /// A handle to a process that is gone.
    pub(crate) fn done(pid: u32, backend: Backend) -> Self {
        let state = State::new(Phase::Done, Seen::default());
        Self::new(pid, backend, None, state)
    }

    /// A handle to a zombie that had to be reaped to make the handle. Callers still see a zombie.
    pub(crate) fn reaped_early(
        pid: u32,
        (process, mut seen): (Process, Seen),
        status: ExitStatus,
        usage: Option<ResourceUsage>,
    ) -> Self {
        seen.set_gone();
        let mut state = State::new(Phase::ReapedEarly(usage.map(Box::new)), seen);
        state.status = Some(status);
        Self::new(pid, process.backend(), Some(process), state)
    }

    fn new(pid: u32, backend: Backend, process: Option<Process>, state: State) -> Self {
        Self {
            shared: Arc::new(Shared::new(process, state)),
            pid,
            backend,
        }
    }

    /// Returns the PID of the process. It stays the same, but once the process was reaped, the PID
    /// may belong to another process.
    ///
    /// # Examples
    ///
    /// ```
    /// let own = pidwait::PidHandle::open(std::process::id())?;
    /// assert_eq!(own.id(), std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Returns the backend that this handle uses.
    ///
    /// # Examples
    ///
    /// ```
    /// let own = pidwait::PidHandle::open(std::process::id())?;
    /// assert_eq!(own.backend(), pidwait::support()?.backend());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Releases the process: closes the descriptor, and makes every later wait and signal fail with
    /// EINVAL, for all clones.
    ///
    /// It never reaps, kills or blocks, and may be called again. A wait that blocks in another
    /// thread continues and returns its status. On a handle that is done it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// let own = PidHandle::open(std::process::id())?;
    /// own.release()?;
    /// assert_eq!(own.signal(0).unwrap_err().raw_os_error(), Some(22)); // EINVAL
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It always returns `Ok`.
    pub fn release(&self) -> io::Result<()> {
        let mut guard = self.shared.lock();
        if guard.check_live().is_ok() {
            if guard.is_reaped_early() {
                guard.status = None; // No wait has got it.
            }
            guard.phase = Phase::Released;
            guard.close();
        }
        Ok(())
    }

    /// A lease of the process, for a call that blocks.
    fn lease<'a>(&'a self, guard: &mut Guard<'a>) -> nix::Result<Lease<'a>> {
        guard.lease(&*self.shared).ok_or(Errno::EINVAL)
    }
}

/// Runs a call that does not block, under the lock.
fn with_process<T>(
    mut guard: Guard<'_>,
    call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
) -> io::Result<T> {
    guard.check_live()?;
    let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
    let result = call(process, &mut state.seen);
    settle(guard, None);
    Ok(result?)
}

/// Stores a status. Makes the handle done if the process was reaped, unless it is released: both
/// phases are final.
fn settle(mut guard: Guard<'_>, status: Option<ExitStatus>) {
    if status.is_some() {
        guard.status = status;
        guard.seen.set_gone();
    }
    let is_done = status.is_some() || guard.seen.is_done() && !guard.is_reaped_early();
    if is_done && guard.check_live().is_ok() {
        guard.phase = Phase::Done;
        guard.close();
    }
}

impl fmt::Debug for PidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = self.shared.lock();
        let phase = match guard.phase {
            Phase::Live | Phase::ReapedEarly(_) => "live",
            Phase::Done => "done",
            Phase::Released => "released",
        };
        let status = guard.status;
        // Not printed under the lock: where the text goes may block, or use the handle.
        drop(guard);
        f.debug_struct("PidHandle")
            .field("pid", &self.pid)
            .field("backend", &self.backend)
            .field("state", &format_args!("{phase}"))
            .field("status", &status)
            .finish()
    }
}

impl AsRef<PidHandle> for PidHandle {
    fn as_ref(&self) -> &PidHandle {
        self
    }
}
