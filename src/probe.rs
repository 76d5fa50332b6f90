//! Which backend this process gets: asked of the kernel once, at first use.

use std::env;
use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::libc::{pid_t, WEXITED, WNOHANG};
use once_cell::sync::OnceCell;

use crate::backend::Backend;
use crate::sys;

/// What the probe found, with its reason; from [`support`].
///
/// `Display` puts it in a line: `pidfd`, or `waitpid: pidfd_open: ENOSYS: ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Support {
    backend: Backend,
    missing: Option<Missing>,
    forced: bool,
}

/// The system call for whose sake there is no pidfd backend; from [`Support::missing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    /// The call's name: `"pidfd_open"`, `"waitid"` or `"pidfd_send_signal"`.
    pub call: &'static str,
    /// What it answered: ENOSYS or EINVAL on a kernel without it, EPERM or another where a
    /// sandbox forbids it; 0 where it succeeded and should not have.
    pub errno: i32,
}

impl Support {
    /// The backend that new handles get where none is asked for by name.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Which call is missing for the pidfd backend. `None` where none is, and where
    /// `PIDWAIT_BACKEND` decided without looking.
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.backend)?;
        match self.missing {
            Some(missing) => write!(f, ": {missing}"),
            None if self.forced => write!(f, ": {VARIABLE} says so"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            0 => write!(f, "{}: answers wrongly", self.call),
            errno => write!(f, "{}: {}", self.call, Errno::from_raw(errno)),
        }
    }
}

const VARIABLE: &str = "PIDWAIT_BACKEND";

/// Whether this system has what the pidfd backend needs, and which backend handles get.
///
/// The first call probes: [pidfd_open(2)] of this process, `waitid(P_PIDFD)`, which must answer
/// ECHILD, and [pidfd_send_signal(2)] with signal 0. All three, or it is [`Backend::Waitpid`]. It
/// never blocks, and leaves nothing behind. The answer is kept for the life of the process.
///
/// The environment variable `PIDWAIT_BACKEND` overrides it, for tests and for systems that are
/// known to be odd: `waitpid` forces the fallback, `pidfd` demands pidfds.
///
/// # Errors
///
/// - EMFILE, ENFILE, ENOMEM: no descriptor could be had. That passes, so the next call probes
///   again.
/// - [`Unsupported`](io::ErrorKind::Unsupported): `PIDWAIT_BACKEND=pidfd`, and there is none; the
///   text says which call is missing.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): `PIDWAIT_BACKEND` is neither `pidfd` nor
///   `waitpid` nor empty.
///
/// # Platform notes
///
/// On Android the answer is [`Backend::Waitpid`] unless `PIDWAIT_BACKEND=pidfd` is set: there a
/// process may be killed for the very question. Other Unix systems have no pidfds.
///
/// [pidfd_open(2)]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
/// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
///
/// ```
/// let support = pidwait::support()?;
/// match support.missing() {
///     None => println!("{}", support.backend()),
///     Some(missing) => println!("no {}: errno {}", missing.call, missing.errno),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn support() -> io::Result<Support> {
    static SUPPORT: OnceCell<Support> = OnceCell::new();
    SUPPORT.get_or_try_init(choose).copied()
}

/// What `open_with(pid, Backend::Pidfd)` needs to know: that pidfds work, whatever the
/// environment says.
pub(crate) fn require_pidfd() -> io::Result<()> {
    match missing()? {
        None => Ok(()),
        Some(missing) => {
            let text = format!("no pidfds on this system: {missing}");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

fn choose() -> io::Result<Support> {
    let wish = env::var_os(VARIABLE).unwrap_or_default();
    let forced = |backend| Support {
        backend,
        missing: None,
        forced: true,
    };
    match wish.to_str() {
        Some("") => {}
        Some("waitpid") => return Ok(forced(Backend::Waitpid)),
        Some("pidfd") => return require_pidfd().map(|()| forced(Backend::Pidfd)),
        _ => {
            let text = format!("{VARIABLE} is {wish:?}, and must be \"pidfd\" or \"waitpid\"");
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

/// What the kernel lacks. Only a definite answer is kept: a passing want of descriptors must not
/// decide for the life of the process.
fn missing() -> io::Result<Option<Missing>> {
    static MISSING: OnceCell<Option<Missing>> = OnceCell::new();
    let known = MISSING.get_or_try_init(|| match probe() {
        Ok(()) => Ok(None),
        Err((_, errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))) => Err(errno),
        Err((call, errno)) => Ok(Some(Missing {
            call,
            errno: errno as i32,
        })),
    })?;
    Ok(*known)
}

/// Every call that the backend will make, on this process itself.
fn probe() -> Result<(), (&'static str, Errno)> {
    let myself = pid_t::try_from(std::process::id()).unwrap_or(pid_t::MAX);
    let fd = sys::pidfd_open(myself).map_err(|errno| ("pidfd_open", errno))?;
    match sys::waitid_pidfd(&fd, WEXITED | WNOHANG, None) {
        // The right answer: no process is its own child.
        Err(Errno::ECHILD) => {}
        Err(errno) => return Err(("waitid", errno)),
        Ok(_) => return Err(("waitid", Errno::UnknownErrno)),
    }
    sys::pidfd_send_signal(&fd, 0, 0).map_err(|errno| ("pidfd_send_signal", errno))
}
