// Tests: tests/it/exit.rs

//! What an errno means to the callers: the one place for these questions.

use std::io;

use nix::errno::Errno;

/// Returns whether an error is ECHILD: there is no status to wait for, now or later.
///
/// A call fails with ECHILD if the process was reaped, by an earlier wait or by other code; if its
/// status was thrown away because SIGCHLD is ignored; if it is not a child of this process, even if
/// it runs; or if there is no such process.
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
    errno_of(error) == Some(Errno::ECHILD)
}

pub(crate) fn errno_of(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// Whether an error of a wait through a handle is final: the handle is done or released, or the process
/// is a non-child.
pub(crate) fn is_final(error: &io::Error) -> bool {
    matches!(errno_of(error), Some(Errno::ECHILD | Errno::EINVAL))
}

pub(crate) use crate::sys::is_shortage;

/// Access was denied: EPERM, or EACCES by a security module such as AppArmor or SELinux.
pub(crate) fn is_denied(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES)
}

/// Where the kernel finds no process, calls fail with ECHILD: it was reaped or never existed.
pub(crate) fn esrch_to_echild<T>(result: nix::Result<T>) -> nix::Result<T> {
    result.map_err(|errno| match errno {
        Errno::ESRCH => Errno::ECHILD,
        other => other,
    })
}
