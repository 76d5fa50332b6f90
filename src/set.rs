//! `WaitSet`: the first of many processes to exit, in one call.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "set/epoll.rs")]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "set/poll.rs"
)]
mod poller;
mod slots;

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::ExitStatus;
use std::time::Duration;

use crate::handle::ExitFd;
use crate::wait::Timeout;
use crate::PidHandle;

use poller::Poller;
use slots::Slots;
pub use slots::WaitKey;

/// A set of processes, each with a value of yours, that says which of them exits next.
///
/// For supervisors, test runners and build tools: one call waits for thousands. Children are
/// reaped as they are reported; other processes are only reported. Handles of both backends can be
/// mixed.
///
/// Every exit is reported exactly once, also of a handle that was waited for, released or killed
/// through [`get`](Self::get) or [`iter`](Self::iter), and of a process whose status somebody else
/// took. Dropping the set drops the handles: nothing is killed or reaped. A zombie that a tracer
/// holds is reported once the tracer lets go.
///
/// # Platform notes
///
/// [epoll(7)] on Linux, `poll` elsewhere. Each handle of [`Backend::Waitpid`] needs its watcher
/// thread, see [`PidHandle::exit_fd`]; with thousands of them each further `fork` takes longer, so
/// spawn first and insert then.
///
/// [`Backend::Waitpid`]: crate::Backend::Waitpid
/// [epoll(7)]: https://man7.org/linux/man-pages/man7/epoll.7.html
///
/// ```
/// use pidwait::{PidHandle, WaitSet};
/// use std::process::Command;
///
/// let mut set = WaitSet::new()?;
/// for code in [1, 2, 3] {
///     let child = PidHandle::spawn(Command::new("sh").args(["-c", &format!("exit {code}")]))?;
///     set.insert(child.handle, code)?;
/// }
/// while let Some(exited) = set.wait()? {
///     assert_eq!(exited.status.and_then(|status| status.code()), Some(exited.value));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct WaitSet<T> {
    poller: Poller,
    entries: Slots<Entry<T>>,
}

struct Entry<T> {
    handle: PidHandle,
    value: T,
    /// The set's own, so that the poller is told of its going whatever becomes of the handle.
    exit: ExitFd,
}

/// A process of a [`WaitSet`] that has exited, and all that was put in with it.
#[derive(Debug)]
pub struct Exited<T> {
    /// The key that [`WaitSet::insert`] gave for it; it reaches nothing any more.
    pub key: WaitKey,
    /// Its handle: done, if it was a child and nobody else reaped it.
    pub handle: PidHandle,
    /// The value that was put in with it.
    pub value: T,
    /// How it ended: the status of the child that was reaped. For a process that is no child, or
    /// whose status somebody else took, what [`PidHandle::exit_status`] knows at that moment:
    /// `None` where the kernel cannot say, or cannot say yet.
    pub status: Option<ExitStatus>,
}

/// A handle that could not be taken up, with the reason, and all that was to go with it.
///
/// It turns into its [`io::Error`] by `?`.
pub struct InsertError<T = ()> {
    /// Why not.
    pub error: io::Error,
    /// The handle, as it was.
    pub handle: PidHandle,
    /// The value, as it was.
    pub value: T,
}

