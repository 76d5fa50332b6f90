//! `ChildExt`, and how to make a handle of a `Child`.
//!
//! std's `Child` remembers only the status that it reaped itself, and signals by pid until it has
//! one. So nothing here reaps behind its back: it looks without reaping, and lets `Child` reap.

mod reap;

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::libc::c_int;

use crate::output::{self, Captured};
use crate::wait::{self, Timeout, FIRST_SIGNAL};
use reap::ChildWait;
pub(crate) use reap::{open_child, ChildWait as ReapChild};

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Child {}
}

/// Waits and signals for [`std::process::Child`] that cannot hit another process.
///
/// Use it beside std's own methods as you like: each reaps through the `Child`, so that std's
/// `wait` gives the same status again, and std's `kill` stays harmless. What was reaped already,
/// by this trait, by std or by anybody else, is ECHILD here, always
/// ([`is_echild`](crate::is_echild)).
///
/// For waits by several threads, for more than one wait or signal, and for processes that are not
/// children, make a [`PidHandle`](crate::PidHandle), by
/// [`PidHandle::spawn`](crate::PidHandle::spawn) or `Spawned::from(child)`.
///
/// ```
/// use pidwait::ChildExt;
/// use std::process::Command;
///
/// let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
/// assert_eq!(child.pidfd_wait()?.code(), Some(3));
/// assert_eq!(child.wait()?.code(), Some(3)); // std knows it, too.
/// assert!(pidwait::is_echild(&child.pidfd_wait().unwrap_err()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ChildExt: sealed::Sealed {
    /// Waits for the child to exit, and reaps it.
    ///
    /// Closes the child's standard input first, as std's `wait` does, lest it wait for more.
    ///
    /// # Errors
    ///
    /// ECHILD: reaped already, by anyone; or its status was thrown away because SIGCHLD is
    /// ignored.
    ///
    /// # Platform notes
    ///
    /// [waitid(2)] with WNOWAIT, by descriptor where there are pidfds, then [waitpid(2)].
    ///
    /// [waitid(2)]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [waitpid(2)]: https://man7.org/linux/man-pages/man2/waitpid.2.html
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// assert!(Command::new("true").spawn()?.pidfd_wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_wait(&mut self) -> io::Result<ExitStatus>;

    /// Reaps the child if it has exited, and never blocks: `None` while it runs or is stopped.
    ///
    /// Leaves the child's standard input open, as std's `try_wait` does.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
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
    fn pidfd_try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit, but no longer than `timeout`: `None` once that has passed,
    /// and never earlier.
    ///
    /// Zero is [`pidfd_try_wait`](Self::pidfd_try_wait); a time too long for the clock, such as
    /// [`Duration::MAX`], is no limit. Leaves the child's standard input open.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
    ///
    /// # Platform notes
    ///
    /// [poll(2)] on a pidfd. Without pidfds it looks again and again, at first 1 ms and then up to
    /// 50 ms apart; it starts no thread.
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
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
    fn pidfd_wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>>;

    /// Waits for the child to exit, but no longer than until `deadline`.
    ///
    /// As [`pidfd_wait_timeout`](Self::pidfd_wait_timeout); a deadline in the past is one try.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait).
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
    fn pidfd_wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>>;

    /// Sends a signal to the child. A zombie can be signalled, to no effect; signal 0 only asks.
    ///
    /// # Errors
    ///
    /// - ECHILD: reaped already, by anyone.
    /// - EINVAL: there is no such signal.
    /// - EPERM: no permission: it has another user's rights now.
    ///
    /// # Platform notes
    ///
    /// The one thing that it cannot see: after std's own `wait` had the status, and when the pid
    /// has since been given to *another child of this process*, that child is signalled. Nothing
    /// in a shared `Child` tells; [`PidHandle::signal`](crate::PidHandle::signal) knows.
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.pidfd_signal(15)?; // SIGTERM
    /// assert!(!child.pidfd_wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_signal(&self, signal: c_int) -> io::Result<()>;

    /// Ends the child in good order, and reaps it: [`PidHandle::terminate`](crate::PidHandle::terminate).
    ///
    /// Leaves its standard input open.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait) and [`pidfd_signal`](Self::pidfd_signal).
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
    fn pidfd_terminate(&mut self, grace: Duration) -> io::Result<ExitStatus>;

    /// Reads what the child writes to its standard output and error until it exits, and reaps it;
    /// but no longer than `timeout`.
    ///
    /// As std's `wait_with_output`, it closes the child's standard input first, and takes what is
    /// piped: of a stream that is not, there are no bytes. It ends with the child. What the child
    /// wrote is all there, and a grandchild that still holds the pipes does not keep it. When the
    /// time runs out the child comes back, still running, with its pipes and with what was read;
    /// calling it again goes on from there.
    ///
    /// # Errors
    ///
    /// Those of [`pidfd_wait`](Self::pidfd_wait);
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory): the output does not fit into memory. The child
    /// is gone with them, as with `wait_with_output`.
    ///
    /// # Platform notes
    ///
    /// [poll(2)] over both pipes and a pidfd, and no thread. Without pidfds it looks for the exit
    /// again and again, at first 1 ms and then up to 50 ms apart.
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    ///
    /// ```
    /// use pidwait::{Captured, ChildExt};
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    ///
    /// let child = Command::new("sh")
    ///     .args(["-c", "echo ready; exec sleep 60"])
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// match child.pidfd_output_timeout(Duration::from_millis(500))? {
    ///     Captured::Exited(output) => println!("{}", output.status),
    ///     Captured::TimedOut(mut late) => {
    ///         assert_eq!(late.stdout, b"ready\n");
    ///         late.child.kill()?;
    ///         late.child.wait()?;
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_output_timeout(self, timeout: Duration) -> io::Result<Captured>;

    /// Lets go of the child and its pipes. It goes on, and reaps nothing: when it exits, it stays
    /// a zombie until this process ends.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// ```
    /// # use pidwait::ChildExt;
    /// # use std::process::Command;
    /// Command::new("true").spawn()?.pidfd_release()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn pidfd_release(self) -> io::Result<()>;
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

    fn pidfd_output_timeout(self, timeout: Duration) -> io::Result<Captured> {
        output::capture(self, Timeout::after(timeout))
    }

    fn pidfd_release(self) -> io::Result<()> {
        Ok(())
    }
}

fn reap(child: &mut Child, timeout: Timeout) -> io::Result<Option<ExitStatus>> {
    wait::reap(&mut ChildWait::new(child), timeout)
}
