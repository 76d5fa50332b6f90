//! `ChildExt`: a thin layer over the wait engine. `child/reap.rs` says how a `Child` is reaped.

mod leader;
mod piped;
mod reap;

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc::c_int;

use crate::capture::{Capture, CaptureError, Captured};
use crate::group::{self, Leader};
use crate::handle::Spawned;
use crate::wait::{self, Timeout, FIRST_SIGNAL};
use leader::ChildLeader;
use reap::{open_child, ChildWait};

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Child {}
}

/// Timeouts, signals and process groups for [`std::process::Child`].
///
/// Each method reaps through the `Child`, so it can be mixed with std's own methods: std's `wait` then
/// returns the same status again, and std's `kill` sends nothing. Once the child was reaped, by this
/// trait or by std, each method fails with ECHILD ([`is_echild`](crate::is_echild)); the platform
/// notes have the exceptions.
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
/// A `Child` has nothing but its PID. Once it was reaped, its PID can go to *another child of this
/// process*. If code other than this trait and std has reaped it, a wait returns the status of the
/// other child. Even if std has reaped it, a method that signals, or ends a process group, reaches
/// the other child. A [`PidHandle`](crate::PidHandle) tells the two apart.
pub trait ChildExt: sealed::Sealed {
    /// Waits for the child to exit, and reaps it.
    ///
    /// It closes the child's standard input first, as std's `wait` does, so that a child that reads until
    /// the end of its input can exit.
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
    /// ECHILD: the child was reaped already, or its status was thrown away because SIGCHLD is ignored.
    ///
    /// # Platform notes
    ///
    /// [waitid(2)] with WNOWAIT to peek and to block, and std's [waitpid(2)] to reap.
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [waitpid(2)]: https://man7.org/linux/man-pages/man2/waitpid.2.html
    fn pidfd_wait(&mut self) -> io::Result<ExitStatus>;

    /// Reaps the child if it has exited, and never blocks: `None` while it runs or is stopped.
    ///
    /// The child's standard input stays open, as with std's `try_wait`. Two kinds of children never exit
    /// then: one that reads until its input is closed, and one that blocks on a full output pipe.
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
    fn pidfd_try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit and reaps it, for at most `timeout`: `None` once that has passed, and
    /// never earlier.
    ///
    /// Zero is [`pidfd_try_wait`](Self::pidfd_try_wait); a time too long for the clock, such as
    /// [`Duration::MAX`], is no limit. The child's standard input stays open: see
    /// [`pidfd_try_wait`](Self::pidfd_try_wait) for what that means.
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
    /// [poll(2)] on a pidfd. Without pidfds it looks repeatedly, starts no thread, and is late by at most
    /// the larger of 1 ms and a twentieth of the time waited (50 ms at most).
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    fn pidfd_wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit and reaps it, at most until `deadline`.
    ///
    /// As [`pidfd_wait_timeout`](Self::pidfd_wait_timeout); a deadline in the past is one try.
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
    fn pidfd_wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>>;

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
    /// - EPERM: no permission, because the child runs as another user now.
    ///
    /// # Platform notes
    ///
    /// If std's own `wait` has the status already, and the PID now belongs to *another child of this
    /// process*, that child is signalled: see [`ChildExt`](Self#platform-notes).
    fn pidfd_signal(&self, signal: c_int) -> io::Result<()>;

    /// Terminates the child, and reaps it: SIGTERM, at most `grace` to exit, then SIGKILL.
    ///
    /// As [`PidHandle::terminate`](crate::PidHandle::terminate). The child's standard input stays open.
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
    fn pidfd_terminate(&mut self, grace: Duration) -> io::Result<ExitStatus>;

    /// Sends a signal to every process of the group that the child leads:
    /// [`ProcessGroup::signal`](crate::ProcessGroup::signal).
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
    /// - ESRCH: the child leads no group. Nothing is sent.
    /// - ECHILD: the child was reaped.
    /// - EINVAL: there is no such signal.
    /// - EPERM: no process of the group may be signalled.
    ///
    /// # Platform notes
    ///
    /// If std's own `wait` has the status already, and the PID now belongs to *another child of this
    /// process*, the group of that one is signalled, if it leads one. Nothing in a `Child` tells the
    /// two apart; a [`PidHandle`](crate::PidHandle) does.
    #[doc(alias = "killpg")]
    fn pidfd_signal_process_group(&self, signal: c_int) -> io::Result<()>;

