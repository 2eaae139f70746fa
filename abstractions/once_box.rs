// SPDX-License-Identifier: GPL-2.0

//! A box that is filled once, by the first caller, and read in one load.
//!
//! The in-tree `SetOnce` keeps a state beside its value, as that may be of any type; here the null
//! pointer is the state.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::once_box::OnceBox;
//!
//! fn example() -> Result {
//!     let place = OnceBox::new();
//!     assert_eq!(place.get(), None);
//!     assert!(place.populate(KBox::new(42, GFP_KERNEL)?));
//!     assert!(!place.populate(KBox::new(43, GFP_KERNEL)?));
//!     assert_eq!(place.get(), Some(&42));
//!     Ok(())
//! }
//! ```

use core::{marker::PhantomData, ptr};
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Atomic, Full},
};

/// A place for a [`KBox`].
///
/// # Invariants
///
/// `ptr` is null, or came from [`KBox::into_raw`] and is owned; then it does not change before the
/// drop.
pub struct OnceBox<T> {
    ptr: Atomic<*mut T>,
    _owns: PhantomData<KBox<T>>,
}

// SAFETY: Owns a `T`.
unsafe impl<T: Send> Send for OnceBox<T> {}
// SAFETY: Shares a `T`, and accepts one from any thread, which this drops.
unsafe impl<T: Send + Sync> Sync for OnceBox<T> {}

impl<T> OnceBox<T> {
    /// An empty place.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            ptr: Atomic::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// Returns the value, once there is one. Context: any.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: Null, or from `KBox::into_raw()` and owned, by the type invariants; not replaced or
        // dropped while `self` is borrowed.
        unsafe { self.ptr.load(Acquire).as_ref() }
    }

    /// Fills the place, unless it is filled, and returns whether it did. A box that is refused is
    /// dropped.
    pub fn populate(&self, value: KBox<T>) -> bool {
        let new = KBox::into_raw(value);
        // INVARIANT: Where the exchange succeeds the place owns the box.
        let populated = self.ptr.cmpxchg(ptr::null_mut(), new, Full).is_ok();
        if !populated {
            // SAFETY: From `KBox::into_raw()` above; the place did not take it.
            drop(unsafe { KBox::from_raw(new) });
        }
        populated
    }
}

impl<T> Default for OnceBox<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for OnceBox<T> {
    fn drop(&mut self) {
        let value = self.ptr.load(Acquire);
        if !value.is_null() {
            // SAFETY: From `KBox::into_raw()`, and owned, by the type invariants; not used again.
            drop(unsafe { KBox::from_raw(value) });
        }
    }
}
