// Tests: tests/it/kill_on_drop.rs, tests/contract/group.rs

//! `KillOnDrop`: a guard that kills its target when it is dropped.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::capture::{self, Piped};
use crate::escalation::Escalation;
use crate::process_group::ProcessGroup;
use crate::{PidHandle, Spawned};

/// What a [`KillOnDrop`] can guard.
///
/// [`PidHandle`]: the process only. [`ProcessGroup`], and a [`Spawned`] that leads a group: the whole group.
/// The handles, groups and spawned children of the async runtimes are guarded in the same way. The trait is
/// sealed.
pub trait Guarded: sealed::Sealed {}

pub(crate) mod sealed {
    pub trait Sealed {
        fn target(&self) -> super::Target;
    }
}

/// What is killed.
#[derive(Debug)]
pub struct Target {
    handle: PidHandle,
    group: Option<ProcessGroup>,
    /// The drop must not block.
    is_async: bool,
}

impl Target {
    pub(crate) fn new(handle: &PidHandle, group: Option<&ProcessGroup>) -> Self {
        Self {
            handle: handle.clone(),
            group: group.cloned(),
            is_async: false,
        }
    }

    #[cfg(any(feature = "tokio", feature = "async-io"))]
    pub(crate) fn new_async(handle: &PidHandle, group: Option<&ProcessGroup>) -> Self {
        Self {
            is_async: true,
            ..Self::new(handle, group)
        }
    }

    /// Ends it. What has not ended 100 ms after SIGKILL is reaped in the background.
    fn end(&self, escalation: Escalation) {
        const LONGEST_WAIT: Duration = Duration::from_millis(100);
        let escalation = escalation.kill_within(LONGEST_WAIT);
        // An error leaves nothing else to do: it may not be signalled, or is done or released.
        let _ = match &self.group {
            Some(group) => group.terminate_unreaped(escalation),
            None => self.handle.terminate_unreaped(escalation),
        };
        self.handle.reap_in_background();
    }

    /// Begins to end it, without blocking.
    pub(crate) fn begin_to_end(&self, escalation: Escalation) {
        let begun = match &self.group {
            Some(group) => group.terminate_in_background(escalation),
            None => self.handle.terminate_in_background(escalation),
        };
        if begun.is_err() {
            // The thread cannot be started, so nothing would kill it later.
            let _ = match &self.group {
                Some(group) => group.kill(),
                None => self.handle.kill(),
            };
            self.handle.reap_in_background();
        }
    }
}

impl Guarded for PidHandle {}

impl sealed::Sealed for PidHandle {
    fn target(&self) -> Target {
        Target::new(self, None)
    }
}

impl Guarded for Spawned {}

impl sealed::Sealed for Spawned {
    fn target(&self) -> Target {
        Target::new(&self.handle, self.group.as_ref())
    }
}

impl Guarded for ProcessGroup {}

impl sealed::Sealed for ProcessGroup {
    fn target(&self) -> Target {
        Target::new(self.leader(), Some(self))
    }
}

