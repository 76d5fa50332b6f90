// Tests: tests/it/child.rs, tests/it/timeout.rs, tests/it/terminate.rs, tests/contract/child.rs

//! `ChildExt`: a thin layer over the wait engine. `child/reap.rs` describes how a `Child` is reaped.

mod reap;

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::c_int;

use crate::capture::{Capture, CaptureError, Captured};
use crate::ending::Ending;
use crate::engine::{self, Subject, Timeout};
use crate::errno::is_denied;
use crate::escalation::Escalation;
use crate::exit::ResourceUsage;
use crate::handle::{HandleSubject, Spawned};
use crate::process_group::{leads_no_group, members};
use reap::{open_unreaped, ChildSubject};

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Child {}
}

/// Adds timeouts, signals and process groups to [`std::process::Child`].
///
/// Each method reaps through the `Child`, so it can be mixed with std's own methods: std's `wait` then
/// returns the same status again, and std's `kill` sends nothing. Once the child was reaped, by this
/// trait or by std, each wait and each signal fails with ECHILD ([`is_echild`](crate::is_echild)); the
/// platform notes list the exceptions.
///
/// The trait is sealed: `Child` is the only type that has it.
///
/// To use a child from several threads, use [`PidHandle::spawn`](crate::PidHandle::spawn), or
/// `Spawned::from(child)` for a `Child` that other code spawned.
///
/// # Examples
///
/// ```
/// use pidwait::ChildExt;
/// use std::process::Command;
///
/// let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
/// assert_eq!(child.pidfd_wait()?.code(), Some(3));
/// assert_eq!(child.wait()?.code(), Some(3)); // std has the status, too.
/// assert!(pidwait::is_echild(&child.pidfd_wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Platform notes
///
/// std's `Child` identifies the process only by its PID. Once it was reaped, that PID can be given to
/// *another child of this process*, and the two cannot be told apart. If code other than this trait and
/// std reaped the child, a wait returns the status of the other child. Even if std reaped it, a method
/// that signals, or ends a process group, reaches the other child. A [`PidHandle`](crate::PidHandle)
/// tells them apart.
pub trait ChildExt: sealed::Sealed {
    /// Waits for the child to exit and reaps it.
    ///
    /// It closes the child's standard input first, as std's `wait` does. Otherwise a child that reads
    /// its input to the end would never exit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// assert!(Command::new("true").spawn()?.pidfd_wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the child was reaped already, or its status was thrown away because SIGCHLD is
    ///   ignored.
    ///
    /// # Platform notes
    ///
    /// It blocks in [waitid(2)] with WNOWAIT, and lets std reap with [waitpid(2)].
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [waitpid(2)]: https://man7.org/linux/man-pages/man2/waitpid.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    fn pidfd_wait(&mut self) -> io::Result<ExitStatus>;

    /// Reaps the child if it has exited, without blocking. Returns `None` while it runs or is stopped.
    ///
    /// The child's standard input stays open, as with std's `try_wait`. So a child that reads its input
    /// to the end does not exit before you drop `stdin`. Nor does a child that is blocked because its
    /// output pipe is full: read the pipe, or use
    /// [`pidfd_output_timeout`](Self::pidfd_output_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.pidfd_try_wait()?.is_none());
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    fn pidfd_try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit and reaps it. Returns `None` once `timeout` has passed, and never
    /// earlier.
    ///
    /// A timeout of zero is [`pidfd_try_wait`](Self::pidfd_try_wait). One that is too long for the clock,
    /// such as [`Duration::MAX`], is no limit. The child's standard input stays open: see
    /// [`pidfd_try_wait`](Self::pidfd_try_wait) for children that never exit then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// if child.pidfd_wait_timeout(Duration::from_millis(10))?.is_none() {
    ///     child.kill()?;
    ///     child.wait()?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
    ///
    /// # Platform notes
    ///
    /// [poll(2)] on a pidfd. Without pidfds it checks repeatedly, and starts no thread. It then notices
    /// the exit up to 1 ms late, or up to a twentieth of the time waited if that is more, but never more
    /// than 50 ms late.
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    fn pidfd_wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit and reaps it. Returns `None` once `deadline` has passed.
    ///
    /// Like [`pidfd_wait_timeout`](Self::pidfd_wait_timeout). With a deadline in the past it checks once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// assert!(Command::new("true").spawn()?.pidfd_wait_deadline(deadline)?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
    #[doc(alias = "waitid")]
    #[doc(alias = "waitpid")]
    fn pidfd_wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit, reaps it, and also returns the resources that it used.
    ///
    /// Like [`pidfd_wait`](Self::pidfd_wait), it closes the child's standard input first.
    ///
    /// # Errors
    ///
    /// - Those of [`pidfd_wait`](Self::pidfd_wait).
    /// - [`Unsupported`](io::ErrorKind::Unsupported): on other systems than Linux. Nothing is reaped or
    ///   closed. Use [`PidHandle::wait_usage`](crate::PidHandle::wait_usage) there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// # #[cfg(target_os = "linux")]
    /// # {
    /// let (status, usage) = Command::new("true").spawn()?.pidfd_wait_usage()?;
    /// assert!(status.success());
    /// assert!(usage.max_rss > 4096);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "wait4")]
    #[doc(alias = "getrusage")]
    fn pidfd_wait_usage(&mut self) -> io::Result<(ExitStatus, ResourceUsage)>;

