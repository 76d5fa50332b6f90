//! `PidHandle`: the state machine, and who waits, signals and reaps through it.

mod exited;
mod signal;
mod wait;

pub(crate) use signal::terminate;

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::backend::{Backend, Limit, Process};
use crate::exit::ResourceUsage;
use crate::probe;
use crate::sys::{Mutex, MutexGuard};

/// A process, to wait for and to signal, that never comes to mean another one.
///
/// Every method takes `&self`, and a handle may be shared between threads. It is *live* until one
/// of its waits has the status, or it is released:
///
/// - **done**, once a wait of this handle has reaped the process, or where there was none when it
///   was opened: every wait and signal answers ECHILD, without asking the kernel, whoever has the
///   pid by then. [`is_already_reaped`](crate::is_already_reaped) tells that error.
/// - **released**, by [`release`](Self::release): every wait and signal answers EINVAL.
///
/// The first of the two stays. Dropping a handle closes its descriptor, and neither kills nor
/// reaps: see [`KillOnDrop`](crate::KillOnDrop) for a handle that does.
///
/// Only the parent can wait for a status. For other processes, [`wait_exited`](Self::wait_exited)
/// waits for the end, and [`exit_status`](Self::exit_status) says how it ended where the kernel
/// tells.
///
/// # Platform notes
///
/// With [`Backend::Pidfd`] the handle has one descriptor, closed at once when it is done. With
/// [`Backend::Waitpid`] it has none until something has to be polled.
///
/// ```
/// use pidwait::PidHandle;
/// use std::process::Command;
///
/// let child = PidHandle::from(Command::new("sh").args(["-c", "exit 3"]).spawn()?);
/// assert_eq!(child.wait()?.code(), Some(3));
/// assert!(pidwait::is_already_reaped(&child.wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct PidHandle {
    pid: u32,
    backend: Backend,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Live(Process),
    /// Reaped when the handle was made, through the `Child` that it came from; nobody has asked
    /// for the status yet.
    Kept(Box<Kept>),
    Done(Option<ExitStatus>),
    /// With the status that a wait may bring that was under way.
    Released(Option<ExitStatus>),
}

/// A zombie that had to be reaped before its handle was there: to callers it still is one.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) process: Process,
    pub(crate) status: ExitStatus,
    pub(crate) usage: Option<ResourceUsage>,
}

