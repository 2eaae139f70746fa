// SPDX-License-Identifier: GPL-2.0

//! One reference.

use super::{PercpuRef, Release};
use crate::abstractions::{helpers, sync::rcu::slot::Reader};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};

/// A reference counted by the [`PercpuRef`] of `T`. Keeps the `T` alive.
///
/// Dropping it is legal in any context but NMI, and may run [`Release::release`] there, in an RCU
/// read-side critical section. A guard that is forgotten keeps the `T`, and the module, for ever.
///
/// As `percpu_ref_put()`.
/// What differs from that is in `include/percpu_ref_preempt.h`.
///
/// # Invariants
///
/// Holds one reference of the count; so the count owns an `Arc<T>`, and the `T` is alive.
#[must_use = "dropping it puts the reference"]
pub struct Guard<T: Release>(NonNull<T>);

// SAFETY: A guard gives shared access to a `T: Send + Sync`, and its drop passes an `Arc<T>` on.
unsafe impl<T: Release> Send for Guard<T> {}
// SAFETY: `&Guard<T>` gives shared access to a `T: Sync`, and other guards, which are `Send`.
unsafe impl<T: Release> Sync for Guard<T> {}

impl<T: Release> PercpuRef<T> {
    /// Takes a reference, unless the count was killed or never started.
    ///
    /// As `percpu_ref_tryget_live()`. Context: any.
    /// What differs from that is in `include/percpu_ref_preempt.h`.
    #[inline]
    pub fn tryget_live(this: &T) -> Option<Guard<T>> {
        let refs = this.percpu_ref().inner.get();
        // SAFETY: Initialised, by the type invariants.
        if unsafe { helpers::rust_kmemcg_percpu_ref_tryget_live(refs) } {
            // INVARIANT: This is the reference.
            Some(Guard(NonNull::from(this)))
        } else {
            None
        }
    }

    /// Takes a live reference where the count is per-CPU: the fast path, in the fewest
    /// instructions. `None` does not mean that the count is dead: fall back to
    /// [`tryget_live`](Self::tryget_live). Context: any.
    #[inline]
    pub fn tryget_percpu(this: &T, _reader: &impl Reader) -> Option<Guard<T>> {
        let refs = this.percpu_ref().inner.get();
        // SAFETY: Initialised, by the type invariants; `_reader` shows that the caller is an RCU
        // reader, whom the switch to atomic waits for.
        if unsafe { helpers::rust_kmemcg_percpu_ref_tryget_percpu(refs) } {
            // INVARIANT: This is the reference.
            Some(Guard(NonNull::from(this)))
        } else {
            None
        }
    }

    /// Takes a reference, killed or not, unless the count is zero.
    ///
    /// Wraps `percpu_ref_tryget()`. Context: any.
    #[inline]
    pub fn tryget(this: &T) -> Option<Guard<T>> {
        // SAFETY: Initialised, by the type invariants.
        if unsafe { helpers::rust_kmemcg_percpu_ref_tryget(this.percpu_ref().inner.get()) } {
            // INVARIANT: This is the reference.
            Some(Guard(NonNull::from(this)))
        } else {
            None
        }
    }
}

impl<T: Release> Guard<T> {
    /// Turns the guard into a pointer, which stands for the reference; [`from_raw`](Self::from_raw)
    /// is the inverse.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<T> {
        ManuallyDrop::new(self).0
    }

    /// Makes a guard of a reference.
    ///
    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Self::into_raw), and is not used for another guard.
    #[inline]
    pub(crate) unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        // INVARIANT: By the safety requirement, this is the reference.
        Self(ptr)
    }
}

impl<T: Release> Deref for Guard<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: Alive, by the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Release> Clone for Guard<T> {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: Initialised. `percpu_ref_get()` requires that the count is not zero: this guard
        // holds a reference.
        unsafe { helpers::rust_kmemcg_percpu_ref_get(self.percpu_ref().inner.get()) };
        // INVARIANT: This is the reference.
        Self(self.0)
    }
}

impl<T: Release> Drop for Guard<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Initialised; puts the reference of this guard, which is not used again.
        unsafe { helpers::rust_kmemcg_percpu_ref_put(self.percpu_ref().inner.get()) };
    }
}