    /// Waits until the child has exited, and reaps nothing. Returns `false` once `timeout` has passed, and
    /// never earlier.
    ///
    /// A timeout of zero checks once. One that is too long for the clock is no limit.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("true").spawn()?;
    /// assert!(child.pidfd_wait_exited_timeout(Duration::from_secs(60))?);
    /// assert!(child.try_wait()?.is_some()); // It was not reaped before.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// Those of [`pidfd_wait_timeout`](Self::pidfd_wait_timeout).
    #[doc(alias = "WNOWAIT")]
    fn pidfd_wait_exited_timeout(&mut self, timeout: Duration) -> io::Result<bool>;

    /// Sends a signal to the child.
    ///
    /// A zombie can be signalled, without effect. Signal 0 only checks whether the child can be signalled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.pidfd_signal(15)?; // SIGTERM
    /// assert!(!child.pidfd_wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the child was reaped already.
    /// - EINVAL: there is no such signal.
    /// - EPERM: no permission, because the child now runs as another user.
    ///
    /// # Platform notes
    ///
    /// [pidfd_send_signal(2)], or [kill(2)] without pidfds.
    ///
    /// If the child was reaped, and its PID now belongs to *another child of this process*, that child
    /// is signalled: see [`ChildExt`](Self#platform-notes).
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    #[doc(alias = "kill")]
    #[doc(alias = "pidfd_send_signal")]
    fn pidfd_signal(&self, signal: c_int) -> io::Result<()>;

    /// Ends the child and reaps it: sends the signals of an [`Escalation`], and SIGKILL at last.
    ///
    /// Takes an `Escalation`, or a [`Duration`]: SIGTERM with that grace period, then SIGKILL. Like
    /// [`PidHandle::terminate`](crate::PidHandle::terminate), but it fails with ECHILD if the child was
    /// waited for before. The child's standard input stays open.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// assert_eq!(child.pidfd_terminate(Duration::from_secs(5))?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait) and [`pidfd_signal`](Self::pidfd_signal).
    #[doc(alias = "kill")]
    fn pidfd_terminate(&mut self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus>;

    /// Sends a signal to every process of the group that the child leads.
    ///
    /// Like [`ProcessGroup::signal`](crate::ProcessGroup::signal).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    ///
    /// let mut command = Command::new("sh");
    /// let mut child = command.args(["-c", "sleep 60 & sleep 60"]).process_group(0).spawn()?;
    /// child.pidfd_signal_process_group(15)?; // SIGTERM
    /// assert!(!child.pidfd_wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the child leads no group. The text names it. Nothing
    ///   is sent.
    /// - ECHILD: the child was reaped.
    /// - EINVAL: there is no such signal.
    /// - EPERM: no process of the group may be signalled.
    ///
    /// # Platform notes
    ///
    /// If the child was reaped, and its PID now belongs to *another child of this process* that leads
    /// a group, that group is signalled: see [`ChildExt`](Self#platform-notes).
    #[doc(alias = "killpg")]
    fn pidfd_signal_process_group(&self, signal: c_int) -> io::Result<()>;

    /// Ends all processes of the group that the child leads, and reaps the child last.
    ///
    /// Like [`ProcessGroup::terminate`](crate::ProcessGroup::terminate): every process of the group gets
    /// the signals of the [`Escalation`]. The child's standard input stays open.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// use std::os::unix::process::CommandExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut command = Command::new("sh");
    /// let mut child = command.args(["-c", "sleep 60 & sleep 60"]).process_group(0).spawn()?;
    /// let status = child.pidfd_terminate_process_group(Duration::from_secs(5))?;
    /// assert!(!status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput): the child leads no group. The text names it. Nothing
    ///   is sent.
    /// - Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate).
    ///
    /// # Platform notes
    ///
    /// Those of [`pidfd_signal_process_group`](Self::pidfd_signal_process_group), and of
    /// [`ProcessGroup`](crate::ProcessGroup#platform-notes).
    #[doc(alias = "killpg")]
    fn pidfd_terminate_process_group(
        &mut self,
        escalation: impl Into<Escalation>,
    ) -> io::Result<ExitStatus>;

    /// Reads the child's standard output and error until it exits, and reaps it, within `timeout`.
    ///
    /// It is std's `wait_with_output` with a timeout: it closes the child's standard input first, and
    /// reads the streams that are piped. If the time runs out, [`stopped_by`](Captured::stopped_by) is
    /// set, the child runs on with its pipes, and a further call continues where this one stopped. If
    /// another process still has a pipe open when the child has exited, reading continues for at
    /// most 500 ms, and then [`leaked`](Captured::leaked) is set.
    ///
    /// It is short for `Capture::new().timeout(timeout).run(&mut child)`. [`Capture`] can also spawn the
    /// command with all its pipes, write input, limit the number of bytes, pass output on as it arrives,
    /// and end a child that takes too long.
    ///
    /// # Examples
    ///
    /// ```
    /// use pidwait::ChildExt;
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("echo").arg("ready").stdout(Stdio::piped()).spawn()?;
    /// let captured = child.pidfd_output_timeout(Duration::from_secs(60))?;
    /// assert!(captured.status.is_some_and(|status| status.success()));
    /// assert_eq!(captured.stdout, b"ready\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Capture::run`]. The error contains the bytes that were read.
    #[doc(alias = "wait_with_output")]
    fn pidfd_output_timeout(&mut self, timeout: Duration) -> Result<Captured, CaptureError>;

    /// Drops the child and its pipes. Neither kills nor reaps it.
    ///
    /// The child runs on. Once it has exited, it stays a zombie until this process ends.
    /// [`pidfd_reap_in_background`](Self::pidfd_reap_in_background) leaves no zombie.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// Command::new("true").spawn()?.pidfd_release()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It always returns `Ok`, like [`PidHandle::release`](crate::PidHandle::release).
    fn pidfd_release(self) -> io::Result<()>;

    /// Drops the child and its pipes. A background thread reaps it when it exits.
    ///
    /// Like [`PidHandle::reap_in_background`](crate::PidHandle::reap_in_background). The child runs on.
    /// Take pipes that you still need out of the `Child` first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// // No zombie is left, and there is no handle to keep.
    /// Command::new("sleep").arg("0.01").spawn()?.pidfd_reap_in_background();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_reap_in_background(self);
}

impl ChildExt for Child {
    fn pidfd_wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        engine::reap_unlimited(&mut ChildSubject::new(self))
    }

