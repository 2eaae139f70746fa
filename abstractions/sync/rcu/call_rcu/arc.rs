// SPDX-License-Identifier: GPL-2.0

//! An [`Arc`] whose last reference may be given up while there are readers.

use super::{
    callback,
    called_back,
    HasRcuHead,
    RcuCallback,
    Reason,
    Refused, //
};
use crate::abstractions::{
    helpers,
    unload, //
};
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    ptr, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        UniqueArc, //
    }, //
};

/// An [`Arc`] that gives its reference up after a grace period, when it is dropped.
///
/// For a value that RCU readers may still use when its owner is done with it. The drop cannot fail:
/// what could fail did so when this was made. It complements a box that is freed after a grace
/// period, where the value has other owners.
///
/// The drop sleeps nowhere, and does not wait. Context of the drop: any but NMI. If it was the last
/// reference, the destructor of `T` runs in the RCU callback, in the context of
/// [`RcuCallback::run`]: it must not sleep. To do something else then, use [`call`](Self::call).
///
/// One that is forgotten (`mem::forget`) keeps the value and the module for ever: `rmmod` waits.
///
/// # Examples
///
/// ```
/// use kernel::{prelude::*, sync::UniqueArc};
/// use rust_kmemcg::abstractions::{sync::rcu::call_rcu::*, unload};
/// use rust_kmemcg::impl_has_rcu_head;
///
/// #[pin_data]
/// struct Entry {
///     #[pin]
///     rcu: RcuHead<Entry>,
///     value: u64,
/// }
///
/// impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }
///
/// fn example(module: &unload::Handle) -> Result {
///     let entry = pin_init!(Entry { rcu <- RcuHead::new(), value: 42 });
///     let entry = RcuArc::new(UniqueArc::pin_init(entry, GFP_KERNEL)?, module)?;
///     assert_eq!(entry.value, 42);
///     drop(entry); // Readers of the entry can go on until the end of a grace period.
///     Ok(())
/// }
/// # assert_eq!(unload::scope(example), Ok(()));
/// ```
///
/// # Invariants
///
/// `queued` of the value's head is true, was set for this `RcuArc`, and the head is not queued.
#[must_use = "dropping it gives the reference up"]
pub struct RcuArc<T>
where
    T: HasRcuHead + Send + Sync + 'static,
{
    /// There until the drop.
    arc: ManuallyDrop<Arc<T>>,
    /// The callback is code of the module. Dropped last, when the callback is queued: the anchor
    /// waits for it from there.
    hold: unload::Hold,
}

impl<T> RcuArc<T>
where
    T: HasRcuHead + Send + Sync + 'static,
{
    /// For a value without other owners: so its head is not in use. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// Gives the value back if the module is being unloaded.
    pub fn new(
        this: Pin<UniqueArc<T>>,
        module: &impl unload::Source,
    ) -> Result<Self, Refused<Pin<UniqueArc<T>>>> {
        let Ok(hold) = module.take_hold(unload::Abstraction::new()) else {
            return Err(Refused {
                this,
                reason: Reason::Unloading,
            });
        };
        let arc = Arc::from(this);
        // INVARIANT: A head that is queued, or an `RcuArc`, has an `Arc`, and there was none.
        arc.rcu_head().queued.store(true, Relaxed);
        Ok(Self {
            arc: ManuallyDrop::new(arc),
            hold,
        })
    }

    /// For a value that may have other owners. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// Gives the `Arc` back, and says why: see [`Reason`].
    pub fn from_arc(this: Arc<T>, module: &impl unload::Source) -> Result<Self, Refused<Arc<T>>> {
        let reason = match module.take_hold(unload::Abstraction::new()) {
            Err(_) => Reason::Unloading,
            // INVARIANT: The flag was clear, so that nobody has the head, and is set for this.
            Ok(hold) if !this.rcu_head().queued.xchg(true, Full) => {
                return Ok(Self {
                    arc: ManuallyDrop::new(this),
                    hold,
                })
            }
            Ok(_) => Reason::Queued,
        };
        Err(Refused { this, reason })
    }

    /// Returns the `Arc`. Clones of it are references of their own, which wait for no grace period.
    #[inline]
    pub fn as_arc(&self) -> &Arc<T> {
        &self.arc
    }

    /// Returns the `Arc`, which waits for no grace period when it is dropped.
    pub fn into_arc(self) -> Arc<T> {
        let (arc, _hold) = self.into_parts();
        // The head is free for others.
        arc.rcu_head().queued.store(false, Release);
        arc
    }

    /// Calls [`RcuCallback::run`] with the `Arc` after a grace period. Cannot fail, unlike
    /// [`Callbacks::call`](super::Callbacks::call).
    ///
    /// Wraps `call_rcu_hurry()`. Context: any but NMI; does not sleep.
    pub fn call<const ID: u64>(self)
    where
        T: RcuCallback<ID, Pointer = Arc<T>>,
    {
        let (arc, _hold) = self.into_parts();
        // SAFETY: By the type invariants, which held for `self`. The callback takes the `Arc` back.
        // The hold is dropped at the end of this function.
        unsafe { call_rcu(arc, callback::<T, ID>) };
    }

    fn into_parts(self) -> (Arc<T>, unload::Hold) {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used again nor dropped, so that each field is read once.
        unsafe { (ptr::read(&*this.arc), ptr::read(&this.hold)) }
    }
}

impl<T> Deref for RcuArc<T>
where
    T: HasRcuHead + Send + Sync + 'static,
{
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.arc
    }
}

impl<T> Drop for RcuArc<T>
where
    T: HasRcuHead + Send + Sync + 'static,
{
    fn drop(&mut self) {
        // SAFETY: Taken once, as `self` is not used again.
        let arc = unsafe { ManuallyDrop::take(&mut self.arc) };
        // SAFETY: By the type invariants. The callback takes the `Arc` back. The hold is dropped
        // after this function.
        unsafe { call_rcu(arc, drop_callback::<T>) };
    }
}

/// Queues the head of an `Arc`, for `callback` to take the `Arc` back.
///
/// # Safety
///
/// `queued` of the head was set for the caller, and the head is not queued. `callback` takes back
/// an `Arc<T>` whose head it receives. The caller has a hold until this returns.
unsafe fn call_rcu<T: HasRcuHead + Send + Sync + 'static>(
    arc: Arc<T>,
    callback: unsafe extern "C" fn(*mut bindings::callback_head),
) {
    let raw = Arc::into_raw(arc);
    // SAFETY: Alive, as the `Arc` was given up just now, and stays so until the callback.
    let head = unsafe { &*raw }.rcu_head().head.get();
    // SAFETY: `call_rcu()` requires a head that is not queued, which the caller guarantees, and
    // that stays until the callback. The code of that stays, too: the anchor waits for the caller's
    // hold, and then for all callbacks.
    unsafe { helpers::rust_kmemcg_call_rcu_hurry(head, Some(callback)) };
}

/// # Safety
///
/// Called by RCU only, with the `rcu_head` inside an [`RcuHead<T>`](super::RcuHead) that was queued
/// with an `Arc<T>`.
unsafe extern "C" fn drop_callback<T: HasRcuHead>(ptr: *mut bindings::callback_head) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { called_back::<T>(ptr) };
    // SAFETY: From `Arc::into_raw()`, and nobody else takes it back.
    drop(unsafe { Arc::from_raw(this) });
}
