// Tests: tests/it/release.rs, src/sys/model/tests.rs

//! A value, and a state behind one lock. Calls that block can use the value without the lock.
//!
//! A call that blocks takes a *lease*. The owner may close the value at any time. The value is dropped
//! once it is closed and the last lease has ended. This prevents that A closes a descriptor while B
//! is about to block in a system call on it, and another thread gets the same number in between.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::sync::PoisonError;

use super::{Condvar, Mutex, MutexGuard};

pub(crate) struct Leased<T, S> {
    /// Valid while it is open or leased; [`Inner::is_present`].
    value: ManuallyDrop<Option<T>>,
    inner: Mutex<Inner<S>>,
    changed: Condvar,
}

struct Inner<S> {
    open: bool,
    /// As wide as the count of an `Arc`, so that leases that are forgotten cannot make it wrap.
    leases: usize,
    /// Threads that wait on `changed`: a notification that no thread needs costs a system call.
    sleepers: u32,
    state: S,
}

impl<S> Inner<S> {
    fn is_present(&self) -> bool {
        self.open || self.leases > 0
    }
}

impl<T, S> Leased<T, S> {
    /// Open if there is a value, otherwise closed from the start.
    pub(crate) fn new(value: Option<T>, state: S) -> Self {
        Self {
            inner: Mutex::new(Inner {
                open: value.is_some(),
                leases: 0,
                sleepers: 0,
                state,
            }),
            value: ManuallyDrop::new(value),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T, S> {
        Guard {
            leased: self,
            inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Drops the value. The caller has just seen, under the lock, that the value is closed and the last
    /// lease has ended, which happens only once.
    fn drop_value(&self) {
        // SAFETY: no reference to the value is left and none can be made any more, because
        // `is_present` stays false once it is; so this copy is the only one that is used.
        drop(unsafe { ptr::read(&*self.value) });
    }
}

impl<T, S> Drop for Leased<T, S> {
    fn drop(&mut self) {
        if self.lock().inner.is_present() {
            self.drop_value();
        }
    }
}

impl<T, S: fmt::Debug> fmt::Debug for Leased<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().inner.state.fmt(f)
    }
}

/// The lock, held. It dereferences to the state.
pub(crate) struct Guard<'a, T, S> {
    leased: &'a Leased<T, S>,
    inner: MutexGuard<'a, Inner<S>>,
}

impl<'a, T, S> Guard<'a, T, S> {
    /// The value and the state; `None` once the value is closed and no lease is left.
    pub(crate) fn parts(&mut self) -> Option<(&T, &mut S)> {
        if !self.inner.is_present() {
            return None;
        }
        let value = (*self.leased.value).as_ref()?;
        Some((value, &mut self.inner.state))
    }

    /// Takes a lease through `owner`, which is a pointer to what this guard locks.
    pub(crate) fn lease<P>(&mut self, owner: P) -> Option<Lease<P, T, S>>
    where
        P: Deref<Target = Leased<T, S>>,
    {
        if !self.inner.is_present() || !ptr::eq(&*owner, self.leased) {
            return None;
        }
        self.inner.leases += 1;
        Some(Lease { owner })
    }

    /// Closes the value: at once, or when the last lease ends.
    pub(crate) fn close(mut self) {
        let was_open = std::mem::replace(&mut self.inner.open, false);
        let last = was_open && self.inner.leases == 0;
        let leased = self.leased;
        drop(self); // The value is dropped outside the lock.
        if last {
            leased.drop_value();
        }
    }

    /// Waits, without holding the lock, until the state is as wanted.
    pub(crate) fn wait_until(mut self, wanted: impl Fn(&S) -> bool) -> Self {
        while !wanted(&self.inner.state) {
            self.inner.sleepers += 1;
            let inner = self.leased.changed.wait(self.inner);
            self.inner = inner.unwrap_or_else(PoisonError::into_inner);
            self.inner.sleepers -= 1;
        }
        self
    }

    /// Wakes the threads in [`wait_until`](Self::wait_until).
    pub(crate) fn notify(&self) {
        if self.inner.sleepers > 0 {
            self.leased.changed.notify_all();
        }
    }
}

impl<T, S> Deref for Guard<'_, T, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.inner.state
    }
}

impl<T, S> DerefMut for Guard<'_, T, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.inner.state
    }
}

/// Allows to use the value without the lock. It dereferences to the value.
pub(crate) struct Lease<P: Deref<Target = Leased<T, S>>, T, S> {
    owner: P,
}

impl<P: Deref<Target = Leased<T, S>>, T, S> Lease<P, T, S> {
    /// Narrows the lease to a part of the value; `None` if the value has no such part.
    pub(crate) fn part<U>(
        self,
        project: impl FnOnce(&T) -> Option<&U>,
    ) -> Option<LeasedPart<P, T, S, U>> {
        let part = NonNull::from(project(&self)?);
        Some(LeasedPart { part, lease: self })
    }
}

impl<P: Deref<Target = Leased<T, S>>, T, S> Deref for Lease<P, T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        let value = (*self.owner.value).as_ref();
        // SAFETY: a lease is only given of a value that is there, and keeps it there.
        unsafe { value.unwrap_unchecked() }
    }
}

impl<P: Deref<Target = Leased<T, S>> + Clone, T, S> Clone for Lease<P, T, S> {
    fn clone(&self) -> Self {
        self.owner.lock().inner.leases += 1;
        Self {
            owner: self.owner.clone(),
        }
    }
}

impl<P: Deref<Target = Leased<T, S>>, T, S> Drop for Lease<P, T, S> {
    fn drop(&mut self) {
        let mut guard = self.owner.lock();
        guard.inner.leases -= 1;
        let last = !guard.inner.is_present();
        drop(guard); // The value is dropped outside the lock.
        if last {
            self.owner.drop_value();
        }
    }
}

/// A lease of a part of the value. It dereferences to that part.
pub(crate) struct LeasedPart<P: Deref<Target = Leased<T, S>>, T, S, U> {
    part: NonNull<U>,
    lease: Lease<P, T, S>,
}

impl<P: Deref<Target = Leased<T, S>>, T, S, U> Deref for LeasedPart<P, T, S, U> {
    type Target = U;

    fn deref(&self) -> &U {
        // SAFETY: the part is inside the value, which the lease keeps where it is: behind an `Arc`
        // or a reference, never mutated and not dropped.
        unsafe { self.part.as_ref() }
    }
}

impl<P: Deref<Target = Leased<T, S>> + Clone, T, S, U> Clone for LeasedPart<P, T, S, U> {
    fn clone(&self) -> Self {
        Self {
            part: self.part,
            lease: self.lease.clone(),
        }
    }
}

// SAFETY: it is a shared reference to a part of a `T`, and a lease.
unsafe impl<P, T, S, U> Send for LeasedPart<P, T, S, U>
where
    P: Deref<Target = Leased<T, S>>,
    Lease<P, T, S>: Send,
    U: Sync,
{
}

// SAFETY: as above.
unsafe impl<P, T, S, U> Sync for LeasedPart<P, T, S, U>
where
    P: Deref<Target = Leased<T, S>>,
    Lease<P, T, S>: Sync,
    U: Sync,
{
}

impl<P, T, S, U> UnwindSafe for LeasedPart<P, T, S, U>
where
    P: Deref<Target = Leased<T, S>>,
    Lease<P, T, S>: UnwindSafe,
    U: RefUnwindSafe,
{
}
