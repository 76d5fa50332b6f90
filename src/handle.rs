// Tests: tests/it/clone.rs, tests/it/release.rs, tests/it/race.rs, tests/contract/, src/sys/model/tests.rs

//! `PidHandle`, and the state that its clones share.
//!
//! Calls that do not block run under the lock of the state. A call that blocks does so without the lock,
//! on a clone of the process, and so keeps its descriptor open.

mod exited;
#[cfg(test)]
mod fork;
mod open;
mod signal;
mod spawn;
mod subject;
mod wait;
mod watch;

pub(crate) use open::check_pid;
pub(crate) use spawn::default_backend;
pub use spawn::Spawned;
pub(crate) use subject::HandleSubject;
pub use watch::ExitFd;

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::sync::PoisonError;

use nix::errno::Errno;

use crate::backend::{Process, Seen};
use crate::exit::ResourceUsage;
use crate::process_group::Kept;
use crate::support::Backend;
use crate::sys::{Arc, Mutex, MutexGuard, Weak};

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

type Shared = Mutex<State>;
type Guard<'a> = MutexGuard<'a, State>;

/// What is known of a process.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct State {
    phase: Phase,
    /// The status, once a wait through this handle has got it.
    status: Option<ExitStatus>,
    /// While there is one, the zombie is kept, so that the number of the group is not reused.
    group: Weak<Kept>,
    /// Threads that block in a peek by PID. While there are any, the zombie is kept, so that the PID is
    /// not reused under them.
    peeks: u32,
    /// The process whose status was taken by a peek, because its zombie was kept, and which is still to
    /// be reaped. The handle keeps this state until then, even if the caller drops all others.
    owed: Option<(Process, PidHandle)>,
    seen: Seen,
    /// The child is left to the background reaper. That lets it go only when it is reaped.
    is_held: bool,
}

#[derive(Clone, Debug)]
enum Phase {
    Live(Process),
    /// Reaped when the handle was made from a `Child`, and no wait has returned the status yet.
    ReapedEarly(Process, Option<Box<ResourceUsage>>),
    Done,
    Released,
}

impl State {
    fn new(phase: Phase, seen: Seen) -> Self {
        Self {
            phase,
            status: None,
            group: Weak::new(),
            peeks: 0,
            owed: None,
            seen,
            is_held: false,
        }
    }

    /// The process of a handle that can still act. ECHILD: the handle is done. EINVAL: it is released.
    #[inline]
    fn parts(&mut self) -> nix::Result<(&Process, &mut Seen)> {
        match &self.phase {
            Phase::Live(process) | Phase::ReapedEarly(process, _) => Ok((process, &mut self.seen)),
            Phase::Done => Err(Errno::ECHILD),
            Phase::Released => Err(Errno::EINVAL),
        }
    }

    fn check_live(&self) -> nix::Result<()> {
        match self.phase {
            Phase::Live(_) | Phase::ReapedEarly(..) => Ok(()),
            Phase::Done => Err(Errno::ECHILD),
            Phase::Released => Err(Errno::EINVAL),
        }
    }

    fn is_reaped_early(&self) -> bool {
        matches!(self.phase, Phase::ReapedEarly(..))
    }

    fn has_group(&self) -> bool {
        self.group.strong_count() > 0
    }

    #[inline]
    fn keeps_zombie(&self) -> bool {
        self.peeks > 0 || self.has_group()
    }

    /// Reaps the zombie whose status was taken, once nothing keeps it. False: it is still to be reaped,
    /// and nothing is left that does it.
    fn pay(&mut self) -> bool {
        if self.keeps_zombie() {
            return true; // The last of those pays.
        }
        let Some((owed, _)) = &self.owed else {
            return true;
        };
        let is_paid = match owed.try_reap(&mut self.seen, None) {
            Ok(event) => event.exited().is_some(),
            Err(errno) => errno == Errno::ECHILD,
        };
        if is_paid {
            self.seen.set_gone();
            self.owed = None;
        }
        is_paid
    }
}

/// Stores a status that a wait has taken, and makes the handle done, unless it is released: both phases
/// are final.
#[inline]
fn store(mut guard: Guard<'_>, status: ExitStatus) {
    guard.status = Some(status);
    if guard.owed.is_none() {
        guard.seen.set_gone();
    }
    finish(guard);
}

/// Makes the handle done if a call by PID has found that other code reaped the child.
fn settle(guard: Guard<'_>) {
    if guard.seen.is_done() && !guard.is_reaped_early() {
        finish(guard);
    }
}

