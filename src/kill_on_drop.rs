// Tests: tests/it/kill_on_drop.rs

//! A handle that kills and reaps its child when it is dropped.

use std::io;
use std::ops::Deref;
use std::time::Duration;

use nix::libc::SIGKILL;

use crate::group::Leader;
use crate::wait::Timeout;
use crate::PidHandle;

/// A handle that kills and reaps its child when it is dropped.
///
/// Use it for a child that must not outlive a scope, whether the scope ends normally, by `?` or by a
/// panic. `H` is a [`PidHandle`], or a type that contains one, such as an async handle. To keep the
/// child running, take the handle out with [`into_inner`](Self::into_inner).
///
/// The drop sends SIGKILL and waits for at most 100 ms. A child that takes longer to exit, because a
/// tracer holds it or it is in an uninterruptible sleep, is
/// [reaped in the background](PidHandle::reap_in_background).
///
/// - If the handle is done or released, the drop does nothing.
/// - A non-child is killed, and not waited for.
/// - A child that may not be signalled (EPERM: it runs as another user now) is reaped if it has
///   exited. Otherwise it **runs on**, and is reaped in the background.
/// - In a forked process the drop does nothing, because the child belongs to the parent.
///
/// This is what each way to give up a handle leaves behind:
///
/// | | the process | its zombie | the descriptor | later calls |
/// |---|---|---|---|---|
/// | a [`PidHandle`] is dropped | runs on | stays until this process ends | closed with the last clone | other clones work |
/// | [`release`](PidHandle::release) | runs on | stays until this process ends | closed | fail with EINVAL |
/// | [`reap_in_background`](PidHandle::reap_in_background) | runs on | is reaped | open until it is reaped | work; ECHILD once it is reaped |
/// | a `KillOnDrop` is dropped | is killed | is reaped | closed when it is reaped | other clones fail with ECHILD |
///
/// **If a signal ends the program**, no destructor runs, and the child runs on. The same holds for
/// [`std::process::exit`] and an abort. On Linux, call `prctl(PR_SET_PDEATHSIG, SIGKILL)` in the child
/// before its exec, and the kernel kills the child. Note that it does so when the *thread* that spawned
/// the child ends, not the process.
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
    /// Wraps a handle. On drop its process is killed and reaped.
    ///
    /// # Examples
    ///
    /// See [`KillOnDrop`].
    pub fn new(handle: H) -> Self {
        Self::with(handle, false)
    }

    /// Wraps a handle. On drop the process group that its process leads is killed, and the process is
    /// reaped.
    ///
    /// The group is killed even if the leader is a zombie already. If the process leads no group, only
    /// the process is killed. Processes that left the group (by `setsid` or `setpgid`) are not reached.
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

    /// Returns the handle, without killing the process.
    ///
    /// This is an associated function, so that it hides no method of the handle: call
    /// `KillOnDrop::into_inner(guard)`.
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

/// What the drop does. It is a separate type, so that `H` can be moved out of the guard.
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
        // In a forked process the child belongs to the parent.
        if self.process != std::process::id() {
            return;
        }
        if self.group {
            // First, because the number of the group can be reused once the leader is reaped. It fails
            // if the process leads no group.
            let _ = kill_group(&handle);
        }
        let timeout = match handle.kill() {
            Ok(()) => Timeout::after(LONGEST_WAIT),
            // The child may have exited, and still has to be reaped. If the handle is done or released,
            // the rest does nothing.
            Err(_) => Timeout::Poll,
        };
        // An error may be temporary: EMFILE.
        if !matches!(handle.reap(timeout), Ok(Some(_))) {
            handle.reap_in_background();
        }
    }
}

fn kill_group(handle: &PidHandle) -> io::Result<()> {
    Ok(handle.leader()?.signal_group(SIGKILL)?)
}
