// SPDX-License-Identifier: GPL-2.0

//! Callbacks after a grace period.
//!
//! An [`RcuHead`] is embedded in a structure; [`Callbacks::call`] gives a `Pin<KBox>` or an [`Arc`]
//! of it to RCU, and [`RcuCallback::run`] receives that back when every reader that was there has
//! gone. Nothing is allocated, and a head cannot be queued twice.
//!
//! # Why a module cannot be unloaded before its callbacks have run
//!
//! Callbacks are queued through [`Callbacks`], which are had from the handle of the module's
//! [`unload::Anchor`]. Whether that is closed, and the queueing, are one RCU read-side critical
//! section; the drop of the anchor first closes, then waits for such sections, then for all
//! callbacks that were queued.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::{call_rcu::*, unload};
//! use rust_kmemcg::impl_has_rcu_head;
//!
//! #[pin_data]
//! struct Entry {
//!     #[pin]
//!     rcu: RcuHead<Entry>,
//! }
//!
//! impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }
//!
//! impl RcuCallback for Entry {
//!     type Pointer = Arc<Self>;
//!
//!     fn run(_this: Arc<Self>, _cx: InCallback<'_>) {} // Softirq: must not sleep.
//! }
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let entry = Arc::pin_init(pin_init!(Entry { rcu <- RcuHead::new() }), GFP_KERNEL)?;
//!     Callbacks::new(module).call(entry).map_err(|_| EBUSY)
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::abstractions::{helpers, preempt, rcu_slot::Retired, unload};
use core::{marker::PhantomData, mem::ManuallyDrop};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{AtomicFlag, Full, Release},
        rcu, Arc,
    },
    types::{NotThreadSafe, Opaque},
};

/// A `struct rcu_head`, embedded in the `T` that its callback receives.
#[pin_data]
pub struct RcuHead<T> {
    #[pin]
    head: Opaque<bindings::callback_head>,
    queued: AtomicFlag,
    _callback: PhantomData<fn(T)>,
}

// SAFETY: Queued from any CPU; `queued` lets one at a time touch the head.
unsafe impl<T> Send for RcuHead<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for RcuHead<T> {}

impl<T> RcuHead<T> {
    /// Makes a head that is not queued.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // RCU writes it when it is queued; before that nobody reads it.
            head <- Opaque::ffi_init(|_| ()),
            queued: AtomicFlag::new(false),
            _callback: PhantomData,
        })
    }
}

/// Says that a type contains an [`RcuHead`].
///
/// Implemented by [`impl_has_rcu_head!`](crate::impl_has_rcu_head!).
///
/// # Safety
///
/// [`rcu_head`](Self::rcu_head) returns the same field of `self` always, and
/// [`container`](Self::container) is its inverse.
pub unsafe trait HasRcuHead: Sized {
    /// The field.
    fn rcu_head(&self) -> &RcuHead<Self>;

    /// The structure around the field.
    ///
    /// # Safety
    ///
    /// `field` points at the field of a live `Self`.
    unsafe fn container(field: *const RcuHead<Self>) -> *const Self;
}

/// Implements [`HasRcuHead`] for a field.
#[macro_export]
macro_rules! impl_has_rcu_head {
    (impl $({$($generics:tt)*})? HasRcuHead for $self:ty { self.$field:ident }) => {
        // SAFETY: `rcu_head` borrows the field and `container_of!` is the inverse of that; it
        // compiles only if the field has the right type.
        unsafe impl $(<$($generics)*>)? $crate::abstractions::call_rcu::HasRcuHead for $self {
            #[inline]
            fn rcu_head(&self) -> &$crate::abstractions::call_rcu::RcuHead<Self> {
                &self.$field
            }

            #[inline]
            unsafe fn container(
                field: *const $crate::abstractions::call_rcu::RcuHead<Self>,
            ) -> *const Self {
                // SAFETY: The caller says that `field` is this field of a `Self`.
                unsafe { ::kernel::container_of!(field, Self, $field) }
            }
        }
    };
}

/// What happens after the grace period.
///
/// A type that has several such callbacks, of which one at a time is queued, tells them apart by `ID`, as
/// [`WorkItem`](kernel::workqueue::WorkItem) does.
pub trait RcuCallback<const ID: u64 = 0>: HasRcuHead + Send + Sync + 'static {
    /// What is queued: `Arc<Self>` or `Pin<KBox<Self>>`.
    type Pointer: RcuPointer<Target = Self>;

    /// Receives what was given to [`Callbacks::call`].
    ///
    /// Context: softirq (a kthread on PREEMPT_RT). Must not sleep, so it must not drop the last
    /// pointer to a type whose destructor sleeps. `cx` tells the code that it calls where it is.
    fn run(this: Self::Pointer, cx: InCallback<'_>);
}

/// A pointer that RCU can hold for a while.
///
/// # Safety
///
/// The target is alive and stays where it is between [`into_raw`](Self::into_raw) and
/// [`from_raw`](Self::from_raw), which is the inverse.
pub unsafe trait RcuPointer: Send + 'static {
    /// What it points at.
    type Target;

    /// Gives the pointer up.
    fn into_raw(self) -> *const Self::Target;

    /// Takes it back.
    ///
    /// # Safety
    ///
    /// `raw` came from one [`into_raw`](Self::into_raw), whose pointer was not taken back yet.
    unsafe fn from_raw(raw: *const Self::Target) -> Self;
}

