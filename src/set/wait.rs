//! Waiting for the next exit of a set.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::slots::SlotKey;
use super::{Entry, WaitKey, WaitSet};
use crate::sys;
use crate::wait::Timeout;
use crate::PidHandle;

/// A process of a [`WaitSet`] that has exited, with all that was inserted.
///
/// From [`WaitSet::wait`] and [`WaitSet::wait_exited`]; their examples show it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exited<T> {
    /// The key that [`WaitSet::insert`] returned. It names nothing any more.
    pub key: WaitKey,
    /// The handle. After [`WaitSet::wait`] it is done, if the process was a child that nothing else
    /// reaped. After [`WaitSet::wait_exited`] it is as it was.
    pub handle: PidHandle,
    /// The value.
    pub value: T,
    /// How the process ended: the status of the child that [`WaitSet::wait`] reaped. Otherwise what
    /// [`PidHandle::exit_status`] returned at that moment: `None` for a zombie, and if the kernel
    /// cannot tell, or not yet.
    pub status: Option<ExitStatus>,
}

/// Looks at an exit that may be reported. `None`: it cannot be reported yet. An error: no wait
/// through this handle gets a status.
type Look = fn(&PidHandle) -> io::Result<Option<Option<ExitStatus>>>;

impl<T> WaitSet<T> {
    /// Waits for the next exit, reaps the process if it is a child, and takes its entry out. `None`:
    /// the set is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, "true")?;
    /// set.insert(PidHandle::spawn(&mut Command::new("false"))?.handle, "false")?;
    /// while let Some(exited) = set.wait()? {
    ///     println!("{}: {:?}", exited.value, exited.status);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Only those of `epoll_wait`, which should not happen. Nothing is lost.
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "waitid")]
    pub fn wait(&mut self) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::Infinite, try_reap)
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout`. `None`: the set is empty, or the
    /// time has passed, and never earlier.
    ///
    /// Zero never blocks; a time too long for the clock is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{KillOnDrop, PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut set = WaitSet::new()?;
    /// let key = set.insert(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle, ())?;
    /// assert!(set.wait_timeout(Duration::from_millis(10))?.is_none());
    /// # set.remove(key).map(|(child, ())| KillOnDrop::new(child));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "waitid")]
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::after(timeout), try_reap)
    }

    /// Waits for the next exit and takes its entry out. It reaps nothing. `None`: the set is empty.
    ///
    /// The handle is live, and the child is a zombie. So the caller can still ask for its usage, and
    /// end its process group, whose number cannot be reused before the leader is reaped. Then reap
    /// the child through the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, "true")?;
    /// while let Some(exited) = set.wait_exited()? {
    ///     let (status, usage) = exited.handle.wait_usage()?;
    ///     println!("{}: {status}, {:?} of CPU time", exited.value, usage.user_time);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    #[doc(alias = "WNOWAIT")]
    pub fn wait_exited(&mut self) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::Infinite, peek)
    }

    /// Waits as [`wait_exited`](Self::wait_exited) does, for at most `timeout`. `None`: the set is
    /// empty, or the time has passed, and never earlier.
    ///
    /// Zero never blocks; a time too long for the clock is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, ())?;
    /// if let Some(exited) = set.wait_exited_timeout(Duration::from_secs(60))? {
    ///     assert!(exited.handle.wait()?.success());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    pub fn wait_exited_timeout(&mut self, timeout: Duration) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::after(timeout), peek)
    }

    fn next(&mut self, timeout: Timeout, look: Look) -> io::Result<Option<Exited<T>>> {
        let deadline = timeout.deadline();
        self.renew_if_forked()?;
        for round in 0_u64.. {
            while let Some(slot) = self.poller.next() {
                if let Some(exited) = self.report(slot, look) {
                    return Ok(Some(exited));
                }
            }
            // An entry that cannot be reported is handed out twice at once; after that the deadline
            // counts, even if more such entries come.
            let is_late = round > 1 && deadline.is_some_and(|at| sys::now() >= at);
            if self.is_empty() || is_late || !self.poller.fetch(deadline)? {
                break;
            }
        }
        Ok(None)
    }

    /// `None`: the entry was removed meanwhile, or its exit cannot be reported yet.
    fn report(&mut self, slot: SlotKey, look: Look) -> Option<Exited<T>> {
        let entry = self.entries.get_mut(slot)?;
        let status = match look(&entry.handle) {
            Ok(Some(status)) => status,
            // Waited for, released, reaped by other code, or a non-child. The second look at the
            // descriptor is for one of a non-child that was readable too early: see `ExitFd`.
            Err(_) if sys::is_readable(&entry.exit) != Ok(false) => entry.handle.exit_status(),
            // A tracer holds the zombie, or the descriptor was readable too early.
            Ok(None) | Err(_) => {
                if !std::mem::replace(&mut entry.is_quiet, true) {
                    self.poller.quieten(&entry.exit, slot);
                }
                return None;
            }
        };
        let Entry { handle, value, .. } = self.take(slot)?;
        Some(Exited {
            key: self.key(slot),
            handle,
            value,
            status,
        })
    }
}

fn try_reap(handle: &PidHandle) -> io::Result<Option<Option<ExitStatus>>> {
    Ok(handle.try_wait()?.map(Some))
}

fn peek(handle: &PidHandle) -> io::Result<Option<Option<ExitStatus>>> {
    Ok(handle.is_waitable()?.then(|| handle.noted_status()))
}
