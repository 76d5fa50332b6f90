// Tests: tests/it/open.rs, tests/it/from_pidfd.rs, tests/it/adoption.rs, tests/contract/

//! Opening a process by its PID or by a pidfd.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc::pid_t;

use super::PidHandle;
use crate::backend::{Process, Seen};
use crate::errno::{errno_of, is_shortage};
use crate::support::{self, Backend};
use crate::sys;

impl PidHandle {
    /// Opens the process with the given PID, child or not.
    ///
    /// It needs no permission, and uses the backend that [`support`](fn@crate::support) returns. If there
    /// is no such process, the handle is *done* from the start: every wait and signal fails with
    /// ECHILD, even if the PID is given to another process later.
    ///
    /// The PID may have been reused before the call: only an unreaped child is certain to have its
    /// PID. For a child use [`spawn`](Self::spawn), or make the handle from the
    /// [`Child`](std::process::Child): [`Spawned::from`](crate::Spawned#impl-From%3CChild%3E-for-Spawned).
    ///
    /// If you keep a `Child` of the same process, reap through one of the two only. To share a `Child`,
    /// call `PidHandle::open(child.id())`, then [`wait_exited`](Self::wait_exited) in any number of
    /// threads, and at the end the `Child`'s own `wait`.
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
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the PID is 0 or above `i32::MAX`, which no
    ///   process has.
    /// - EINVAL: the PID is the ID of a thread that is not the main thread of a process.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available, for the pidfd or to read the start
    ///   time of a non-child. An unreaped child is opened by PID instead, which is as safe.
    /// - Those of [`support`](fn@crate::support).
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`] calls [pidfd_open(2)].
    ///
    /// [`Backend::Waitpid`] accepts the ID of a thread like that of a process. It distinguishes a
    /// non-child from a later process with the same PID by the start time in `/proc`. That needs Linux,
    /// and a readable `/proc` of this PID namespace.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    #[doc(alias = "pidfd_open")]
    pub fn open(pid: u32) -> io::Result<Self> {
        let number = check_pid(pid)?;
        let opened = support::support().and_then(|support| {
            let backend = support.backend();
            Self::of_opened(pid, backend, Process::open(number, backend))
        });
        match opened {
            // For a pidfd, or already for the check whether there are pidfds.
            Err(error) if errno_of(&error).is_some_and(is_shortage) => {
                match Process::open_child_by_pid(number) {
                    Ok((process, seen)) => Ok(Self::live(pid, process, seen)),
                    Err(_) => Err(error),
                }
            }
            opened => opened,
        }
    }

    /// Opens the process with the given PID, on the given backend.
    ///
    /// Like [`open`](Self::open), but ignores `PIDWAIT_BACKEND`.
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
    /// Those of [`open`](Self::open). [`Unsupported`](io::ErrorKind::Unsupported) if the backend is
    /// [`Backend::Pidfd`] and the system has no pidfds.
    #[doc(alias = "pidfd_open")]
    pub fn open_with(pid: u32, backend: Backend) -> io::Result<Self> {
        let number = check_pid(pid)?;
        if backend == Backend::Pidfd {
            support::require_pidfd()?;
        }
        Self::of_opened(pid, backend, Process::open(number, backend))
    }

    /// Makes a handle from a pidfd that the caller opened. It always uses [`Backend::Pidfd`].
    ///
    /// A non-blocking pidfd (`PIDFD_NONBLOCK`) works like any other.
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
    /// An error closes the descriptor.
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the descriptor is not a pidfd, or refers to a
    ///   thread (`PIDFD_THREAD`), or to a process that has no PID in this PID namespace.
    /// - ECHILD: the process was reaped already.
    /// - EMFILE, ENFILE, ENOMEM: `/proc` cannot be read, because no descriptor or memory is available.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the PID has to be read from `/proc`, which is
    ///   missing or belongs to another PID namespace; or the system has no pidfds.
    ///
    /// # Platform notes
    ///
    /// Linux 5.4 and later. The PID is read with `PIDFD_GET_INFO` (Linux 6.13 and later), otherwise from
    /// `/proc/thread-self/fdinfo`.
    pub fn from_pidfd(fd: OwnedFd) -> io::Result<Self> {
        let (process, pid) = Process::from_pidfd(fd)?;
        Ok(Self::live(pid.unsigned_abs(), process, Seen::default()))
    }

    /// Returns a duplicate of the pidfd, for other APIs: [pidfd_getfd(2)], [setns(2)], or SCM_RIGHTS.
    ///
    /// It belongs to the caller, is close-on-exec, and stays open when the handle is done, released
    /// or dropped. To poll for the exit, use [`exit_fd`](Self::exit_fd), which works on both backends.
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
    /// - ECHILD: the handle is done.
    /// - EINVAL: the handle is released.
    /// - EMFILE: no descriptor is available.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the handle uses [`Backend::Waitpid`].
    ///
    /// [pidfd_getfd(2)]: https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html
    /// [setns(2)]: https://man7.org/linux/man-pages/man2/setns.2.html
    #[doc(alias = "dup")]
    pub fn try_clone_pidfd(&self) -> io::Result<OwnedFd> {
        let mut guard = self.lock();
        let (process, _) = guard.parts()?;
        match process.pidfd() {
            Some(pidfd) => Ok(sys::duplicate(&**pidfd)?),
            None => {
                let text = "this handle has no pidfd: it uses the waitpid backend";
                Err(support::unsupported(text))
            }
        }
    }

    fn of_opened(
        pid: u32,
        backend: Backend,
        opened: nix::Result<(Process, Seen)>,
    ) -> io::Result<Self> {
        match opened {
            Ok((process, seen)) => Ok(Self::live(pid, process, seen)),
            Err(Errno::ESRCH) => Ok(Self::done(pid, backend)),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The PID as system calls take it. To them, 0 and negative numbers mean whole groups.
pub(crate) fn check_pid(pid: u32) -> io::Result<pid_t> {
    match pid_t::try_from(pid) {
        Ok(number) if number > 0 => Ok(number),
        _ => {
            let text = format!("PID {pid} is out of range: it must be 1 to {}", pid_t::MAX);
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