// SAFETY: An `Arc` keeps its `T` alive and in its place.
unsafe impl<T: Send + Sync + 'static> RcuPointer for Arc<T> {
    type Target = T;

    fn into_raw(self) -> *const T {
        Arc::into_raw(self)
    }

    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: The caller's promise is that of `Arc::from_raw()`.
        unsafe { Arc::from_raw(raw) }
    }
}

// SAFETY: A pinned box keeps its `T` alive and in its place.
unsafe impl<T: Send + 'static> RcuPointer for Pin<KBox<T>> {
    type Target = T;

    fn into_raw(self) -> *const T {
        // SAFETY: Nobody moves the `T` before it is a pinned box again.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(self) })
    }

    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: From `KBox::into_raw()` above, by what the caller promises.
        KBox::into_pin(unsafe { KBox::from_raw(raw.cast_mut()) })
    }
}

/// Evidence that the code runs in an RCU callback.
///
/// Cannot leave the callback that it was made for.
pub struct InCallback<'a>(PhantomData<&'a mut ()>, NotThreadSafe);

/// Queues RCU callbacks, as long as the module's [`unload::Anchor`] exists.
#[derive(Clone)]
pub struct Callbacks(unload::Handle);

impl Callbacks {
    /// For the module that the handle is of, which is the one whose callbacks these are.
    pub fn new(handle: &unload::Handle) -> Self {
        Self(handle.clone())
    }

    /// Calls [`RcuCallback::run`] with `this` after a grace period.
    ///
    /// Wraps `call_rcu_hurry()`. With `CONFIG_RCU_LAZY`, `call_rcu()` delays callbacks by seconds,
    /// which is meant for those that only free memory. Context: any but NMI; does not sleep.
    ///
    /// # Errors
    ///
    /// Gives `this` back when its head is queued already, through another `Arc`; or when the module
    /// is being unloaded, and its [`unload::Anchor`] is being dropped.
    #[inline]
    pub fn call<P, const ID: u64>(&self, this: P) -> Result<(), P>
    where
        P: RcuPointer,
        P::Target: RcuCallback<ID, Pointer = P>,
    {
        let raw = this.into_raw();
        // SAFETY: The target is alive and stays where it is until the pointer is taken back, by the
        // callback or below.
        if unsafe { self.queue::<P::Target, ID>(raw) } {
            Ok(())
        } else {
            // SAFETY: From `into_raw()` above.
            Err(unsafe { P::from_raw(raw) })
        }
    }

    /// As [`call`](Self::call), for what was taken out of an [`RcuSlot`](super::rcu_slot::RcuSlot):
    /// the callback owns it, and no reader of the slot is left.
    #[inline]
    pub fn call_retired<T, const ID: u64>(&self, this: Retired<T>) -> Result<(), Retired<T>>
    where
        T: RcuCallback<ID, Pointer = Arc<T>>,
    {
        let this = ManuallyDrop::new(this);
        // SAFETY: As in `call()`: where it was queued the `Arc` in `this` is the callback's, which
        // runs after a grace period.
        if unsafe { self.queue::<T, ID>(&**this) } {
            Ok(())
        } else {
            Err(ManuallyDrop::into_inner(this))
        }
    }

    /// Queues the head of `raw`, unless it is queued or the module goes; tells whether it did.
    ///
    /// # Safety
    ///
    /// `raw` is alive and stays where it is, and if this returns true, it is for the callback to
    /// take back as a `T::Pointer`.
    unsafe fn queue<T: RcuCallback<ID>, const ID: u64>(&self, raw: *const T) -> bool {
        // SAFETY: The caller guarantees that it is alive.
        let head = unsafe { &*raw }.rcu_head();
        let guard = preempt::disable();
        let queued = !self.0.is_closed() && !head.queued.xchg(true, Full);
        if queued {
            // SAFETY: The head is not queued, as the flag was clear, and the caller guarantees that it
            // stays until the callback. The code of the callback stays, too: the anchor was not closed,
            // and its drop waits first for this read-side section, then for the callback.
            unsafe {
                helpers::rust_kmemcg_call_rcu_hurry(head.head.get(), Some(callback::<T, ID>))
            };
        }
        drop(guard);
        queued
    }

    /// Waits until every callback that is queued now has run.
    ///
    /// Does not wait for a grace period where nothing is queued. Wraps `rcu_barrier()`.
    /// Context: may sleep.
    pub fn barrier(&self) {
        rcu::rcu_barrier();
    }
}

/// # Safety
///
/// Called by RCU only, with the `rcu_head` inside an [`RcuHead<T>`] that [`Callbacks`] queued.
unsafe extern "C" fn callback<T: RcuCallback<ID>, const ID: u64>(
    ptr: *mut bindings::callback_head,
) {
    let field: *const RcuHead<T> = Opaque::cast_from(ptr).cast();
    // SAFETY: The caller guarantees that `ptr` is that field of an `RcuHead<T>`.
    let field = unsafe { field.byte_sub(core::mem::offset_of!(RcuHead<T>, head)) };
    // SAFETY: An `RcuHead<T>` is queued only as the field of a `T`.
    let this = unsafe { T::container(field) };
    // SAFETY: Alive: it was given up for us. RCU is done with the head.
    unsafe { &*this }.rcu_head().queued.store(false, Release);
    // SAFETY: From `into_raw()`, and nobody else takes it back.
    let this = unsafe { T::Pointer::from_raw(this) };
    T::run(this, InCallback(PhantomData, NotThreadSafe));
}
