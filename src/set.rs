// Tests: tests/it/set.rs, tests/it/set/, tests/contract/others.rs, tests/many.rs

//! `WaitSet`: waits for the next of many processes to exit.

mod insert_error;
mod iter;
mod slots;
mod wait;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;

use crate::errno::is_final;
use crate::handle::ExitFd;
use crate::support::unsupported;
use crate::sys::{Events, Poller};
use crate::PidHandle;

pub use insert_error::InsertError;
pub use iter::{IntoIter, Iter, IterMut};
use slots::{SlotKey, Slots};
pub use wait::Exited;

/// A set of processes, each with a value, that reports which of them exits next.
///
/// For supervisors, test runners and build tools: one call waits for thousands of processes.
/// [`wait`](Self::wait) reaps the child that it reports. [`wait_exited`](Self::wait_exited) reaps
/// nothing, so that the caller can first get the usage or end the process group. A set can contain
/// non-children, and handles of both backends.
///
/// Each exit is reported exactly once, even if the handle or a clone of it was waited for, released
/// or killed in the meantime, or if other code reaped the child. A zombie that a tracer holds is
/// reported once the tracer releases it. Dropping the set drops its handles, and neither kills nor
/// reaps.
///
/// # Examples
///
/// ```
/// use pidwait::{PidHandle, WaitSet};
/// use std::process::Command;
///
/// let mut set = WaitSet::new()?;
/// for code in [1, 2, 3] {
///     let spawned = PidHandle::spawn(Command::new("sh").args(["-c", &format!("exit {code}")]))?;
///     set.insert(spawned.handle, code)?;
/// }
/// while let Some(exited) = set.wait()? {
///     assert_eq!(exited.status.and_then(|status| status.code()), Some(exited.value));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// To signal a process of the set from another thread, clone its handle before `insert`.
///
/// # Platform notes
///
/// [epoll(7)] on Linux, `poll` elsewhere. With [`Backend::Waitpid`] each handle needs a watcher
/// thread, see [`PidHandle::exit_fd`]. With thousands of threads each further `fork` takes longer: spawn
/// all commands first, then insert them.
///
/// A forked process has its own set with the same entries. The parent's children are non-children
/// there: their exits are reported, and the parent's set still reports and reaps them.
///
/// [`Backend::Waitpid`]: crate::Backend::Waitpid
/// [epoll(7)]: https://man7.org/linux/man-pages/man7/epoll.7.html
#[doc(alias = "epoll")]
pub struct WaitSet<T> {
    /// Unique among the sets of this program.
    id: u64,
    poller: Poller<ExitFd>,
    /// Entries that may have exited and were not looked at yet.
    events: Events,
    entries: Slots<Entry<T>>,
}

struct Entry<T> {
    handle: PidHandle,
    value: T,
    /// Kept here, so that the poller can remove it even if the handle is done or released.
    exit: ExitFd,
    /// The descriptor was readable, and the exit could not be reported: see [`Poller`].
    is_quiet: bool,
}

/// The key of an entry of a [`WaitSet`]. Returned by [`insert`](WaitSet::insert).
///
/// Once the entry is reported or removed, the key finds nothing: it is not reused for a later entry.
/// Nor does it find an entry of another set. The order of keys has no meaning; it allows them in
/// sorted collections.
///
/// # Examples
///
/// ```
/// use pidwait::{PidHandle, WaitSet};
///
/// let (mut set, mut other) = (WaitSet::new()?, WaitSet::<&str>::new()?);
/// let key = set.insert(PidHandle::open(std::process::id())?, "own")?;
/// assert!(other.get(key).is_none());
/// assert!(set.get(key).is_some());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitKey {
    set: u64,
    slot: SlotKey,
}

