// Tests: tests/it/support.rs, tests/it/seccomp.rs, tests/it/fd_exhausted.rs

//! Chooses the backend of this process: by a probe at first use, or by `PIDWAIT_BACKEND`.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc::{pid_t, WEXITED, WNOHANG};
use once_cell::race::OnceBox;

use crate::sys;

/// How a handle reaches its process.
///
/// [`support`] returns the one that new handles get, and
/// [`PidHandle::backend`](crate::PidHandle::backend) the one that a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// By descriptor: [pidfd_open(2)], `waitid(P_PIDFD)`, [pidfd_send_signal(2)]. Linux 5.4 and
    /// later. A pidfd never refers to another process, even if the PID is reused.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    Pidfd,
    /// By PID: [waitid(2)] and [kill(2)]. Every Unix. As safe for a child that is reaped only through
    /// its handle, because a child keeps its PID until it is reaped. A non-child is distinguished from a
    /// later process with the same PID by its start time on Linux; elsewhere only its bare PID is
    /// checked.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    Waitpid,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Pidfd => "pidfd",
            Backend::Waitpid => "waitpid",
        })
    }
}

/// The backend that new handles get, and why. Returned by [`support`].
///
/// `Display` prints it in one line: `pidfd`, `waitpid: set by PIDWAIT_BACKEND`, or
/// `waitpid: pidfd_open: ENOSYS: Function not implemented`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Support {
    backend: Backend,
    missing: Option<Missing>,
    forced: bool,
}

/// The system call that the pidfd backend needs and this system lacks. Returned by
/// [`Support::missing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Missing {
    /// The name of the call: `"pidfd_open"`, `"waitid"` or `"pidfd_send_signal"`.
    pub call: &'static str,
    /// The errno that it failed with: ENOSYS or EINVAL on a kernel without it, EPERM or another one if
    /// a sandbox forbids it. `None` if the call succeeded although it had to fail.
    pub errno: Option<i32>,
}

impl Support {
    /// Returns the backend that new handles get.
    ///
    /// # Examples
    ///
    /// See [`support`].
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the call that the pidfd backend lacks. `None` if it lacks none, if `PIDWAIT_BACKEND`
    /// selected the backend, or on Android, which is not probed.
    ///
    /// # Examples
    ///
    /// See [`support`].
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.backend)?;
        match self.missing {
            Some(missing) => write!(f, ": {missing}"),
            None if self.forced => write!(f, ": set by {VARIABLE}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            None => write!(f, "{}: succeeded unexpectedly", self.call),
            Some(errno) => write!(f, "{}: {}", self.call, Errno::from_raw(errno)),
        }
    }
}

const VARIABLE: &str = "PIDWAIT_BACKEND";

/// Returns the backend that new handles get, and why.
///
/// The first call probes: [pidfd_open(2)] of this process; `waitid(P_PIDFD)`, which must fail with
/// ECHILD; and [pidfd_send_signal(2)] with signal 0. If one of them is missing, the backend is
/// [`Backend::Waitpid`]. The probe never blocks, starts no process and leaves no descriptor open.
/// The result is kept for the life of the process.
///
/// The environment variable `PIDWAIT_BACKEND` overrides the probe: `waitpid` forces the fallback,
/// `pidfd` requires pidfds. It is ignored in a program that runs with more privileges than its caller,
/// such as a setuid program.
///
/// # Errors
///
/// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available for the probe. The next call
///   probes again.
/// - [`Unsupported`](io::ErrorKind::Unsupported): `PIDWAIT_BACKEND` is `pidfd`, and the system has no
///   pidfds. The text names the missing call.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): `PIDWAIT_BACKEND` is neither `pidfd` nor
///   `waitpid` nor empty.
///
/// # Examples
///
/// ```
/// let support = pidwait::support()?;
/// match support.missing() {
///     None => println!("{}", support.backend()),
///     Some(missing) => println!("no {}: errno {:?}", missing.call, missing.errno),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// On Android the backend is [`Backend::Waitpid`] unless `PIDWAIT_BACKEND` is `pidfd`: its seccomp
/// filter can kill a process that probes. Other Unix systems have no pidfds.
///
/// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
/// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
#[doc(alias = "pidfd_open")]
pub fn support() -> io::Result<Support> {
    static SUPPORT: OnceBox<Support> = OnceBox::new();
    SUPPORT.get_or_try_init(|| choose().map(Box::new)).copied()
}

/// Fails if this kernel has no pidfds, whatever the environment says.
pub(crate) fn require_pidfd() -> io::Result<()> {
    match missing()? {
        None => Ok(()),
        Some(missing) => {
            let text = format!("this system has no pidfds: {missing}");
            Err(unsupported(text))
        }
    }
}

/// The error for what this system cannot do. The text names what it lacks.
pub(crate) fn unsupported(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text.into())
}

fn choose() -> io::Result<Support> {
    // The caller of a privileged program must not choose how that reaches its processes.
    let requested = if sys::is_privileged() {
        OsString::new()
    } else {
        env::var_os(VARIABLE).unwrap_or_default()
    };
    let forced = |backend| Support {
        backend,
        missing: None,
        forced: true,
    };
    match requested.to_str() {
        Some("") => {}
        Some("waitpid") => return Ok(forced(Backend::Waitpid)),
        Some("pidfd") => return require_pidfd().map(|()| forced(Backend::Pidfd)),
        _ => {
            let text = format!("{VARIABLE} is {requested:?}, and must be \"pidfd\" or \"waitpid\"");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    let found = |backend, missing| Support {
        backend,
        missing,
        forced: false,
    };
    if cfg!(target_os = "android") {
        return Ok(found(Backend::Waitpid, None));
    }
    Ok(match missing()? {
        None => found(Backend::Pidfd, None),
        Some(missing) => found(Backend::Waitpid, Some(missing)),
    })
}

// Neither result is kept in a cell that blocks: if another thread was inside it at a fork, the forked
// process would wait for that thread forever. So two threads may probe at the same time.

/// What the kernel lacks. Only a definite result is kept: a temporary lack of descriptors must not
/// select the backend for the life of the process.
fn missing() -> io::Result<Option<Missing>> {
    static MISSING: OnceBox<Option<Missing>> = OnceBox::new();
    let known = MISSING.get_or_try_init(|| match probe() {
        Ok(()) => Ok(Box::new(None)),
        Err((_, Some(errno))) if sys::is_shortage(errno) => Err(errno),
        Err((call, errno)) => Ok(Box::new(Some(Missing {
            call,
            errno: errno.map(|errno| errno as i32),
        }))),
    })?;
    Ok(*known)
}

/// Makes every call that the backend needs, on this process itself.
fn probe() -> Result<(), (&'static str, Option<Errno>)> {
    let own_pid = pid_t::try_from(std::process::id()).unwrap_or(pid_t::MAX);
    let fd = sys::pidfd_open(own_pid).map_err(|errno| ("pidfd_open", Some(errno)))?;
    match sys::waitid_pidfd(&fd, WEXITED | WNOHANG, None) {
        // As expected: no process is its own child.
        Err(Errno::ECHILD) => {}
        Err(errno) => return Err(("waitid", Some(errno))),
        Ok(_) => return Err(("waitid", None)),
    }
    sys::pidfd_send_signal(&fd, 0, 0).map_err(|errno| ("pidfd_send_signal", Some(errno)))
}
