// Tests: tests/it/set/insert_error.rs, tests/contract/others.rs

//! The error of `insert`, with what could not be inserted.

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::PidHandle;

/// The error of [`WaitSet::insert`](crate::WaitSet::insert), with the handle and the value that
/// could not be inserted.
///
/// `?` converts it into its [`io::Error`]. Its message contains that of the `io::Error`, so it has no
/// [`source`](Error::source), and an error report prints each message once.
///
/// # Examples
///
/// ```
/// use pidwait::{PidHandle, WaitSet};
///
/// let mut set = WaitSet::new()?;
/// let missing = PidHandle::open(i32::MAX as u32)?;
/// let failed = set.insert(missing, "value").unwrap_err();
/// assert!(pidwait::is_echild(&failed.error));
/// assert_eq!(failed.handle.id(), i32::MAX as u32);
/// assert_eq!(failed.value, "value");
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub struct InsertError<T> {
    /// Why the handle could not be inserted.
    pub error: io::Error,
    /// The handle, unchanged.
    pub handle: PidHandle,
    /// The value.
    pub value: T,
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
        let pid = self.handle.id();
        write!(f, "cannot insert process {pid}: {}", self.error)
    }
}

impl<T> Error for InsertError<T> {}

// `io::Error` does not implement these, because it may contain any error. The errors of this crate
// have no state that a panic could leave half changed.
impl<T: UnwindSafe> UnwindSafe for InsertError<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for InsertError<T> {}

impl<T> From<InsertError<T>> for io::Error {
    fn from(failed: InsertError<T>) -> Self {
        failed.error
    }
}