impl<T> WaitSet<T> {
    /// Makes an empty set.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE, ENOMEM: no descriptor is available for the set.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut set = pidwait::WaitSet::<()>::new()?;
    /// assert!(set.wait()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "epoll_create")]
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            id: next_set_id(),
            poller: Poller::new()?,
            events: Events::new(),
            entries: Slots::new(),
        })
    }

    /// Inserts a process, with a value that is returned with its exit.
    ///
    /// If the process has already exited, a later wait reports it.
    ///
    /// # Errors
    ///
    /// The [`InsertError`] contains the handle and the value.
    ///
    /// - ECHILD: the handle is done.
    /// - EINVAL: the handle is released.
    /// - EEXIST: a clone of the handle is in the set.
    /// - ENOSPC, ENOMEM: a limit of `epoll` is reached.
    /// - Those of [`PidHandle::exit_fd`], and in a forked process those of [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// let missing = PidHandle::open(i32::MAX as u32)?;
    /// let failed = set.insert(missing, "its name").unwrap_err();
    /// assert!(pidwait::is_echild(&failed.error));
    /// assert_eq!(failed.value, "its name");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "epoll_ctl")]
    pub fn insert(&mut self, handle: PidHandle, value: T) -> Result<WaitKey, InsertError<T>> {
        let slot = self.entries.next_key();
        let registered = self.renew_if_forked().and_then(|()| {
            handle.check_live()?;
            let exit = handle.exit_fd()?;
            self.poller.add(&exit, slot.to_bits())?;
            Ok(exit)
        });
        match registered {
            Ok(exit) => {
                let entry = Entry {
                    handle,
                    value,
                    exit,
                    is_quiet: false,
                };
                self.entries.insert(slot, entry);
                Ok(self.key(slot))
            }
            Err(error) => Err(InsertError {
                error,
                handle,
                value,
            }),
        }
    }

    /// Returns the handle and the value of an entry. `None` if it was reported or removed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// # use std::process::Command;
    /// let mut set = WaitSet::new()?;
    /// let child = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
    /// let key = set.insert(child, "sleep")?;
    /// if let Some((child, name)) = set.get(key) {
    ///     println!("{name}: kill {}", child.id());
    ///     child.kill()?;
    /// }
    /// assert!(set.wait()?.is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self, key: WaitKey) -> Option<(&PidHandle, &T)> {
        let entry = self.entries.get(self.slot(key)?)?;
        Some((&entry.handle, &entry.value))
    }

    /// Returns the handle and the value of an entry, whose value can be changed. `None` if it was
    /// reported or removed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// let key = set.insert(PidHandle::open(std::process::id())?, 0)?;
    /// if let Some((_, count)) = set.get_mut(key) {
    ///     *count += 1;
    /// }
    /// assert_eq!(set.get(key).map(|(_, count)| *count), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_mut(&mut self, key: WaitKey) -> Option<(&PidHandle, &mut T)> {
        let slot = self.slot(key)?;
        let entry = self.entries.get_mut(slot)?;
        Some((&entry.handle, &mut entry.value))
    }

    /// Removes an entry, and returns its handle and its value. `None` if it was reported or removed.
    ///
    /// If the process has exited, the set no longer reports that. A wait through the handle still
    /// returns the status.
    ///
    /// # Examples
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
        let entry = self.take(self.slot(key)?)?;
        Some((entry.handle, entry.value))
    }

    /// Returns a descriptor that is readable while there is an exit to report, for an event loop.
    ///
    /// Get it once, before the loop: each call duplicates the descriptor of the set, close-on-exec.
    /// Poll it for reading. When it is readable, call [`wait_timeout`](Self::wait_timeout) with zero,
    /// once or until it returns `None`: the descriptor stays readable while an exit is left. A poller
    /// that reports only changes, such as tokio's `AsyncFd`, needs the latter. Do not read from the
    /// descriptor or change it. Once the set is dropped, it has no meaning.
    ///
    /// It can be readable although no exit can be reported, once for each zombie that a tracer holds.
    /// The descriptor of an empty set is not readable, although a wait on an empty set returns at once.
    ///
    /// A forked process has its parent's descriptor until it calls a wait or `insert`. Call
    /// [`wait_timeout`](Self::wait_timeout) with zero there first, and get the descriptor again.
    ///
    /// # Errors
    ///
    /// - EMFILE: no descriptor is available.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) on systems without `epoll`. There, poll the
    ///   [`exit_fd`](PidHandle::exit_fd) of each handle.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    /// use pidwait::{PidHandle, WaitSet};
    /// use std::os::fd::AsFd;
    /// use std::process::Command;
    /// use std::time::Duration;
    ///
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::spawn(&mut Command::new("true"))?.handle, ())?;
    /// let ready = set.ready_fd()?;
    /// while !set.is_empty() {
    ///     // Together with the other descriptors of the loop.
    ///     let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
    ///     poll(&mut fds, PollTimeout::NONE)?;
    ///     while let Some(exited) = set.wait_timeout(Duration::ZERO)? {
    ///         assert!(exited.status.is_some());
    ///     }
    /// }
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready_fd(&self) -> io::Result<OwnedFd> {
        self.poller.ready_fd().map_err(|errno| match errno {
            Errno::ENOSYS => unsupported(
                "WaitSet::ready_fd needs epoll: poll PidHandle::exit_fd of each handle instead",
            ),
            errno => errno.into(),
        })
    }

    /// Returns how many processes are in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::open(std::process::id())?, ())?;
    /// assert_eq!((set.len(), set.is_empty()), (1, false));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the set is empty.
    ///
    /// # Examples
    ///
    /// See [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over all entries, in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// set.insert(PidHandle::open(std::process::id())?, "own")?;
    /// for (_key, handle, name) in &set {
    ///     assert_eq!((handle.id(), *name), (std::process::id(), "own"));
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Iterates over all entries, in no particular order. The values can be changed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pidwait::{PidHandle, WaitSet};
    /// let mut set = WaitSet::new()?;
    /// let key = set.insert(PidHandle::open(std::process::id())?, 0)?;
    /// for (_key, _handle, value) in &mut set {
    ///     *value += 1;
    /// }
    /// assert_eq!(set.get(key).map(|(_, value)| *value), Some(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut::new(self)
    }

    fn take(&mut self, slot: SlotKey) -> Option<Entry<T>> {
        let entry = self.entries.remove(slot)?;
        let key = slot.to_bits();
        self.poller.remove(&entry.exit, key, entry.is_quiet);
        Some(entry)
    }

    /// A forked process shares the poller's registrations with its parent. It must not remove entries
    /// from the parent's set, so it needs its own poller.
    fn renew_if_forked(&mut self) -> io::Result<()> {
        if self.poller.is_forked() {
            let poller = Poller::new()?;
            for (slot, entry) in self.entries.iter_mut() {
                // By PID it is notified by a thread of the parent, which may end first.
                match entry.handle.exit_fd() {
                    Ok(exit) => entry.exit = exit,
                    Err(error) if is_final(&error) => {}
                    Err(error) => return Err(error),
                }
                poller.add(&entry.exit, slot.to_bits())?;
                entry.is_quiet = false;
            }
            self.poller = poller;
            self.events = Events::new();
        }
        Ok(())
    }

    fn key(&self, slot: SlotKey) -> WaitKey {
        WaitKey { set: self.id, slot }
    }

    /// The slot of a key. `None` if the key is of another set.
    fn slot(&self, key: WaitKey) -> Option<SlotKey> {
        (key.set == self.id).then_some(key.slot)
    }
}

/// Not by a lock: another thread may hold it at a fork.
fn next_set_id() -> u64 {
    /// A number is used again after four billion sets.
    #[cfg(not(target_has_atomic = "64"))]
    use std::sync::atomic::AtomicU32 as Counter;
    #[cfg(target_has_atomic = "64")]
    use std::sync::atomic::AtomicU64 as Counter;

    static LAST: Counter = Counter::new(0);
    #[allow(clippy::useless_conversion)] // Not with 32 bits.
    LAST.fetch_add(1, Relaxed).into()
}

impl<T> fmt::Debug for WaitSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handles = self.iter().map(|(key, handle, _)| (key, handle));
        f.debug_map().entries(handles).finish()
    }
}
