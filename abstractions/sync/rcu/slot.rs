// SPDX-License-Identifier: GPL-2.0

//! A place for an [`Arc`] that readers follow under RCU, without a lock and without writing.
//!
//! [`RcuSlot::publish`] and [`RcuSlot::load`] are the two halves of publish/subscribe: a reader
//! sees a fully initialised `T` or none. What [`RcuSlot::take`] removes may still be used by
//! readers; it is [`Retired`] until a grace period has passed, and cannot be dropped earlier.
//!
//! # Readers
//!
//! A reader is a closure: [`read`], or [`preempt::with`](crate::abstractions::preempt::with). The
//! in-tree [`rcu::Guard`] is no [`Reader`], since safe code can forget it: a reference on a
//! forgotten guard may live for ever, and what was loaded by it could be sent to another task,
//! while the critical section ends with the task that began it (or, on a kernel without
//! `CONFIG_PREEMPT_RCU`, when that sleeps).
//!
//! A closure must not sleep, and no type says so: on a kernel without `CONFIG_PREEMPT_RCU` that
//! ends the critical section, and what was loaded before may be freed. `CONFIG_DEBUG_ATOMIC_SLEEP`
//! and `CONFIG_PROVE_RCU` report it.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::sync::rcu::slot::{self, RcuSlot};
//!
//! fn example() -> Result {
//!     let slot = RcuSlot::new();
//!     slot.publish(Arc::new(42, GFP_KERNEL)?).map_err(|_| EEXIST)?;
//!     assert_eq!(slot::read(|reader| slot.load(reader).copied()), Some(42));
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
    task::might_sleep,
};

/// Evidence that the code is an RCU reader.
///
/// # Safety
///
/// No grace period that begins while a reference on such a value is in use ends before that. So
/// safe code cannot own one, and the references that it gets do not outlive the read-side critical
/// section.
pub unsafe trait Reader {}

/// Evidence that the code is called by [`read`].
///
/// # Invariants
///
/// The RCU read lock is held in this task.
pub struct ReadSide(#[allow(dead_code)] rcu::Guard);

// SAFETY: `rcu_read_lock()` holds every grace period open that begins before `rcu_read_unlock()`,
// by the type invariants. The one value is on the stack of `read()`, and used by its closure only.
unsafe impl Reader for ReadSide {}

/// Calls `f` in an RCU read-side critical section. Context: any; `f` must not sleep.
///
/// Equivalent to `guard(rcu)()` in C.
#[inline]
pub fn read<R>(f: impl FnOnce(&ReadSide) -> R) -> R {
    // INVARIANT: Locked here.
    f(&ReadSide(rcu::read_lock()))
}

/// A pointer to a `T`, or none, for readers under RCU.
///
/// # Invariants
///
/// `ptr` is null or came from [`Arc::into_raw`]; the slot owns that `Arc`, and gives it up only
/// through a [`Retired`].
#[repr(transparent)]
pub struct RcuSlot<T> {
    ptr: Atomic<*mut T>,
}

// SAFETY: Shares `T`s, and passes `Arc<T>`s on.
unsafe impl<T: Send + Sync> Send for RcuSlot<T> {}
// SAFETY: Shares `T`s, and passes `Arc<T>`s on, by an atomic pointer.
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
    /// A reader that sees the pointer sees all that was written to the `T` before: the exchange is
    /// a release, [`load`](Self::load) an acquire (`rcu_assign_pointer()`, `rcu_dereference()`).
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
            // SAFETY: `new` is from `Arc::into_raw()` above; the slot did not take it.
            Err(_) => Err(unsafe { Arc::from_raw(new) }),
        }
    }

    /// Follows the pointer. Context: any; the result can be used until the end of the read-side
    /// critical section.
    #[inline]
    pub fn load<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a T> {
        // SAFETY: Null, or the `T` of an `Arc` of the slot, by the type invariants. If that is
        // taken meanwhile, it is a `Retired`, which keeps it alive for a grace period, and
        // `_reader` holds that open.
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
            // SAFETY: From `Arc::into_raw()`, by the type invariants of the slot, which owned the
            // `Arc` and gave it up just now.
            arc: ManuallyDrop::new(unsafe { Arc::from_raw(old) }),
            // SAFETY: `get_state_synchronize_rcu()` may be called in any context.
            // INVARIANT: It comes after the pointer was cleared: readers that saw the pointer have
            // ended when this state has passed.
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
            // SAFETY: From `Arc::into_raw()`, and owned by the slot, by the type invariants. There
            // is no reader: `load()` borrows the slot for as long as its result is used.
            drop(unsafe { Arc::from_raw(old) });
        }
    }
}

/// An [`Arc`] that readers of an [`RcuSlot`] may still be using.
///
/// Dropping it waits for the rest of its grace period, if that has not passed yet. One that is
/// forgotten (`mem::forget`) leaks the `T`. Context of the drop: may sleep.
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
    /// Wraps `cond_synchronize_rcu()`. Context: may sleep.
    pub fn into_arc(self) -> Arc<T> {
        self.wait();
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again, and is not dropped.
        unsafe { ManuallyDrop::take(&mut this.arc) }
    }

    /// Another [`Arc`] of the same `T`. Context: any.
    #[inline]
    pub fn clone_arc(&self) -> Arc<T> {
        Arc::clone(&self.arc)
    }

    /// Waits for the rest of the grace period. Context: may sleep.
    fn wait(&self) {
        // C sleeps only if the grace period has not passed.
        might_sleep();
        // SAFETY: The state is from `get_state_synchronize_rcu()`, which is all that
        // `cond_synchronize_rcu()` asks for.
        unsafe { bindings::cond_synchronize_rcu(self.grace_period) };
    }
}

impl<T> Deref for Retired<T> {
    type Target = T;

    #[inline]
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

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_rcu_slot)]
mod tests {
    use super::*;

    #[test]
    fn a_full_slot_gives_the_arc_back() -> Result {
        let slot = RcuSlot::new();
        assert!(slot.publish(Arc::new(1, GFP_KERNEL)?).is_ok());
        assert!(matches!(slot.publish(Arc::new(2, GFP_KERNEL)?), Err(arc) if *arc == 2));
        assert_eq!(read(|reader| slot.load(reader).copied()), Some(1));
        Ok(())
    }

    #[test]
    fn takes_this_very_value_only() -> Result {
        let slot = RcuSlot::new();
        let value = Arc::new(1, GFP_KERNEL)?;
        let equal = Arc::new(1, GFP_KERNEL)?;
        assert!(slot.publish(value.clone()).is_ok());
        assert!(slot.take_if(&equal).is_none());
        let taken = slot.take_if(&value).ok_or(ENOENT)?;
        assert!(read(|reader| slot.load(reader).is_none()));
        assert!(Arc::ptr_eq(&taken.into_arc(), &value));
        Ok(())
    }

    #[test]
    fn every_way_out_drops_the_arc_once() -> Result {
        let value = Arc::new(1, GFP_KERNEL)?;
        let slot = RcuSlot::new();
        assert!(slot.publish(value.clone()).is_ok());
        drop(slot.take());
        assert!(slot.publish(value.clone()).is_ok());
        drop(slot.take().map(Retired::into_arc));
        assert!(slot.publish(value.clone()).is_ok());
        drop(slot);
        assert!(Arc::into_unique_or_drop(value).is_some());
        Ok(())
    }
}
