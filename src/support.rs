//! Which backend this process gets: probed once, at first use.

use std::env;
use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc::{pid_t, WEXITED, WNOHANG};
use once_cell::sync::OnceCell;

use crate::sys;

/// How a handle reaches its process.
///
/// [`support`] returns which of them new handles get, and
/// [`PidHandle::backend`](crate::PidHandle::backend) which one a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// By descriptor: [pidfd_open(2)], `waitid(P_PIDFD)`, [pidfd_send_signal(2)]. Linux 5.4 and
    /// later. A pidfd never refers to another process, even if the PID was reused.
    ///
    /// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    Pidfd,
    /// By PID: [waitid(2)] and [kill(2)]. Every Unix. As safe for children, which keep their PID
    /// until they are reaped. On Linux a non-child is distinguished from a later process with its PID
    /// by its start time; elsewhere its bare PID has to do.
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

/// The result of the probe, with its reason; from [`support`].
///
/// `Display` prints it in a line: `pidfd`, or `waitpid: pidfd_open: ENOSYS: ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Support {
    backend: Backend,
    missing: Option<Missing>,
    forced: bool,
}

/// The system call that the pidfd backend lacks here; from [`Support::missing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Missing {
    /// The name of the call: `"pidfd_open"`, `"waitid"` or `"pidfd_send_signal"`.
    pub call: &'static str,
    /// What it failed with: ENOSYS or EINVAL on a kernel without it, EPERM or another errno where a
    /// sandbox forbids it. `None`: it succeeded, and should have failed.
    pub errno: Option<i32>,
}

impl Support {
    /// The backend that new handles get.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The call that is missing for the pidfd backend. `None` if none is, or if `PIDWAIT_BACKEND`
    /// decided without a probe.
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

/// Returns which backend new handles get, and why.
///
/// The first call probes: [pidfd_open(2)] of this process, `waitid(P_PIDFD)`, which must fail with
/// ECHILD, and [pidfd_send_signal(2)] with signal 0. If one of them is missing, the backend is
/// [`Backend::Waitpid`]. The probe never blocks, starts no process and leaves no descriptor open.
/// Its result is kept for the life of the process.
///
/// The environment variable `PIDWAIT_BACKEND` overrides it: `waitpid` forces the fallback, `pidfd`
/// demands pidfds.
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
/// # Errors
///
/// - EMFILE, ENFILE, ENOMEM: the probe could not open a descriptor. The next call probes again.
/// - [`Unsupported`](io::ErrorKind::Unsupported): `PIDWAIT_BACKEND=pidfd`, and there are no pidfds;
///   the text names the missing call.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): `PIDWAIT_BACKEND` is neither `pidfd` nor
///   `waitpid` nor empty.
///
/// # Platform notes
///
/// Android: [`Backend::Waitpid`] unless `PIDWAIT_BACKEND=pidfd` is set, because the probe itself can
/// get a process killed there. Other Unix systems have no pidfds.
///
/// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
/// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
#[doc(alias = "pidfd_open")]
pub fn support() -> io::Result<Support> {
    static SUPPORT: OnceCell<Support> = OnceCell::new();
    SUPPORT.get_or_try_init(choose).copied()
}

/// Fails if this kernel has no pidfds, whatever the environment says.
pub(crate) fn require_pidfd() -> io::Result<()> {
    match missing()? {
        None => Ok(()),
        Some(missing) => {
            let text = format!("this system has no pidfds: {missing}");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

fn choose() -> io::Result<Support> {
    let requested = env::var_os(VARIABLE).unwrap_or_default();
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

/// What the kernel lacks. Only a definite result is kept: a moment without descriptors must not
/// decide for the life of the process.
fn missing() -> io::Result<Option<Missing>> {
    static MISSING: OnceCell<Option<Missing>> = OnceCell::new();
    let known = MISSING.get_or_try_init(|| match probe() {
        Ok(()) => Ok(None),
        Err((_, Some(errno))) if sys::is_shortage(errno) => Err(errno),
        Err((call, errno)) => Ok(Some(Missing {
            call,
            errno: errno.map(|errno| errno as i32),
        })),
    })?;
    Ok(*known)
}

/// Every call that the backend makes, on this process itself.
fn probe() -> Result<(), (&'static str, Option<Errno>)> {
    let own_pid = pid_t::try_from(std::process::id()).unwrap_or(pid_t::MAX);
    let fd = sys::pidfd_open(own_pid).map_err(|errno| ("pidfd_open", Some(errno)))?;
    match sys::waitid_pidfd(&fd, WEXITED | WNOHANG, None) {
        // As it should: no process is its own child.
        Err(Errno::ECHILD) => {}
        Err(errno) => return Err(("waitid", Some(errno))),
        Ok(_) => return Err(("waitid", None)),
    }
    sys::pidfd_send_signal(&fd, 0, 0).map_err(|errno| ("pidfd_send_signal", Some(errno)))
}