    /// Terminates the whole group that the child leads, and reaps the child last:
    /// [`ProcessGroup::terminate`](crate::ProcessGroup::terminate).
    ///
    /// Every process of the group gets SIGTERM and at most `grace` to exit; then SIGKILL. The child's
    /// standard input stays open.
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
    /// Those of [`ProcessGroup::terminate`](crate::ProcessGroup::terminate).
    ///
    /// # Platform notes
    ///
    /// Those of [`pidfd_signal_process_group`](Self::pidfd_signal_process_group), and of
    /// [`ProcessGroup`](crate::ProcessGroup#platform-notes).
    fn pidfd_terminate_process_group(&mut self, grace: Duration) -> io::Result<ExitStatus>;

    /// Reads the child's standard output and error until it exits, and reaps it, within `timeout`.
    ///
    /// It is std's `wait_with_output` with a timeout: it closes the child's standard input first, and
    /// reads the streams that are piped. If the time runs out, the child runs on with its pipes, and
    /// [`timed_out`](Captured::timed_out) is set; a further call continues where this one stopped. If
    /// another process still has a pipe open when the child has exited, reading continues for at
    /// most 500 ms, and then [`leaked`](Captured::leaked) is set.
    ///
    /// It is `Capture::new().timeout(timeout).run(&mut child)`. [`Capture`] has more: a spawn that
    /// forgets no pipe, input, a limit of bytes, output as it arrives, and an end for a child that
    /// takes too long.
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
    /// Those of [`Capture::run`], each with the bytes that were read.
    #[doc(alias = "wait_with_output")]
    fn pidfd_output_timeout(&mut self, timeout: Duration) -> Result<Captured, CaptureError>;

    /// Drops the child and its pipes, and reaps nothing.
    ///
    /// The child runs on. When it has exited, it stays a zombie until this process ends;
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
    /// None.
    fn pidfd_release(self) -> io::Result<()>;

    /// Has the child reaped when it exits, by a thread of this crate:
    /// [`PidHandle::reap_in_background`](crate::PidHandle::reap_in_background).
    ///
    /// The child runs on. Its pipes are closed: take out those that are still needed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// // No zombie is left, and no variable to keep.
    /// Command::new("sleep").arg("0.01").spawn()?.pidfd_reap_in_background();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_reap_in_background(self);
}

impl ChildExt for Child {
    fn pidfd_wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        wait::reap_unlimited(&mut ChildWait::new(self))
    }

    fn pidfd_try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::Poll)
    }

    fn pidfd_wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::after(timeout))
    }

    fn pidfd_wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        reap(self, Timeout::At(deadline))
    }

    fn pidfd_signal(&self, signal: c_int) -> io::Result<()> {
        let (process, mut seen) = open_child(self)?;
        if process.pidfd().is_some() {
            // ECHILD: the process with this PID is no child of ours. By PID, `signal` peeks itself.
            process.peek(&mut seen)?;
        }
        Ok(process.signal(&mut seen, signal)?)
    }

    fn pidfd_terminate(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        wait::terminate(
            self,
            FIRST_SIGNAL,
            grace,
            |child, signal| child.pidfd_signal(signal),
            reap,
        )
    }

    fn pidfd_signal_process_group(&self, signal: c_int) -> io::Result<()> {
        let mut leader = ChildLeader::open(self)?;
        leader.check_waitable()?;
        group::signal_group(&mut leader, signal)
    }

    fn pidfd_terminate_process_group(&mut self, grace: Duration) -> io::Result<ExitStatus> {
        group::end(&mut ChildLeader::open(self)?, FIRST_SIGNAL, grace)?;
        wait::reap_unlimited(&mut ChildWait::new(self))
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
    wait::reap(&mut ChildWait::new(child), timeout)
}
