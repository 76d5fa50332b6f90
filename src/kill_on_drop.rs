//! A handle that kills and reaps its child when it is dropped.

use std::io;
use std::ops::Deref;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SIGKILL;

use crate::group::Leader;
use crate::wait::Timeout;
use crate::PidHandle;

/// A handle that kills and reaps its child when it is dropped.
///
/// For a child that must not outlive a scope, however the scope is left: at its end, by `?` or by a
/// panic. `H` is a [`PidHandle`], or anything that has one inside, such as an async handle. To let
/// the child live on, take the handle out with [`into_inner`](Self::into_inner).
///
/// Dropping it does not block for long: it sends SIGKILL and waits for at most 100 ms. A child that
/// takes longer to die, because a tracer holds it or it is in an uninterruptible sleep, is
/// [reaped in the background](PidHandle::reap_in_background).
///
/// - If the handle is done or released, nothing happens.
/// - A non-child is killed, and not waited for.
/// - A child that may not be signalled (EPERM: it has another user's rights now) is reaped if it has
///   exited. Otherwise it **runs on**, and is reaped in the background.
/// - In a forked process nothing happens: the child is the parent's.
///
/// What becomes of a child:
///
/// | | the process | its zombie | the descriptor | later calls |
/// |---|---|---|---|---|
/// | a [`PidHandle`] is dropped | runs on | stays until this process ends | closed with the last clone | those of other clones work |
/// | [`release`](PidHandle::release) | runs on | stays until this process ends | closed | EINVAL |
/// | [`reap_in_background`](PidHandle::reap_in_background) | runs on | reaped | open until the exit | work; ECHILD once it is reaped |
/// | a `KillOnDrop` is dropped | is killed | reaped | closed when it is reaped | of other clones: ECHILD |
///
/// **When a signal ends the program**, no destructor runs, and so the child lives on; the same holds
/// for [`std::process::exit`] and an abort. On Linux `prctl(PR_SET_PDEATHSIG, SIGKILL)` in the child,
/// before its exec, has the kernel kill it. It has a trap: the signal comes when the *thread* that
/// spawned the child ends, not the process.
///
/// # Examples
///
/// ```
/// use pidwait::{KillOnDrop, PidHandle};
/// use std::process::Command;
///
/// let server = KillOnDrop::new(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle);
/// assert!(!server.has_exited()?);
/// drop(server); // Killed and reaped.
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it kills the process"]
pub struct KillOnDrop<H: AsRef<PidHandle> = PidHandle> {
    kill: Kill,
    handle: H,
}

impl<H: AsRef<PidHandle>> KillOnDrop<H> {
    /// Takes over a handle, whose process is killed and reaped on drop.
    ///
    /// # Examples
    ///
    /// See [`KillOnDrop`].
    pub fn new(handle: H) -> Self {
        Self::with(handle, false)
    }

    /// Takes over a handle, whose process group is killed on drop; then its process is reaped.
    ///
    /// The group is killed even if the leader is a zombie already. If the process leads no group, the
    /// process alone is killed. Processes that left the group (by `setsid`) are not reached.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{KillOnDrop, PidHandle};
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 60 & sleep 60"]).process_group(0);
    /// let job = KillOnDrop::process_group(PidHandle::spawn(&mut command)?.handle);
    /// drop(job); // The shell and both sleeps are killed.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn process_group(handle: H) -> Self {
        Self::with(handle, true)
    }

    fn with(handle: H, group: bool) -> Self {
        Self {
            kill: Kill {
                handle: Some(handle.as_ref().clone()),
                group,
                process: std::process::id(),
            },
            handle,
        }
    }

    /// Gives the handle back, and kills nothing.
    ///
    /// It is an associated function, so that it hides no method of the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{KillOnDrop, PidHandle};
    /// use std::process::Command;
    ///
    /// let guard = KillOnDrop::new(PidHandle::spawn(&mut Command::new("true"))?.handle);
    /// let child = KillOnDrop::into_inner(guard);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(this: Self) -> H {
        let Self { mut kill, handle } = this;
        kill.handle = None;
        handle
    }
}

impl<H: AsRef<PidHandle>> Deref for KillOnDrop<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handle
    }
}

/// What is done on drop. A part of its own, so that `H` can be moved out of the guard.
#[derive(Debug)]
struct Kill {
    handle: Option<PidHandle>,
    group: bool,
    /// The process that made it. Not `sys::fork_number`, which does not see a raw `clone`.
    process: u32,
}

/// The longest time that a drop waits for a child to die.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

impl Drop for Kill {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else {
            return;
        };
        // In a forked process the child is the parent's.
        if self.process != std::process::id() {
            return;
        }
        if self.group {
            // First, because the group can be named until the leader is reaped. It fails if there is
            // no group.
            let _ = kill_group(&handle);
        }
        // EPERM: if the child has exited, it still has to be reaped.
        let timeout = match handle.kill() {
            Ok(()) => Timeout::after(LONGEST_WAIT),
            Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => Timeout::Poll,
            Err(_) => return, // Done, released, or reaped by other code.
        };
        if let Ok(None) = handle.reap(timeout) {
            handle.reap_in_background();
        }
    }
}

fn kill_group(handle: &PidHandle) -> io::Result<()> {
    Ok(handle.leader()?.signal_group(SIGKILL)?)
}
