// Tests: tests/it/orphans.rs

//! `reap_orphans`: for a process that adopts orphans, as PID 1 and subreapers do.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::backend::Process;
use crate::per_process::PerProcess;
use crate::support::unsupported;
use crate::sys;

/// Reaps the exited children of this process that `is_own` does not claim, and returns their number.
///
/// For PID 1 of a container, and for subreapers: an orphan becomes their child, and stays a zombie until they
/// reap it. `is_own` is called with the PID of each exited child, and returns whether the program waits for
/// it by other means. A child for which it returns `false` is reaped, and its status is lost: also that of a
/// [`Child`](std::process::Child) or a [`PidHandle`](crate::PidHandle) that `is_own` does not know. So let it
/// know a child before another thread can call this function: hold one lock around the spawn and the note
/// of the PID, and around this call.
///
/// Leaders that a [`ProcessGroup`](crate::ProcessGroup) keeps are left out in any case.
///
/// It does not block, and does not wait for children that run. Call it after SIGCHLD, or from time to time.
///
/// # Errors
///
/// - [`Unsupported`](io::ErrorKind::Unsupported): `/proc` is missing or belongs to another PID namespace, or
///   the system is not Linux. The children cannot be listed.
/// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available. Some orphans may have been reaped.
///
/// # Examples
///
/// ```
/// use pidwait::PidHandle;
/// use std::process::Command;
///
/// # #[cfg(target_os = "linux")]
/// # {
/// let child = PidHandle::spawn(&mut Command::new("true"))?.handle;
/// child.wait_exited()?;
/// pidwait::reap_orphans(|pid| pid == child.id())?; // All others.
/// assert!(child.wait()?.success());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// Linux only. The children are found in `/proc`, because [waitid(2)] for any child shows the same one again
/// and again as long as that is not reaped. A child that a tracer holds is left for a later call.
///
/// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
#[doc(alias = "waitpid")]
#[doc(alias = "PR_SET_CHILD_SUBREAPER")]
pub fn reap_orphans(mut is_own: impl FnMut(u32) -> bool) -> io::Result<usize> {
    if !sys::HAS_PROCFS || !sys::proc_is_own()? {
        let text = "cannot list the children of this process: /proc is missing or belongs to \
                    another PID namespace (mount a new proc file system on it)";
        return Err(unsupported(text));
    }
    let mut reaped = 0;
    for pid in sys::list_pids()? {
        if !is_exited_child(pid)? {
            continue;
        }
        // Opened before the questions, so that the answers are about this process.
        let Ok((process, mut seen)) = Process::open_child(pid) else {
            continue;
        };
        if is_kept(pid) || is_own(pid.unsigned_abs()) {
            continue;
        }
        match process.try_reap(&mut seen, None) {
            Ok(event) => reaped += usize::from(event.exited().is_some()),
            Err(Errno::ECHILD) => {} // Another thread has reaped it.
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(reaped)
}

fn is_exited_child(pid: pid_t) -> nix::Result<bool> {
    match sys::proc_stat(pid) {
        Ok(stat) => {
            let is_child = stat.parent.unsigned_abs() == std::process::id();
            Ok(is_child && stat.is_zombie())
        }
        Err(errno) if sys::is_shortage(errno) => Err(errno),
        Err(_) => Ok(false), // Gone, or hidden.
    }
}

/// How many groups keep each leader, by its PID.
static KEPT: PerProcess<Mutex<BTreeMap<pid_t, u32>>> = PerProcess::new();

fn kept() -> MutexGuard<'static, BTreeMap<pid_t, u32>> {
    KEPT.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves a leader out from now on.
pub(crate) fn keep(pid: pid_t) {
    *kept().entry(pid).or_default() += 1;
}

/// Ends one [`keep`].
pub(crate) fn stop_keeping(pid: pid_t) {
    let mut kept = kept();
    if let Some(count) = kept.get_mut(&pid) {
        *count -= 1;
        if *count == 0 {
            kept.remove(&pid);
        }
    }
}

fn is_kept(pid: pid_t) -> bool {
    kept().contains_key(&pid)
}