impl<T> WaitSet<T> {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE, ENOMEM: it could not have its own descriptor.
    ///
    /// ```
    /// let mut set = pidwait::WaitSet::<()>::new()?;
    /// assert!(set.wait()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            entries: Slots::new(),
        })
    }

    /// Puts a process in, with a value that comes out with it.
    ///
    /// If it has exited already, the next wait may report it.
    ///
    /// # Errors
    ///
    /// Handle and value come back in each case:
    ///
    /// - ECHILD: the handle is done. EINVAL: it is released.
    /// - ENOSPC, ENOMEM: the system's bounds for `epoll` are reached.
    /// - Those of [`PidHandle::exit_fd`].
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// let nobody = PidHandle::open(i32::MAX as u32)?;
    /// let refused = set.insert(nobody, "its name").unwrap_err();
    /// assert!(pidwait::is_echild(&refused.error));
    /// assert_eq!(refused.value, "its name");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn insert(&mut self, handle: PidHandle, value: T) -> Result<WaitKey, InsertError<T>> {
        let key = self.entries.next_key();
        let exit = match handle.exit_fd() {
            Ok(exit) => exit,
            Err(error) => {
                return Err(InsertError {
                    error,
                    handle,
                    value,
                })
            }
        };
        if let Err(errno) = self.poller.add(&exit, key) {
            let error = errno.into();
            return Err(InsertError {
                error,
                handle,
                value,
            });
        }
        self.entries.insert(
            key,
            Entry {
                handle,
                value,
                exit,
            },
        );
        Ok(key)
    }

    /// The handle and the value of a process that is in the set.
    pub fn get(&self, key: WaitKey) -> Option<(&PidHandle, &T)> {
        let entry = self.entries.get(key)?;
        Some((&entry.handle, &entry.value))
    }

    /// Takes a process out. An exit that was not reported yet is forgotten, by the set: the handle
    /// still has it.
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// let mut set = WaitSet::new()?;
    /// let key = set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, ())?;
    /// if let Some((child, ())) = set.remove(key) {
    ///     assert!(child.wait()?.success());
    /// }
    /// assert!(set.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove(&mut self, key: WaitKey) -> Option<(PidHandle, T)> {
        let entry = self.take(key)?;
        Some((entry.handle, entry.value))
    }

    /// Waits for the next exit, reaps it if it is a child's, and takes it out. `None`: the set is
    /// empty.
    ///
    /// # Errors
    ///
    /// Only what the kernel's `epoll_wait` may fail with, which it should not. Nothing is lost.
    pub fn wait(&mut self) -> io::Result<Option<Exited<T>>> {
        self.wait_within(Timeout::Infinite)
    }

    /// Waits as [`wait`](Self::wait) does, but no longer than `timeout`. `None`: the set is empty,
    /// at once, or that time has passed, and never earlier.
    ///
    /// Zero never blocks; a time too long for the clock is no limit.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](Self::wait).
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
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<Exited<T>>> {
        self.wait_within(Timeout::after(timeout))
    }

    /// How many processes are in the set.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All processes in the set, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (WaitKey, &PidHandle, &T)> {
        let entries = self.entries.iter();
        entries.map(|(key, entry)| (key, &entry.handle, &entry.value))
    }

    fn wait_within(&mut self, timeout: Timeout) -> io::Result<Option<Exited<T>>> {
        let deadline = timeout.deadline();
        while !self.is_empty() {
            let Some(key) = self.poller.next(deadline)? else {
                return Ok(None);
            };
            if let Some(exited) = self.report(key) {
                return Ok(Some(exited));
            }
        }
        Ok(None)
    }

    /// `None`: it was taken out since, or a tracer holds the zombie; the poller speaks up again
    /// when that lets go.
    fn report(&mut self, key: WaitKey) -> Option<Exited<T>> {
        let handle = &self.entries.get(key)?.handle;
        let status = match handle.try_wait() {
            Ok(status) => Some(status?),
            // Waited for, released, stolen, or no child of ours.
            Err(_) => handle.exit_status(),
        };
        let Entry { handle, value, .. } = self.take(key)?;
        Some(Exited {
            key,
            handle,
            value,
            status,
        })
    }

    fn take(&mut self, key: WaitKey) -> Option<Entry<T>> {
        let entry = self.entries.remove(key)?;
        self.poller.remove(&entry.exit, key);
        Some(entry)
    }
}

impl<T> fmt::Debug for WaitSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handles = self.iter().map(|(key, handle, _)| (key, handle));
        f.debug_map().entries(handles).finish()
    }
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError")
            .field("error", &self.error)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}", self.handle.id(), self.error)
    }
}

impl<T> Error for InsertError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

// An `io::Error` may hold any error, and so is neither; no method of an error changes it.
impl<T: UnwindSafe> UnwindSafe for InsertError<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for InsertError<T> {}

impl<T> From<InsertError<T>> for io::Error {
    fn from(refused: InsertError<T>) -> Self {
        refused.error
    }
}