#[inline]
fn finish(mut guard: Guard<'_>) {
    if guard.check_live().is_ok() {
        let before = std::mem::replace(&mut guard.phase, Phase::Done);
        drop(guard);
        drop(before); // Without the lock: it closes the descriptor.
    }
}

impl PidHandle {
    pub(crate) fn live(pid: u32, process: Process, seen: Seen) -> Self {
        let backend = process.backend();
        Self::new(pid, backend, State::new(Phase::Live(process), seen))
    }

    /// A handle to a process that is gone.
    pub(crate) fn done(pid: u32, backend: Backend) -> Self {
        Self::new(pid, backend, State::new(Phase::Done, Seen::default()))
    }

    /// A handle to a zombie that had to be reaped to make the handle. Callers still see a zombie.
    pub(crate) fn reaped_early(
        pid: u32,
        (process, mut seen): (Process, Seen),
        status: ExitStatus,
        usage: Option<ResourceUsage>,
    ) -> Self {
        seen.set_gone();
        let backend = process.backend();
        let phase = Phase::ReapedEarly(process, usage.map(Box::new));
        let mut state = State::new(phase, seen);
        state.status = Some(status);
        Self::new(pid, backend, state)
    }

    fn new(pid: u32, backend: Backend, state: State) -> Self {
        Self {
            shared: Arc::new(Mutex::new(state)),
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
        let mut guard = self.lock();
        if guard.check_live().is_ok() {
            if guard.is_reaped_early() {
                guard.status = None; // No wait has got it.
            }
            let before = std::mem::replace(&mut guard.phase, Phase::Released);
            drop(guard);
            drop(before); // Without the lock: it closes the descriptor.
        }
        Ok(())
    }

    #[inline]
    fn lock(&self) -> Guard<'_> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// ECHILD: the handle is done. EINVAL: it is released.
    pub(crate) fn check_live(&self) -> io::Result<()> {
        Ok(self.lock().check_live()?)
    }

    /// The same, and ECHILD if the process was reaped when the handle was made.
    pub(crate) fn check_unreaped(&self) -> io::Result<()> {
        let guard = self.lock();
        guard.check_live()?;
        if guard.is_reaped_early() {
            return Err(Errno::ECHILD.into());
        }
        Ok(())
    }

    /// Keeps the zombie of a leader from now on. `check`: whether it is a child, or why it leads no group.
    pub(crate) fn keep_leader(
        &self,
        check: impl FnOnce(&Process, &mut Seen) -> io::Result<bool>,
    ) -> io::Result<Arc<Kept>> {
        let mut guard = self.lock();
        match guard.phase {
            Phase::Released => return Err(Errno::EINVAL.into()),
            Phase::ReapedEarly(..) => return Err(Errno::ECHILD.into()),
            Phase::Live(_) | Phase::Done => {}
        }
        if let Some(kept) = guard.group.upgrade() {
            return Ok(kept);
        }
        let (process, seen) = guard.parts()?;
        match check(process, seen) {
            Ok(is_child) => {
                let kept = Arc::new(Kept::new(self.clone(), process.clone(), is_child));
                if is_child {
                    guard.group = Arc::downgrade(&kept);
                }
                Ok(kept)
            }
            Err(error) => {
                settle(guard);
                Err(error)
            }
        }
    }

    /// The last group of this leader was dropped. Reaps a zombie whose status was given out.
    pub(crate) fn stop_keeping(&self) {
        let mut guard = self.lock();
        let is_paid = guard.pay();
        settle(guard);
        if !is_paid {
            self.reap_owed_in_background();
        }
    }

    /// The process, for the background reaper, which reaps it even if the handle is released. `None`: it
    /// has it already, or the handle is done or released.
    pub(crate) fn hold(&self) -> Option<Process> {
        let mut guard = self.lock();
        let process = guard.parts().ok()?.0.clone();
        let was_held = std::mem::replace(&mut guard.is_held, true);
        (!was_held).then_some(process)
    }

    /// Reaps a zombie whose status was given out. False: it is still to be reaped.
    pub(crate) fn pay(&self) -> bool {
        self.lock().pay()
    }

    /// Runs a call that does not block, under the lock.
    pub(crate) fn with_process<T>(
        &self,
        call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
    ) -> nix::Result<T> {
        with_process(self.lock(), call)
    }
}

/// Runs a call that does not block.
fn with_process<T>(
    mut guard: Guard<'_>,
    call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
) -> nix::Result<T> {
    let (process, seen) = guard.parts()?;
    let result = call(process, seen);
    settle(guard);
    result
}

impl fmt::Debug for PidHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = self.lock();
        let phase = match guard.phase {
            Phase::Live(_) | Phase::ReapedEarly(..) => "live",
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
