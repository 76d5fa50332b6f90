//! `PidHandle`, and the state that its clones share.

mod exit_fd;
mod exited;
#[cfg(test)]
mod fork;
mod identity;
mod signal;
mod spawn;
mod wait;

pub use exit_fd::ExitFd;
pub use identity::{Identity, ParseIdentityError};
pub(crate) use spawn::default_backend;
pub use spawn::Spawned;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::backend::{Process, Seen};
use crate::exit::ResourceUsage;
use crate::support::{self, Backend};
use crate::sys::{self, Arc};

/// A process to wait for and to signal, which never comes to mean another one.
///
/// Every method takes `&self`, so that one thread can wait while others signal. Clones are one
/// handle: they share its state, its descriptor and its status. A handle is *live* until one of its
/// waits has the status or it is released:
///
/// - **done**: a wait through this handle has reaped the process, or there was none when the handle
///   was opened. Every wait and signal fails with ECHILD without a system call, even if the PID was
///   reused. [`is_echild`](crate::is_echild) tests for that error.
/// - **released**, by [`release`](Self::release): every wait and signal fails with EINVAL.
///
/// Both states are final. Dropping a handle neither kills nor reaps; the last clone closes the
/// descriptor. [`KillOnDrop`](crate::KillOnDrop) is a handle that kills and reaps.
///
/// Only the parent can wait for a status. For other processes, [`wait_exited`](Self::wait_exited)
/// waits for the exit, and [`exit_status`](Self::exit_status) returns how the process ended if the
/// kernel can tell.
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
/// With [`Backend::Pidfd`] a handle has one descriptor, closed as soon as the handle is done. With
/// [`Backend::Waitpid`] it has none until something has to be polled.
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
    /// When the handle was made: other threads' calls in flight do not exist in a forked process.
    forks: u32,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Phase {
    Live,
    /// Reaped when the handle was made of a `Child`, and no caller has asked for the status yet.
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
    /// Opens any process, by the backend that [`support`](crate::support) returns.
    ///
    /// It needs no permission. If there is no such process, the handle is *done* from the start and
    /// returns ECHILD for good, even if the PID is given to another process later.
    ///
    /// The caller's PID may have been reused already: only an unreaped child keeps its PID. For a
    /// child use [`spawn`](Self::spawn), or make the handle from the
    /// [`Child`](std::process::Child) itself: [`Spawned::from`](Spawned#impl-From<Child>-for-Spawned).
    ///
    /// Beside a living [`Child`](std::process::Child), reap through one of the two only. To share a
    /// `Child`, call `PidHandle::open(child.id())`, [`wait_exited`](Self::wait_exited) in any number
    /// of threads, and then the `Child`'s own `wait`.
    ///
    /// # Examples
    ///
    /// ```
    /// let missing = pidwait::PidHandle::open(i32::MAX as u32)?;
    /// assert!(pidwait::is_echild(&missing.wait().unwrap_err()));
    /// assert!(pidwait::PidHandle::open(0).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): 0, or above `i32::MAX`; no process has such
    ///   a PID.
    /// - EINVAL: the ID of a thread that is not a process.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor is available.
    /// - Those of [`support`](crate::support).
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`]: [pidfd_open(2)]. [`Backend::Waitpid`] cannot tell the ID of a thread from
    /// that of a process. It tells a non-child from a later process with the same PID only on Linux,
    /// by the start time in `/proc`, and only if `/proc` is readable and of this PID namespace.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    #[doc(alias = "pidfd_open")]
    pub fn open(pid: u32) -> io::Result<Self> {
        check_pid(pid)?;
        Self::open_by(pid, support::support()?.backend())
    }

    /// Opens any process by the given backend, whatever `PIDWAIT_BACKEND` says.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Backend, PidHandle};
    /// use std::process::Command;
    ///
    /// let child = Command::new("true").spawn()?;
    /// let handle = PidHandle::open_with(child.id(), Backend::Waitpid)?;
    /// assert!(handle.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`Unsupported`](io::ErrorKind::Unsupported) if
    /// [`Backend::Pidfd`] is requested and the system has no pidfds.
    #[doc(alias = "pidfd_open")]
    pub fn open_with(pid: u32, backend: Backend) -> io::Result<Self> {
        check_pid(pid)?;
        if backend == Backend::Pidfd {
            support::require_pidfd()?;
        }
        Self::open_by(pid, backend)
    }

    /// Takes over a pidfd that the caller opened: always [`Backend::Pidfd`].
    ///
    /// A non-blocking pidfd (`PIDFD_NONBLOCK`) works as any other.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::ErrorKind;
    ///
    /// let file = File::open("/dev/null")?;
    /// let error = pidwait::PidHandle::from_pidfd(file.into()).unwrap_err();
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The descriptor is closed in each case:
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): it is no pidfd, or one of a thread
    ///   (`PIDFD_THREAD`), or of a process that has no PID in this PID namespace.
    /// - ECHILD: the process was reaped already.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the PID has to be read from `/proc`, and that
    ///   is missing or of another PID namespace.
    ///
    /// # Platform notes
    ///
    /// The PID comes from `PIDFD_GET_INFO` (Linux 6.13), otherwise from `/proc/thread-self/fdinfo`.
    pub fn from_pidfd(fd: OwnedFd) -> io::Result<Self> {
        let (process, pid) = Process::from_pidfd(fd)?;
        Ok(Self::live(pid.unsigned_abs(), process, Seen::default()))
    }

    /// Returns a duplicate of the pidfd, for other APIs: [pidfd_getfd(2)], [setns(2)], or SCM_RIGHTS.
    ///
    /// It belongs to the caller, is close-on-exec, and stays open when the handle is done, released
    /// or dropped. To poll for the exit, [`exit_fd`](Self::exit_fd) works on both backends.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{Backend, PidHandle};
    ///
    /// let own = PidHandle::open(std::process::id())?;
    /// if own.backend() == Backend::Pidfd {
    ///     let pidfd = own.try_clone_pidfd()?;
    ///     assert_eq!(PidHandle::from_pidfd(pidfd)?.id(), own.id());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done. EINVAL: it is released.
    /// - EMFILE: no descriptor is available.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): [`Backend::Waitpid`], which has no pidfd.
    ///
    /// [pidfd_getfd(2)]: https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html
    /// [setns(2)]: https://man7.org/linux/man-pages/man2/setns.2.html
    #[doc(alias = "dup")]
    pub fn try_clone_pidfd(&self) -> io::Result<OwnedFd> {
        let mut guard = self.shared.lock();
        guard.check_live()?;
        let (process, _) = guard.parts().ok_or(Errno::EINVAL)?;
        match process.pidfd() {
            Some(pidfd) => Ok(sys::duplicate(pidfd)?),
            None => {
                let text = "this handle has no pidfd: it uses the waitpid backend";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        }
    }

    fn open_by(pid: u32, backend: Backend) -> io::Result<Self> {
        match Process::open(check_pid(pid)?, backend) {
            Ok((process, seen)) => Ok(Self::live(pid, process, seen)),
            Err(Errno::ESRCH) => Ok(Self::done(pid, backend)),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn live(pid: u32, process: Process, seen: Seen) -> Self {
        let state = State::new(Phase::Live, seen);
        Self::new(pid, process.backend(), Some(process), state)
    }

    /// A handle of a process that is gone.
    pub(crate) fn done(pid: u32, backend: Backend) -> Self {
        let state = State::new(Phase::Done, Seen::default());
        Self::new(pid, backend, None, state)
    }

    /// A handle of a zombie that had to be reaped to make it: to callers it still is one.
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

    /// The PID that it was opened with. Once the process was reaped, the PID may be reused.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Which backend this handle uses.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Lets go of the process: frees the descriptor, and makes every later wait and signal fail
    /// with EINVAL, for all clones.
    ///
    /// It never reaps, kills or blocks, and may be called again. A wait that blocks in another
    /// thread continues and gets its status. On a handle that is done it changes nothing.
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
    /// None.
    pub fn release(&self) -> io::Result<()> {
        let mut guard = self.shared.lock();
        if guard.check_live().is_ok() {
            guard.phase = Phase::Released;
            guard.close();
        }
        Ok(())
    }

    /// Runs a call that does not block, under the lock.
    fn with_process<T>(
        &self,
        mut guard: Guard<'_>,
        call: impl FnOnce(&Process, &mut Seen) -> nix::Result<T>,
    ) -> io::Result<T> {
        guard.check_live()?;
        let (process, state) = guard.parts().ok_or(Errno::EINVAL)?;
        let result = call(process, &mut state.seen);
        settle(guard, None);
        Ok(result?)
    }

    /// A lease of the process, for a call that blocks.
    fn lease<'a>(&'a self, guard: &mut Guard<'a>) -> nix::Result<Lease<'a>> {
        guard.lease(&*self.shared).ok_or(Errno::EINVAL)
    }
}

/// Notes a status, or that the process is gone: the handle is done then, unless it is released.
/// The first final phase stays.
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
        let mut debug = f.debug_struct("PidHandle");
        debug
            .field("pid", &self.pid)
            .field("backend", &self.backend);
        let phase = match guard.phase {
            Phase::Live | Phase::ReapedEarly(_) => "live",
            Phase::Done => "done",
            Phase::Released => "released",
        };
        debug.field("state", &format_args!("{phase}"));
        debug.field("status", &guard.status).finish()
    }
}

impl AsRef<PidHandle> for PidHandle {
    fn as_ref(&self) -> &PidHandle {
        self
    }
}

/// The PID as system calls take it. They would take 0 and negative numbers for whole groups.
fn check_pid(pid: u32) -> io::Result<pid_t> {
    match pid_t::try_from(pid) {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let text = format!("PID {pid} is out of range: it must be 1 to {}", pid_t::MAX);
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// Returns whether an error is ECHILD: there is no status to wait for, now or later.
///
/// The one errno for: reaped by an earlier wait or by other code; status thrown away because SIGCHLD
/// is ignored; not a child of this process, even if it runs; no such process.
///
/// # Examples
///
/// ```
/// # use pidwait::PidHandle;
/// let missing = PidHandle::open(i32::MAX as u32)?;
/// assert!(pidwait::is_echild(&missing.wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_echild(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ECHILD as i32)
}