    fn pidfd_try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::Now)
    }

    fn pidfd_wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::after(timeout))
    }

    fn pidfd_wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::until(deadline))
    }

    fn pidfd_wait_usage(&mut self) -> io::Result<(ExitStatus, ResourceUsage)> {
        let stdin = self.stdin.take();
        let mut child = ChildSubject::with_usage(self)?;
        drop(stdin);
        let status = engine::reap_unlimited(&mut child)?;
        Ok((status, child.usage()))
    }

    fn pidfd_wait_exited_timeout(&mut self, timeout: Duration) -> io::Result<bool> {
        let timeout = Timeout::after(timeout);
        let mut child = ChildSubject::new(self);
        child.open()?;
        engine::wait_exited(&mut child, timeout)
    }

    fn pidfd_signal(&self, signal: c_int) -> io::Result<()> {
        open_unreaped(self)?.signal(signal)
    }

    fn pidfd_terminate(&mut self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut child = ChildSubject::new(self);
        match child.try_reap()? {
            Some(status) => Ok(status),
            None => Ending::reaping(escalation).run(&mut child),
        }
    }

    fn pidfd_signal_process_group(&self, signal: c_int) -> io::Result<()> {
        let leader = open_unreaped(self)?;
        let mut leader = HandleSubject::new(&leader);
        check_leads(&mut leader)?;
        members::signal_group(&mut leader, signal)
    }

    fn pidfd_terminate_process_group(
        &mut self,
        escalation: impl Into<Escalation>,
    ) -> io::Result<ExitStatus> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut leader = ChildSubject::new(self);
        leader.open()?;
        check_leads(&mut leader)?;
        Ending::of_group(&mut leader, escalation, true).run(&mut leader)
    }

    fn pidfd_output_timeout(&mut self, timeout: Duration) -> Result<Captured, CaptureError> {
        Capture::new().timeout(timeout).run(self)
    }

    fn pidfd_release(self) -> io::Result<()> {
        Ok(())
    }

    fn pidfd_reap_in_background(self) {
        Spawned::from(self).handle.reap_in_background();
    }
}

fn reap(child: &mut Child, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
    engine::reap(&mut ChildSubject::new(child), timeout)
}

/// Before the group of a child is named.
fn check_leads(leader: &mut impl Subject) -> io::Result<()> {
    match leader.signal_group(0) {
        Err(Errno::ESRCH) => Err(leads_no_group(leader.pid().unsigned_abs())),
        Err(errno) if !is_denied(errno) => Err(errno.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
