//! Knowing that and how any process has exited, child or not, without reaping it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::{PidHandle, State};
use crate::backend::{ExitFd, Limit};

impl PidHandle {
    /// Whether the process, child or not, has exited. A zombie has; nothing is reaped.
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released. A handle that is done says `true`.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Waitpid`](crate::Backend::Waitpid) cannot see the zombie of somebody else's
    /// child, nor one that a tracer holds: there it is `true` only once that is reaped, and only
    /// if nobody was given the pid since.
    ///
    /// ```
    /// let me = pidwait::PidHandle::open(std::process::id())?;
    /// assert!(!me.has_exited()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn has_exited(&self) -> io::Result<bool> {
        self.exited_within(Limit::Try)
    }

    /// Waits until the process, child or not, has exited, and reaps nothing.
    ///
    /// Any number of threads may wait so for one process, and for a
    /// [`Child`](std::process::Child) that they share: whoever comes first then reaps it.
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released. A handle that is done answers at once.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): [poll(2)] on the descriptor.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): of a child by `waitid` with WNOWAIT; of
    /// another process by looking with `kill(pid, 0)`, at first 1 ms and then up to 50 ms apart,
    /// with the limits of [`has_exited`](Self::has_exited).
    ///
    /// [poll(2)]: https://man7.org/linux/man-pages/man2/poll.2.html
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let mut child = Command::new("true").spawn()?;
    /// PidHandle::open(child.id())?.wait_exited()?;
    /// assert!(child.try_wait()?.is_some()); // Not reaped before.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited(&self) -> io::Result<()> {
        self.exited_within(Limit::Never).map(drop)
    }

    /// Waits as [`wait_exited`](Self::wait_exited) does, but no longer than `timeout`: `false`
    /// once that has passed, and never earlier.
    ///
    /// Zero is [`has_exited`](Self::has_exited); a time too long for the clock is no limit.
    ///
    /// # Errors
    ///
    /// EINVAL: the handle is released.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let me = pidwait::PidHandle::open(std::process::id())?;
    /// assert!(!me.wait_exited_timeout(Duration::from_millis(10))?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.exited_within(Limit::after(timeout))
    }

    /// How the process ended, as far as this handle or the kernel knows; reaps nothing.
    ///
    /// It is the status that a wait of this handle got. Otherwise it is the kernel's record, which
    /// is there once anyone has reaped the process: so a status that another wait took, that was
    /// thrown away because SIGCHLD is ignored, or of a process that never was a child of ours, can
    /// still be had. `None` while it runs, while it is a zombie, after release, and where the
    /// kernel keeps no record.
    ///
    /// # Platform notes
    ///
    /// The record needs [`Backend::Pidfd`](crate::Backend::Pidfd) and Linux 6.15
    /// (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`), and a handle opened before the process was
    /// reaped.
    /// Waits hear of the end of a child a moment before the record is made; that moment is waited
    /// for here, so that a wait that answered ECHILD can always be followed by this.
    ///
    /// ```
    /// use pidwait::PidHandle;
    /// use std::process::Command;
    ///
    /// let child = PidHandle::from(Command::new("true").spawn()?);
    /// child.wait()?;
    /// assert!(child.exit_status().is_some_and(|status| status.success()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let state = self.lock();
        let process = match &*state {
            State::Live(process) => process.clone(),
            State::Kept(kept) => return Some(kept.status),
            State::Done(status) | State::Released(status) => return *status,
        };
        drop(state);
        process.exit_record()
    }

    /// A descriptor that becomes readable when the process, child or not, has exited, and stays
    /// so; for event loops of one's own.
    ///
    /// It stays open for as long as it lives, whatever becomes of the handle.
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done.
    /// - EINVAL: the handle is released.
    /// - EMFILE, ENFILE, ENOMEM, EAGAIN: [`Backend::Waitpid`](crate::Backend::Waitpid) could not
    ///   have its descriptors or its thread.
    ///
    /// # Platform notes
    ///
    /// [`Backend::Pidfd`](crate::Backend::Pidfd): the pidfd itself, at no cost.
    /// [`Backend::Waitpid`](crate::Backend::Waitpid): one end of a socket pair, and a watcher
    /// thread that has the other; it ends with the process, and for a process that is no child
    /// also when nobody holds an `ExitFd` any more. It knows of an exit what
    /// [`has_exited`](Self::has_exited) knows.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// let me = pidwait::PidHandle::open(std::process::id())?;
    /// let exit = me.exit_fd()?;
    /// println!("poll {:?} for POLLIN", exit.as_fd());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn exit_fd(&self) -> io::Result<ExitFd> {
        self.act(|kept| kept.process.exit_fd(), |process| process.exit_fd())
    }

    fn exited_within(&self, limit: Limit) -> io::Result<bool> {
        let state = self.lock();
        let process = match &*state {
            State::Live(process) => process.clone(),
            State::Kept(_) | State::Done(_) => return Ok(true),
            State::Released(_) => return Err(nix::errno::Errno::EINVAL.into()),
        };
        drop(state);
        let exited = match limit {
            Limit::Try => process.has_exited(),
            Limit::Until(deadline) => process.wait_exited(Some(deadline)),
            Limit::Never => process.wait_exited(None),
        };
        Ok(exited?)
    }
}
