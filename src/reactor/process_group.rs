// Tests: tests/it/reactor/group.rs

//! `AsyncProcessGroup`: waits for a group and ends of it, as futures.

use std::io;
use std::process::ExitStatus;

use nix::errno::Errno;

use super::exit::{self, Waiter};
use super::{AsyncPidHandle, Reactor};
use crate::escalation::Escalation;
use crate::kill_on_drop::{self, Guarded, Target};
use crate::process_group::members::{Look, Members};
use crate::ProcessGroup;

/// A [`ProcessGroup`] with waits and ends that are futures on a [`Reactor`].
///
/// [`AsyncPidHandle::process_group`] returns it, and [`AsyncSpawned::group`](super::AsyncSpawned::group)
/// has that of a child that was spawned as a leader. As a `ProcessGroup` does, it keeps its leader: a wait
/// for the leader returns the status, and the zombie stays until the last group is dropped.
///
/// With pidfds, the members are registered with the reactor one after the other. While a future waits, it
/// does not list `/proc`.
///
/// # Examples
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// use pidwait::TokioPidHandle;
/// use std::os::unix::process::CommandExt;
/// use std::process::Command;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut command = Command::new("sh");
/// command.args(["-c", "sleep 60 & exit 3"]).process_group(0);
/// let child = TokioPidHandle::spawn(&mut command)?.handle;
///
/// let group = child.process_group()?;
/// let status = child.wait().await?; // The leader has exited.
/// let same = group.terminate(Duration::from_secs(5)).await?; // The rest of the group ends.
/// assert_eq!(status, same);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "as long as it lives, it keeps the leader, and dropping it gives the leader up"]
pub struct AsyncProcessGroup<R: Reactor> {
    leader: AsyncPidHandle<R>,
    group: ProcessGroup,
}

impl<R: Reactor> AsyncProcessGroup<R> {
    pub(super) fn new(leader: AsyncPidHandle<R>, group: ProcessGroup) -> Self {
        Self { leader, group }
    }

    /// Returns the group, for all calls that do not wait: signals, `members`, `has_exited`.
    ///
    /// The waits and the ends of that group block: do not call them in async code.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = child.process_group()?;
    /// group.group().kill()?;
    /// group.wait_exited().await?;
    /// assert!(!child.wait().await?.success());
    /// # Ok(())
    /// # }
    /// ```
    pub fn group(&self) -> &ProcessGroup {
        &self.group
    }

    /// Waits until no process of the group is alive, the leader included, like
    /// [`ProcessGroup::wait_exited`]. Nothing is reaped.
    ///
    /// # Errors
    ///
    /// - Those of [`ProcessGroup::has_exited`].
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the future is not polled in a tokio runtime.
    /// - An error of tokio's, without an errno: the runtime of the leader's handle has shut down.
    ///
    /// # Examples
    ///
    /// See [`group`](Self::group).
    ///
    /// # Panics
    ///
    /// tokio panics at the first poll if the runtime was built without `enable_io` or `enable_time`.
    ///
    /// # Platform notes
    ///
    /// Those of [`ProcessGroup::wait_exited`].
    pub async fn wait_exited(&self) -> io::Result<()> {
        R::check()?;
        let mut leader = self.group.subject();
        let mut members = Members::of(&mut leader);
        let mut waiter = Waiter::new(self.leader.exit());
        let mut is_ready = false;
        loop {
            match members.look(&mut leader, is_ready)? {
                Look::Gone => return Ok(()),
                Look::Unknown(error) => return Err(error),
                Look::Alive => {}
            }
            is_ready = waiter
                .wait(members.wait_for(), members.next_check())
                .await?;
        }
    }

    /// Ends all processes of the group, and returns the leader's status, like
    /// [`ProcessGroup::terminate`].
    ///
    /// Takes an [`Escalation`], or a [`Duration`](std::time::Duration): SIGTERM with that grace period, then
    /// SIGKILL. If another wait gets the status of the leader, before the call or during it, the members are
    /// ended all the same, and the future returns that status.
    ///
    /// Nothing is sent before the first poll. A future that is dropped before it is ready sends nothing
    /// more, and the leader is not reaped, so the group can be ended again.
    ///
    /// # Errors
    ///
    /// - Those of [`ProcessGroup::terminate`].
    /// - [`Unsupported`](io::ErrorKind::Unsupported): the future is not polled in a tokio runtime. Nothing is
    ///   sent.
    /// - An error of tokio's, without an errno: the runtime of the leader's handle has shut down.
    ///
    /// # Examples
    ///
    /// See [`AsyncProcessGroup`].
    ///
    /// # Panics
    ///
    /// tokio panics at the first poll if the runtime was built without `enable_io` or `enable_time`.
    /// Nothing is sent in that case.
    #[doc(alias = "killpg")]
    pub async fn terminate(&self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus> {
        let status = self.end(escalation.into(), true).await?;
        status.ok_or_else(|| Errno::ECHILD.into())
    }

    /// Ends all processes of the group, and leaves the leader's zombie to a later wait, like
    /// [`ProcessGroup::terminate_unreaped`].
    ///
    /// Like [`terminate`](Self::terminate), also for a group whose leader is not a child.
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), except ECHILD for a leader that is not a child.
    ///
    /// # Examples
    ///
    #[cfg_attr(feature = "tokio", doc = "```")]
    #[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
    /// use pidwait::TokioPidHandle;
    /// use std::os::unix::process::{CommandExt, ExitStatusExt};
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let child = TokioPidHandle::spawn(Command::new("sleep").arg("60").process_group(0))?.handle;
    /// let group = child.process_group()?;
    /// group.terminate_unreaped(Duration::from_secs(5)).await?;
    /// assert_eq!(child.wait().await?.signal(), Some(15)); // SIGTERM
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`terminate`](Self::terminate).
    #[doc(alias = "killpg")]
    pub async fn terminate_unreaped(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        self.end(escalation.into(), false).await.map(drop)
    }

    async fn end(&self, escalation: Escalation, reaps: bool) -> io::Result<Option<ExitStatus>> {
        R::check()?;
        let mut leader = self.group.subject();
        let mut ending = self.group.begin_to_end(&mut leader, escalation, reaps)?;
        exit::run(&mut ending, &mut leader, self.leader.exit()).await?;
        Ok(ending.status())
    }
}

impl<R: Reactor> Guarded for AsyncProcessGroup<R> {}

impl<R: Reactor> kill_on_drop::sealed::Sealed for AsyncProcessGroup<R> {
    fn target(&self) -> Target {
        Target::new_async(self.group.leader(), Some(&self.group))
    }
}
