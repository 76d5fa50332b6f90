// Tests: tests/it/signal.rs, tests/it/terminate.rs, tests/contract/

//! Sending signals, and ending a process with them.

use std::io;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc::{c_int, SIGKILL};

use super::{with_process, HandleSubject, PidHandle};
use crate::background;
use crate::ending::Ending;
use crate::engine::{try_share, Subject};
use crate::escalation::Escalation;
use crate::sys;

impl PidHandle {
    /// Sends a signal to the process, child or not.
    ///
    /// A signal to a zombie succeeds without effect. Signal 0 sends nothing, and only checks whether the
    /// process exists and may be signalled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.signal(15)?; // SIGTERM
    /// assert_eq!(child.wait()?.signal(), Some(15));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the process was reaped, by any code, or did not exist when it was opened.
    /// - EINVAL: the handle is released, or there is no such signal.
    /// - EPERM: no permission to signal the process.
    /// - EMFILE, ENFILE, ENOMEM: [`Backend::Waitpid`](crate::Backend::Waitpid) had no descriptor or
    ///   memory to check that a non-child still has its PID. Nothing is sent.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [pidfd_send_signal(2)], which never signals another
    /// process.
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): [kill(2)], after a check that the PID still
    /// belongs to the process. That is safe for a child that is reaped only through this handle. A
    /// non-child, or a child that other code reaps, can be reaped between the check and the `kill`,
    /// and its PID be reused.
    ///
    /// [pidfd_send_signal(2)]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    /// [kill(2)]: https://man7.org/linux/man-pages/man2/kill.2.html
    #[doc(alias = "kill")]
    #[doc(alias = "pidfd_send_signal")]
    pub fn signal(&self, signal: c_int) -> io::Result<()> {
        let guard = self.lock();
        if guard.is_reaped_early() {
            // To the caller it is a zombie: nothing is sent.
            if sys::is_signal(signal) {
                return Ok(());
            }
            return Err(Errno::EINVAL.into());
        }
        Ok(with_process(guard, |process, seen| {
            process.signal(seen, signal)
        })?)
    }

    /// Kills the process with SIGKILL. Does not reap it: wait for it afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// # use std::process::Command;
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`signal`](Self::signal).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(SIGKILL)
    }

    /// Ends the child and reaps it: sends the signals of an [`Escalation`], and SIGKILL at last.
    ///
    /// Takes an [`Escalation`], or a [`Duration`](std::time::Duration): SIGTERM with that grace period, then
    /// SIGKILL. A child that has already exited is only reaped. If a wait through this handle or a clone
    /// gets the status, before the call or during it, the call returns that status. The status tells which
    /// signal ended the child, if any.
    ///
    /// If the handle is released during the call, the call continues.
    ///
    /// # Errors
    ///
    /// - EINVAL: a step of the escalation has signal 0 or an unknown one, or the handle is released.
    /// - ECHILD: the process is not a child, or it was reaped and its status is not known. Nothing is sent.
    /// - EPERM, EACCES: no permission to signal the child, which has not exited.
    /// - [`TimedOut`](io::ErrorKind::TimedOut): the
    ///   [`kill_timeout`](Escalation::kill_timeout) has passed. The child is not reaped, and the handle
    ///   stays live.
    /// - EMFILE, ENFILE, ENOMEM: as for [`signal`](Self::signal) and [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let status = child.terminate(Duration::from_secs(5))?;
    /// assert_eq!(status.signal(), Some(15)); // SIGTERM
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "kill")]
    pub fn terminate(&self, escalation: impl Into<Escalation>) -> io::Result<ExitStatus> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut subject = HandleSubject::new(self);
        if let Some(status) = self.status_to_terminate(&mut subject)? {
            return Ok(status);
        }
        Ending::reaping(escalation).run(&mut subject)
    }

    /// Ends the process, child or not, and leaves a child's zombie to a later wait.
    ///
    /// Like [`terminate`](Self::terminate), but it reaps nothing. For a non-child, such as the daemon of a
    /// pidfile, it returns once the process has exited. It succeeds at once if the process is gone.
    ///
    /// # Errors
    ///
    /// Those of [`terminate`](Self::terminate), except ECHILD.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// PidHandle::open(child.id())?.terminate_unreaped(Duration::from_secs(5))?;
    /// assert_eq!(child.wait()?.signal(), Some(15)); // Its `Child` reaps it.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Waitpid`](crate::Backend::Waitpid) a non-child is distinguished from a later process
    /// with its PID by its start time, as in [`signal`](Self::signal). It counts as running until its parent
    /// has reaped it.
    #[doc(alias = "kill")]
    pub fn terminate_unreaped(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut subject = HandleSubject::new(self);
        if self.is_over(&mut subject)? {
            return Ok(());
        }
        Ending::unreaped(escalation).run_unreaped(&mut subject)
    }

    /// Begins to end the process, child or not, and returns at once.
    ///
    /// It sends the first signal of the [`Escalation`], unless that
    /// [waits first](Escalation::wait_first). A background thread, one for the whole program, does the
    /// rest for any number of processes at the same time, and reaps a child. Waits, sets and futures get
    /// the status, and [`wait_shared`](Self::wait_shared) does in any case. So this ends 50 services within
    /// one grace period.
    ///
    /// If the program exits before the escalation is over, nothing more is sent.
    ///
    /// # Errors
    ///
    /// - EINVAL: a step of the escalation has signal 0 or an unknown one, or the handle is released.
    /// - EPERM, EACCES: no permission to signal the process.
    /// - EAGAIN: the thread cannot be started. Nothing is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::PidHandle;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut services = Vec::new();
    /// for _ in 0..3 {
    ///     services.push(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle);
    /// }
    /// for service in &services {
    ///     service.terminate_in_background(Duration::from_secs(5))?;
    /// }
    /// for service in &services {
    ///     assert!(!service.wait_shared()?.success());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "kill")]
    pub fn terminate_in_background(&self, escalation: impl Into<Escalation>) -> io::Result<()> {
        let escalation = escalation.into();
        escalation.check()?;
        let mut subject = HandleSubject::new(self);
        if self.is_over(&mut subject)? {
            self.reap_in_background(); // It may be a zombie.
            return Ok(());
        }
        let process = subject.take_process()?.clone();
        background::end_process(self, process, Ending::unreaped(escalation))
    }

    /// The status, if it is known already. Otherwise the subject has the process.
    pub(crate) fn status_to_terminate(
        &self,
        subject: &mut HandleSubject<'_>,
    ) -> io::Result<Option<ExitStatus>> {
        // There is nothing to end. If a release came after `take_process`, the status would be gone, and
        // the process that was taken would fail with ECHILD.
        if self.lock().is_reaped_early() {
            return try_share(subject);
        }
        match subject.take_process() {
            Ok(_) => try_share(subject),
            Err(Errno::ECHILD) => self.noted_status().map(Some).ok_or(Errno::ECHILD.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the process has exited already. Otherwise the subject has the process.
    pub(crate) fn is_over(&self, subject: &mut HandleSubject<'_>) -> io::Result<bool> {
        match subject.take_process() {
            Ok(_) => subject.has_exited(),
            Err(Errno::ECHILD) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}
