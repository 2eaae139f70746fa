// SPDX-License-Identifier: GPL-2.0

//! A place for an [`Arc`] that readers follow under RCU, without a lock and without writing.
//!
//! [`RcuSlot::publish`] and [`RcuSlot::load`] are the two halves of publish/subscribe: who loads
//! sees a fully initialised `T` or none. What [`RcuSlot::take`] removes may still be in the hands
//! of readers; it is [`Retired`] until a grace period has passed, and the type lets nobody drop it
//! earlier.
//!
//! As with everything that waits for a grace period: who sleeps in his own read-side critical
//! section, on a kernel without `CONFIG_PREEMPT_RCU`, ends it.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::{rcu, Arc}};
//! use rust_kmemcg::abstractions::rcu_slot::RcuSlot;
//!
//! fn example() -> Result {
//!     let slot = RcuSlot::new();
//!     slot.publish(Arc::new(42, GFP_KERNEL)?).map_err(|_| EEXIST)?;
//!     let guard = rcu::read_lock();
//!     assert_eq!(slot.load(&guard), Some(&42));
//!     drop(guard);
//!     let retired = slot.take().ok_or(ENOENT)?;
//!     let _arc = retired.into_arc(); // Waits for a grace period.
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{mem::ManuallyDrop, ops::Deref, ptr};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full},
        rcu, Arc,
    },
};

/// What makes the code that has it an RCU reader.
///
/// # Safety
///
/// No grace period that begins while such a value lives ends before the value is dropped, which
/// happens in the task that made it.
pub unsafe trait Reader {}

// SAFETY: The guard is an RCU read-side critical section of this task.
unsafe impl Reader for rcu::Guard {}

/// A pointer to a `T`, or none, for readers under RCU.
///
/// # Invariants
///
/// `ptr` is null or came from [`Arc::into_raw`]; the slot owns that `Arc`, and gives it up only
/// through a [`Retired`].
pub struct RcuSlot<T> {
    ptr: Atomic<*mut T>,
}

// SAFETY: Shares and passes on `Arc<T>`s.
unsafe impl<T: Send + Sync> Send for RcuSlot<T> {}
// SAFETY: As above; the pointer is atomic.
unsafe impl<T: Send + Sync> Sync for RcuSlot<T> {}

impl<T> RcuSlot<T> {
    /// An empty slot.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            ptr: Atomic::new(ptr::null_mut()),
        }
    }

    /// Fills an empty slot.
    ///
    /// Whoever sees the pointer sees all that was written to the `T` before: the exchange is a
    /// release, [`load`](Self::load) an acquire (`rcu_assign_pointer()`, `rcu_dereference()`).
    /// Context: any.
    ///
    /// # Errors
    ///
    /// Gives `arc` back when the slot is not empty.
    pub fn publish(&self, arc: Arc<T>) -> Result<(), Arc<T>> {
        let new = Arc::into_raw(arc).cast_mut();
        // INVARIANT: Where the exchange succeeds the slot owns the `Arc`.
        match self.ptr.cmpxchg(ptr::null_mut(), new, Full) {
            Ok(_) => Ok(()),
            // SAFETY: From `into_raw()` above; the slot did not take it.
            Err(_) => Err(unsafe { Arc::from_raw(new) }),
        }
    }

    /// Follows the pointer. Context: any; what it returns lives as long as the read-side critical
    /// section.
    #[inline]
    pub fn load<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a T> {
        // SAFETY: Null, or an `Arc` of ours, by the type invariants. If it is taken meanwhile, it
        // is a `Retired`, which keeps it alive for a grace period that `_reader` holds open.
        unsafe { self.ptr.load(Acquire).as_ref() }
    }

    /// Empties the slot. Context: any.
    pub fn take(&self) -> Option<Retired<T>> {
        Self::retire(self.ptr.xchg(ptr::null_mut(), Full))
    }

    /// Empties the slot if it holds `this` very `T`. Context: any.
    pub fn take_if(&self, this: &T) -> Option<Retired<T>> {
        let old = ptr::from_ref(this).cast_mut();
        Self::retire(self.ptr.cmpxchg(old, ptr::null_mut(), Full).ok()?)
    }

    fn retire(old: *mut T) -> Option<Retired<T>> {
        if old.is_null() {
            return None;
        }
        Some(Retired {
            // SAFETY: An `Arc` that the slot owned, by the type invariants, and gave up just now.
            arc: ManuallyDrop::new(unsafe { Arc::from_raw(old) }),
            // SAFETY: May be called anywhere. It comes after the pointer was cleared.
            // INVARIANT: So readers that saw the pointer are gone when this state has passed.
            grace_period: unsafe { bindings::get_state_synchronize_rcu() },
        })
    }
}

impl<T> Default for RcuSlot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for RcuSlot<T> {
    fn drop(&mut self) {
        let old = self.ptr.load(Acquire);
        if !old.is_null() {
            // SAFETY: An `Arc` of ours. No reader: `load()` borrows the slot for as long as what
            // it returns is used.
            drop(unsafe { Arc::from_raw(old) });
        }
    }
}

/// An [`Arc`] that readers of an [`RcuSlot`] may still be looking at.
///
/// Dropping it waits for the rest of its grace period, where that has not passed yet. Context of
/// the drop: may sleep.
///
/// # Invariants
///
/// When the grace period of `grace_period` has passed, nobody borrows the `T` from a slot.
#[must_use = "dropping it may sleep"]
pub struct Retired<T> {
    arc: ManuallyDrop<Arc<T>>,
    grace_period: kernel::ffi::c_ulong,
}

impl<T> Retired<T> {
    /// Waits for the rest of the grace period, if any, and returns the [`Arc`].
    ///
    /// Stands on `cond_synchronize_rcu()`. Context: may sleep.
    pub fn into_arc(self) -> Arc<T> {
        self.wait();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again, and is not dropped.
        unsafe { ManuallyDrop::take(&mut this.arc) }
    }

    /// Another [`Arc`] of the same `T`. Context: any.
    pub fn clone_arc(&self) -> Arc<T> {
        Arc::clone(&self.arc)
    }

    fn wait(&self) {
        // SAFETY: The state is from `get_state_synchronize_rcu()`.
        unsafe { bindings::cond_synchronize_rcu(self.grace_period) };
    }
}

impl<T> Deref for Retired<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.arc
    }
}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        self.wait();
        // SAFETY: Dropped here, once; `into_arc()` does not come here.
        unsafe { ManuallyDrop::drop(&mut self.arc) };
    }
}