/// Kills (or ends) its target when it is dropped.
///
/// Use it for a child that must not outlive a scope, whether the scope ends normally, by `?` or by a
/// panic. What it guards, and so what is killed, is noted when the guard is made:
///
/// - a [`PidHandle`]: the process only. Nothing, if it was waited for.
/// - a [`ProcessGroup`], or a [`Spawned`] whose child leads a group: the group, also after the leader was
///   waited for.
/// - a `Spawned` whose child leads no group: the process.
///
/// To keep the target running, take it out with [`into_inner`](Self::into_inner).
///
/// The drop sends SIGKILL, or the signals of an [`Escalation`], and waits for at most 100 ms after SIGKILL.
/// So the target is gone after the drop, also at the end of `main`. What takes longer to exit, because a
/// tracer holds it or it is in an uninterruptible sleep, is
/// [reaped in the background](PidHandle::reap_in_background).
///
/// - If the handle is released, the drop does nothing.
/// - A non-child is killed, and not reaped.
/// - A process that may not be signalled (EPERM: it runs as another user now) is reaped if it has exited.
///   Otherwise it **runs on**, and is reaped in the background.
/// - In a forked process the drop does nothing, because the child belongs to the parent.
///
/// The drop of a guard for an async handle, or what contains one, never blocks. It sends the first signal,
/// and the background thread does the rest. If the program exits before that, nothing more is sent. If the
/// thread cannot be started, the target gets SIGKILL at once.
///
/// Guard the `Spawned`, as in the second example. `KillOnDrop::new(child.process_group()?)` can leave a
/// child running: if the `?` returns, there is no guard yet.
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
///
/// A shell and all that it starts:
///
/// ```
/// use pidwait::{KillOnDrop, PidHandle};
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
///
/// let mut command = Command::new("sh");
/// command.args(["-c", "sleep 60 & exit 3"]).process_group(0);
/// let job = KillOnDrop::new(PidHandle::spawn(&mut command)?);
/// assert_eq!(job.handle.wait()?.code(), Some(3));
/// drop(job); // The sleep is killed.
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it kills the process"]
pub struct KillOnDrop<T: Guarded = PidHandle> {
    kill: Kill,
    target: T,
}

impl<T: Guarded> KillOnDrop<T> {
    /// Guards a target, which is killed with SIGKILL on drop.
    ///
    /// # Examples
    ///
    /// See [`KillOnDrop`].
    pub fn new(target: T) -> Self {
        Self::with_escalation(target, Escalation::kill())
    }

    /// Guards a target, which is ended by an [`Escalation`] on drop.
    ///
    /// Takes an `Escalation`, or a [`Duration`]: SIGTERM with that grace period, then SIGKILL. The drop of a
    /// blocking target blocks for as long as the escalation takes. The wait after SIGKILL is at most 100 ms,
    /// or its [`kill_timeout`](Escalation::kill_timeout) if that is shorter. If a step has an unknown signal,
    /// the drop sends SIGKILL at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::{KillOnDrop, PidHandle};
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// drop(KillOnDrop::with_escalation(child.clone(), Duration::from_secs(5)));
    /// assert_eq!(child.exit_status().and_then(|status| status.signal()), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_escalation(target: T, escalation: impl Into<Escalation>) -> Self {
        let escalation = escalation.into();
        let is_valid = escalation.check().is_ok();
        Self {
            kill: Kill {
                target: Some(target.target()),
                escalation: if is_valid {
                    escalation
                } else {
                    Escalation::kill()
                },
                process: std::process::id(),
            },
            target,
        }
    }

    /// Returns the target, without killing it.
    ///
    /// This is an associated function, so that it hides no method of the target: call
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
    pub fn into_inner(this: Self) -> T {
        let Self { mut kill, target } = this;
        kill.target = None;
        target
    }
}

impl<T: Guarded> Deref for KillOnDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.target
    }
}

impl<T: Guarded> DerefMut for KillOnDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.target
    }
}

impl<T: Guarded + Piped> Piped for KillOnDrop<T> {}

impl<T: Guarded + Piped> capture::sealed::Sealed for KillOnDrop<T> {
    fn target(&mut self) -> io::Result<Box<dyn capture::Target + '_>> {
        capture::sealed::Sealed::target(&mut self.target)
    }
}

/// What the drop does. It is a separate type, so that the target can be moved out of the guard.
#[derive(Debug)]
struct Kill {
    target: Option<Target>,
    escalation: Escalation,
    /// The process that made it. Not `sys::fork_number`, which does not see a raw `clone`.
    process: u32,
}

impl Drop for Kill {
    fn drop(&mut self) {
        let Some(target) = self.target.take() else {
            return;
        };
        // In a forked process the child belongs to the parent.
        if self.process != std::process::id() {
            return;
        }
        let escalation = self.escalation.clone();
        if target.is_async {
            target.begin_to_end(escalation);
        } else {
            target.end(escalation);
        }
    }
}
