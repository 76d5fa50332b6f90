// Tests: tests/it/set.rs, tests/it/set/exited.rs, tests/it/set/timeout.rs

//! Waiting for the next exit of a set.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::slots::SlotKey;
use super::{Entry, WaitKey, WaitSet};
use crate::sys;
use crate::wait::Timeout;
use crate::PidHandle;

/// A process of a [`WaitSet`] that has exited, with its handle and its value.
///
/// Returned by [`WaitSet::wait`] and [`WaitSet::wait_exited`]; see the examples there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exited<T> {
    /// The key that [`WaitSet::insert`] returned. It no longer refers to an entry.
    pub key: WaitKey,
    /// The handle that was inserted. [`WaitSet::wait`] reaps a child, so its handle is done.
    /// [`WaitSet::wait_exited`] leaves the handle as it was.
    pub handle: PidHandle,
    /// The value that was inserted.
    pub value: T,
    /// The status, if [`WaitSet::wait`] reaped the child. Otherwise what
    /// [`PidHandle::exit_status`] returned at that moment, such as `None` for a zombie, and for a reaped
    /// process of which the kernel has no record, or not yet.
    pub status: Option<ExitStatus>,
}

/// Checks whether an exit can be reported, and with which status. `None`: it cannot be reported yet.
/// An error: no wait through this handle returns a status.
type Check = fn(&PidHandle) -> io::Result<Option<Option<ExitStatus>>>;

impl<T> WaitSet<T> {
    /// Waits for the next exit, reaps the process if it is a child, and removes its entry. Returns
    /// `None` if the set is empty.
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
    /// In a forked process, EMFILE, ENFILE, ENOMEM, ENOSPC or EAGAIN: the set needs a new epoll instance
    /// there, and new watcher threads. Otherwise no error is expected. An error loses no exit.
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "waitid")]
    pub fn wait(&mut self) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::Infinite, try_reap)
    }

    /// Waits for the next exit, reaps the process if it is a child, and removes its entry. Returns
    /// `None` if the set is empty, or once `timeout` has passed, and never earlier.
    ///
    /// A timeout of zero never blocks. One that is too long for the clock is no limit.
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

    /// Waits for the next exit and removes its entry, without reaping. Returns `None` if the set is
    /// empty.
    ///
    /// The handle is still live, and a child is a zombie. So you can get its usage, or end its process
    /// group, whose number cannot be reused before the leader is reaped. Then reap the child through
    /// the handle.
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

    /// Waits for the next exit and removes its entry, without reaping. Returns `None` if the set is
    /// empty, or once `timeout` has passed, and never earlier.
    ///
    /// Like [`wait_exited`](Self::wait_exited). A timeout of zero never blocks. One that is too long for
    /// the clock is no limit.
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

    fn next(&mut self, timeout: Timeout, check: Check) -> io::Result<Option<Exited<T>>> {
        let deadline = timeout.deadline();
        self.renew_if_forked()?;
        for round in 0_u64.. {
            while let Some(slot) = self.poller.next() {
                if let Some(exited) = self.report(slot, check) {
                    return Ok(Some(exited));
                }
            }
            // An entry that cannot be reported is handed out twice in a row. After two rounds the
            // deadline counts, even if more such entries follow.
            let is_late = round > 1 && deadline.is_some_and(|at| sys::now() >= at);
            if self.is_empty() || is_late || !self.poller.fetch(deadline)? {
                break;
            }
        }
        Ok(None)
    }

    /// `None`: the entry was removed meanwhile, or its exit cannot be reported yet.
    fn report(&mut self, slot: SlotKey, check: Check) -> Option<Exited<T>> {
        let entry = self.entries.get_mut(slot)?;
        let status = match check(&entry.handle) {
            Ok(Some(status)) => status,
            // Waited for, released, reaped by other code, or a non-child. The descriptor of a
            // non-child can be readable too early, see `ExitFd`: hence the second check.
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