impl PidHandle {
    /// Opens the process `pid`, any process, by the backend that [`support`](crate::support) names.
    ///
    /// It needs no permission. Where there is no such process the handle is *done* from the
    /// start, and answers ECHILD for good, though the pid be given to another process later.
    ///
    /// A pid that one holds may have been reused already: only a child that nobody has reaped
    /// keeps its pid. Open a child's handle before anything can reap it, or make it of the
    /// [`Child`](std::process::Child) itself, with `PidHandle::from`.
    ///
    /// Beside a living [`Child`](std::process::Child), reap through one of the two only. The way
    /// to share a `Child` is `PidHandle::open(child.id())`, [`wait_exited`](Self::wait_exited) in
    /// as many threads as one likes, and then the `Child`'s own `wait`.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): 0, or above `i32::MAX`; no process has
    ///   such a pid.
    /// - EINVAL: the id of a thread that is not a process.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor could be had.
    /// - Those of [`support`](crate::support).
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`]: [pidfd_open(2)]. [`Backend::Waitpid`] cannot tell a thread's id from a
    /// process's, and can guard only children against the reuse of their pid.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    ///
    /// ```
    /// let nobody = pidwait::PidHandle::open(i32::MAX as u32)?;
    /// assert!(pidwait::is_already_reaped(&nobody.wait().unwrap_err()));
    /// assert!(pidwait::PidHandle::open(0).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(pid: u32) -> io::Result<Self> {
        check_pid(pid)?;
        Self::open_by(pid, probe::support()?.backend())
    }

    /// Opens the process `pid` by the backend asked for, whatever `PIDWAIT_BACKEND` says.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`Unsupported`](io::ErrorKind::Unsupported) where
    /// [`Backend::Pidfd`] is asked for and there are no pidfds.
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
    pub fn open_with(pid: u32, backend: Backend) -> io::Result<Self> {
        check_pid(pid)?;
        if backend == Backend::Pidfd {
            probe::require_pidfd()?;
        }
        Self::open_by(pid, backend)
    }

    /// Takes over a pidfd that somebody else opened: always [`Backend::Pidfd`].
    ///
    /// A non-blocking one (`PIDFD_NONBLOCK`) works as any other.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): no pidfd, or one of a thread
    ///   (`PIDFD_THREAD`), or of a process that this pid namespace has no pid for.
    /// - ECHILD: the process was reaped already.
    /// - Whatever keeps `/proc/self/fdinfo` from being read, where it is needed.
    ///
    /// In each case the descriptor is closed.
    ///
    /// # Platform notes
    ///
    /// The pid comes from `PIDFD_GET_INFO` (Linux 6.13), else from `/proc/self/fdinfo`.
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
    pub fn from_pidfd(fd: OwnedFd) -> io::Result<Self> {
        let (process, pid) = Process::from_pidfd(fd)?;
        Ok(Self::new(
            pid.unsigned_abs(),
            Backend::Pidfd,
            State::Live(process),
        ))
    }

    fn open_by(pid: u32, backend: Backend) -> io::Result<Self> {
        let state = match Process::open(check_pid(pid)?, backend) {
            Ok(process) => State::Live(process),
            Err(Errno::ESRCH) => State::Done(None),
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self::new(pid, backend, state))
    }

    fn new(pid: u32, backend: Backend, state: State) -> Self {
        let state = Mutex::new(state);
        Self {
            pid,
            backend,
            state,
        }
    }

    /// A handle of a child of this process, by whichever backend it was reached.
    pub(crate) fn of_child(pid: u32, process: Process) -> Self {
        Self::new(pid, process.backend(), State::Live(process))
    }

    /// A handle of a zombie that was reaped on the way.
    pub(crate) fn of_kept(pid: u32, kept: Kept) -> Self {
        Self::new(pid, kept.process.backend(), State::Kept(Box::new(kept)))
    }

    /// A handle of a child that was reaped before.
    pub(crate) fn of_reaped(pid: u32) -> Self {
        let backend = probe::support().map_or(Backend::Waitpid, |support| support.backend());
        Self::new(pid, backend, State::Done(None))
    }

    /// The pid that it was opened with. After the exit was reaped it may be somebody else's.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Which backend serves this handle.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Lets go of the process: frees the descriptor, and makes every later call answer EINVAL.
    ///
    /// It reaps nothing, kills nothing, never blocks, and may be called again. A wait under way
    /// goes on and gets its status. On a handle that is done it changes nothing.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// let me = PidHandle::open(std::process::id())?;
    /// me.release()?;
    /// assert_eq!(me.signal(0).unwrap_err().raw_os_error(), Some(22)); // EINVAL
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn release(&self) -> io::Result<()> {
        let mut state = self.lock();
        let released = match &*state {
            State::Live(_) => State::Released(None),
            State::Kept(kept) => State::Released(Some(kept.status)),
            State::Done(_) | State::Released(_) => return Ok(()),
        };
        let before = std::mem::replace(&mut *state, released);
        drop(state);
        drop(before); // Closes, if no call is under way: outside the lock.
        Ok(())
    }

    /// The one door of all waits: whatever reaps goes through here, and leaves its mark.
    pub(crate) fn reap(
        &self,
        limit: Limit,
        usage: Option<&mut ResourceUsage>,
    ) -> io::Result<Option<ExitStatus>> {
        let mut state = self.lock();
        let process = match &*state {
            State::Live(process) => process.clone(),
            State::Kept(kept) => {
                let status = kept.status;
                if let Some(wanted) = usage {
                    *wanted = kept.usage.ok_or_else(usage_is_lost)?;
                }
                *state = State::Done(Some(status));
                return Ok(Some(status));
            }
            State::Done(_) => return Err(Errno::ECHILD.into()),
            State::Released(_) => return Err(Errno::EINVAL.into()),
        };
        drop(state);
        let result = process.reap(limit, usage);
        match result {
            Ok(Some(status)) => self.finish(Some(status)),
            _ if is_gone(&process, &result) => self.finish(None),
            _ => {}
        }
        Ok(result?)
    }

    /// The door of all calls but waits that need a process: of a live handle, or of a kept zombie.
    /// None of them blocks, so they are made under the lock, which is less than to share the
    /// process.
    fn act<T>(
        &self,
        kept: impl FnOnce(&Kept) -> nix::Result<T>,
        live: impl FnOnce(&Process) -> nix::Result<T>,
    ) -> io::Result<T> {
        let state = self.lock();
        let (result, gone) = match &*state {
            State::Live(process) => {
                let result = live(process);
                let gone = is_gone(process, &result);
                (result, gone)
            }
            State::Kept(zombie) => (kept(zombie), false),
            State::Done(_) => return Err(Errno::ECHILD.into()),
            State::Released(_) => return Err(Errno::EINVAL.into()),
        };
        drop(state);
        if gone {
            self.finish(None);
        }
        Ok(result?)
    }

    /// The first final state stays; a status is noted even so.
    fn finish(&self, status: Option<ExitStatus>) {
        let mut state = self.lock();
        match &mut *state {
            State::Live(_) | State::Kept(_) => {}
            State::Done(known) | State::Released(known) => {
                *known = known.or(status);
                return;
            }
        }
        let before = std::mem::replace(&mut *state, State::Done(status));
        drop(state);
        drop(before); // Closes, if no other call is under way: outside the lock.
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call found out that the process is gone.
fn is_gone<T>(process: &Process, result: &nix::Result<T>) -> bool {
    matches!(result, Err(Errno::ECHILD)) && process.is_gone()
}

fn usage_is_lost() -> io::Error {
    let text = "the child had exited before it had a handle: its usage is not to be had";
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// The pid as system calls take it. 0 and what they take for negative would mean whole groups.
fn check_pid(pid: u32) -> io::Result<pid_t> {
    match pid_t::try_from(pid) {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let text = format!(
                "no process has the pid {pid}: it must be 1 to {}",
                pid_t::MAX
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// Whether an error says that the process was reaped before: ECHILD.
///
/// Every way in which a status is no longer to be had, or never was, comes as this one error:
/// reaped by an earlier wait or by somebody else, thrown away because SIGCHLD is ignored, no child
/// of this process, no such process.
///
/// ```
/// # use pidwait::PidHandle;
/// let nobody = PidHandle::open(i32::MAX as u32)?;
/// assert!(pidwait::is_already_reaped(&nobody.wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_already_reaped(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ECHILD as i32)
}
