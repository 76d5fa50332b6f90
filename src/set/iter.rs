// Tests: tests/it/set/iter.rs

//! The iterators over the entries of a set.

use std::fmt;
use std::iter::FusedIterator;

use super::slots::{Occupied, Slot};
use super::{Entry, WaitKey, WaitSet};
use crate::PidHandle;

/// An iterator over the entries of a [`WaitSet`]. Returned by [`WaitSet::iter`].
pub struct Iter<'a, T> {
    set: u64,
    entries: Occupied<std::slice::Iter<'a, Slot<Entry<T>>>>,
}

/// An iterator over the entries of a [`WaitSet`], with mutable values. Returned by
/// [`WaitSet::iter_mut`].
pub struct IterMut<'a, T> {
    set: u64,
    entries: Occupied<std::slice::IterMut<'a, Slot<Entry<T>>>>,
}

/// An iterator that takes the entries out of a [`WaitSet`]. Returned by its `into_iter`.
///
/// Dropping it drops the entries that are left, and neither kills nor reaps.
///
/// # Examples
///
/// ```
/// use pidwait::{PidHandle, WaitSet};
/// use std::process::Command;
/// use std::time::Duration;
///
/// let mut set = WaitSet::new()?;
/// set.insert(PidHandle::spawn(Command::new("sleep").arg("60"))?.handle, "sleep")?;
/// for (_key, child, name) in set {
///     println!("{name}: {}", child.terminate(Duration::from_secs(5))?);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct IntoIter<T> {
    set: u64,
    entries: Occupied<std::vec::IntoIter<Slot<Entry<T>>>>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(set: &'a WaitSet<T>) -> Self {
        Self {
            set: set.id,
            entries: set.entries.iter(),
        }
    }
}

impl<'a, T> IterMut<'a, T> {
    pub(super) fn new(set: &'a mut WaitSet<T>) -> Self {
        Self {
            set: set.id,
            entries: set.entries.iter_mut(),
        }
    }
}

macro_rules! iterator {
    ([$($generics:tt)*] $name:ty, $item:ty, |$entry:ident| $parts:expr) => {
        impl<$($generics)*> Iterator for $name {
            type Item = $item;

            fn next(&mut self) -> Option<Self::Item> {
                let (slot, $entry) = self.entries.next()?;
                let key = WaitKey {
                    set: self.set,
                    slot,
                };
                let (handle, value) = $parts;
                Some((key, handle, value))
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.entries.len(), Some(self.entries.len()))
            }
        }

        impl<$($generics)*> ExactSizeIterator for $name {}

        impl<$($generics)*> FusedIterator for $name {}

        impl<$($generics)*> fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let left = self.entries.len();
                f.debug_struct("Iter").field("left", &left).finish_non_exhaustive()
            }
        }
    };
}

iterator!(['a, T] Iter<'a, T>, (WaitKey, &'a PidHandle, &'a T), |entry| {
    (&entry.handle, &entry.value)
});
iterator!(['a, T] IterMut<'a, T>, (WaitKey, &'a PidHandle, &'a mut T), |entry| {
    (&entry.handle, &mut entry.value)
});
iterator!([T] IntoIter<T>, (WaitKey, PidHandle, T), |entry| {
    (entry.handle, entry.value)
});

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            set: self.set,
            entries: self.entries.clone(),
        }
    }
}

impl<T> IntoIterator for WaitSet<T> {
    type Item = (WaitKey, PidHandle, T);
    type IntoIter = IntoIter<T>;

    /// Takes all entries out, in no particular order. Nothing is killed or reaped.
    fn into_iter(self) -> IntoIter<T> {
        IntoIter {
            set: self.id,
            entries: self.entries.into_iter(),
        }
    }
}

impl<'a, T> IntoIterator for &'a WaitSet<T> {
    type Item = (WaitKey, &'a PidHandle, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut WaitSet<T> {
    type Item = (WaitKey, &'a PidHandle, &'a mut T);
    type IntoIter = IterMut<'a, T>;

    fn into_iter(self) -> IterMut<'a, T> {
        self.iter_mut()
    }
}
