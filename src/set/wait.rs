// Tests: tests/it/set.rs, tests/it/set/, tests/contract/others.rs

//! Waiting for the next exit of a set.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::slots::SlotKey;
use super::{WaitKey, WaitSet};
use crate::engine::Timeout;
use crate::errno::is_final;
use crate::sys;
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
    /// # Errors
    ///
    /// In a forked process, EMFILE, ENFILE, ENOMEM, ENOSPC or EAGAIN: the set needs a new epoll instance
    /// there, and new watcher threads. Otherwise no error is expected. An error loses no exit.
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
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{KillOnDrop, PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut set = WaitSet::new()?;
    /// let key = set.insert(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle, ())?;
    /// assert!(set.wait_timeout(Duration::from_millis(10))?.is_none());
    /// # set.remove(key).map(|(child, ())| KillOnDrop::new(child));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "waitid")]
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::after(timeout), try_reap)
    }

    /// Waits for the next exit, reaps the process if it is a child, and removes its entry. Returns
    /// `None` if the set is empty, or once `deadline` has passed.
    ///
    /// Like [`wait_timeout`](Self::wait_timeout). With a deadline in the past it never blocks.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut set = WaitSet::new()?;
    /// for code in ["exit 1", "exit 2"] {
    ///     set.insert(PidHandle::spawn(Command::new("sh").args(["-c", code]))?.handle, code)?;
    /// }
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// while let Some(exited) = set.wait_deadline(deadline)? {
    ///     println!("{}: {:?}", exited.value, exited.status);
    /// }
    /// assert!(set.is_empty(), "the deadline has passed");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "epoll_wait")]
    #[doc(alias = "waitid")]
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::until(deadline), try_reap)
    }

    /// Waits for the next exit and removes its entry, without reaping. Returns `None` if the set is
    /// empty.
    ///
    /// The handle is still live, and a child is a zombie. So you can get its usage, or end its process
    /// group, whose number cannot be reused before the leader is reaped. Then reap the child through
    /// the handle.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
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
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, ())?;
    /// if let Some(exited) = set.wait_exited_timeout(Duration::from_secs(60))? {
    ///     assert!(exited.handle.wait()?.success());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_exited_timeout(&mut self, timeout: Duration) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::after(timeout), peek)
    }

    /// Waits for the next exit and removes its entry, without reaping. Returns `None` if the set is
    /// empty, or once `deadline` has passed.
    ///
    /// Like [`wait_exited`](Self::wait_exited). With a deadline in the past it never blocks.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, ())?;
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// if let Some(exited) = set.wait_exited_deadline(deadline)? {
    ///     assert!(exited.handle.wait()?.success());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "WNOWAIT")]
    pub fn wait_exited_deadline(&mut self, deadline: Instant) -> io::Result<Option<Exited<T>>> {
        self.next(Timeout::until(deadline), peek)
    }

    fn next(&mut self, timeout: Timeout, check: Check) -> io::Result<Option<Exited<T>>> {
        let deadline = timeout.deadline();
        self.renew_if_forked()?;
        for round in 0_u64.. {
            while let Some(key) = self.events.next() {
                if let Some(exited) = self.report(SlotKey::from_bits(key), check)? {
                    return Ok(Some(exited));
                }
            }
            // An entry that cannot be reported is handed out twice in a row. After two rounds the
            // deadline counts, even if more such entries follow.
            let is_late = round > 1 && deadline.is_some_and(|at| sys::now() >= at);
            if self.is_empty() || is_late || !self.poller.wait(&mut self.events, deadline)? {
                break;
            }
        }
        Ok(None)
    }

    /// `None`: the entry was removed meanwhile, or its exit cannot be reported yet. An error may pass, so the
    /// entry stays and is looked at again in the next call.
    fn report(&mut self, slot: SlotKey, check: Check) -> io::Result<Option<Exited<T>>> {
        let Some(entry) = self.entries.get_mut(slot) else {
            return Ok(None);
        };
        let status = match check(&entry.handle) {
            Ok(Some(status)) => status,
            Err(error) if !is_final(&error) => return Err(error),
            // Waited for, released, reaped by other code, or a non-child. The descriptor of a
            // non-child can be readable too early, see `ExitFd`: hence the second check.
            Err(_) if sys::is_readable(&entry.exit) != Ok(false) => entry.handle.exit_status(),
            // A tracer holds the zombie, or the descriptor was readable too early.
            Ok(None) | Err(_) => {
                if !std::mem::replace(&mut entry.is_quiet, true) {
                    self.poller.quieten(&entry.exit, slot.to_bits());
                }
                return Ok(None);
            }
        };
        let key = self.key(slot);
        Ok(self.take(slot).map(|entry| Exited {
            key,
            handle: entry.handle,
            value: entry.value,
            status,
        }))
    }
}

fn try_reap(handle: &PidHandle) -> io::Result<Option<Option<ExitStatus>>> {
    Ok(handle.try_wait()?.map(Some))
}

fn peek(handle: &PidHandle) -> io::Result<Option<Option<ExitStatus>>> {
    Ok(handle.is_waitable()?.then(|| handle.noted_status()))
}
