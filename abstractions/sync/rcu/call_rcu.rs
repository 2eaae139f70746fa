// SPDX-License-Identifier: GPL-2.0

//! Callbacks after a grace period.
//!
//! An [`RcuHead`] is embedded in a structure; [`Callbacks::call`] gives a `Pin<KBox>` or an [`Arc`]
//! of it to RCU, and [`RcuCallback::run`] receives that back when every reader that was there has
//! gone. Nothing is allocated, and a head cannot be queued twice.
//!
//! That can fail: the head may be queued already through another `Arc`, or the module is being
//! unloaded. An [`RcuArc`] has settled both when it was made: its head is its own, and it keeps the
//! module. Its drop gives its reference up after a grace period, and cannot fail.
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
//! use rust_kmemcg::abstractions::{sync::rcu::call_rcu::*, unload};
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
//!     Ok(Callbacks::new(module).call(entry)?)
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

mod arc;

pub use arc::RcuArc;

use crate::abstractions::{
    helpers,
    preempt,
    sync::rcu::slot::Retired,
    unload, //
};
use core::{
    marker::PhantomData,
    mem::{
        offset_of,
        ManuallyDrop, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Full,
            Release, //
        },
        rcu,
        Arc, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// A `struct rcu_head`, embedded in the `T` that its callback receives.
///
/// # Invariants
///
/// `queued` is true while `head` is queued, or an [`RcuArc`] has it. Only what has set it touches
/// `head`.
#[pin_data]
pub struct RcuHead<T> {
    #[pin]
    head: Opaque<bindings::callback_head>,
    queued: AtomicFlag,
    _callback: PhantomData<fn(T)>,
}

// SAFETY: `call_rcu()` may be called on another CPU than the one where the head was made, and the
// callback may run on any.
unsafe impl<T> Send for RcuHead<T> {}
// SAFETY: Several tasks have no access to `head` through a shared reference at a time: `queued` is
// set by one of them, by the type invariants.
unsafe impl<T> Sync for RcuHead<T> {}

impl<T> RcuHead<T> {
    /// Makes a head that is not queued.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Not queued. RCU writes `head` when it is queued; before that nobody reads
            // it.
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
        $crate::impl_has_field! {
            // SAFETY: The trait requires one field, and the inverse of its borrow.
            unsafe {$($($generics)*)?} $crate::abstractions::sync::rcu::call_rcu::HasRcuHead,
            $self { self.$field: $crate::abstractions::sync::rcu::call_rcu::RcuHead<Self> }
            rcu_head, container: container
        }
    };
}

/// What happens after the grace period.
///
/// A type that has several such callbacks, of which one at a time is queued, tells them apart by
/// `ID`, as [`WorkItem`](kernel::workqueue::WorkItem) does.
pub trait RcuCallback<const ID: u64 = 0>: HasRcuHead + Send + Sync + 'static {
    /// What is queued: `Arc<Self>` or `Pin<KBox<Self>>`.
    type Pointer: RcuPointer<Target = Self>;

    /// Receives what was given to [`Callbacks::call`].
    ///
    /// Context: softirq, or a kthread with softirqs disabled (on PREEMPT_RT; with `rcu_nocbs=` or
    /// `rcutree.use_softirq=0`). Must not sleep, so it must not drop the last pointer to a type
    /// whose destructor sleeps. `cx` tells the code that it calls where it is.
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

    #[inline]
    fn into_raw(self) -> *const T {
        Arc::into_raw(self)
    }

    #[inline]
    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: The caller's promise is that of `Arc::from_raw()`.
        unsafe { Arc::from_raw(raw) }
    }
}

// SAFETY: A pinned box keeps its `T` alive and in its place.
unsafe impl<T: Send + 'static> RcuPointer for Pin<KBox<T>> {
    type Target = T;

    #[inline]
    fn into_raw(self) -> *const T {
        // SAFETY: Nobody moves the `T` before it is a pinned box again.
        KBox::into_raw(unsafe { Pin::into_inner_unchecked(self) })
    }

    #[inline]
    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: From `KBox::into_raw()` above, by what the caller promises.
        KBox::into_pin(unsafe { KBox::from_raw(raw.cast_mut()) })
    }
}

/// Evidence that the code runs in an RCU callback.
///
/// Cannot leave the callback that it was made for.
///
/// # Invariants
///
/// There is one in an RCU callback only, for as long as that runs.
pub struct InCallback<'a>(PhantomData<&'a mut ()>, NotThreadSafe);

/// Why RCU did not take a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The head is queued, through another `Arc`, or belongs to an [`RcuArc`].
    Queued,
    /// The module is being unloaded, and its [`unload::Anchor`] is being dropped.
    Unloading,
}

/// A pointer that RCU did not take.
///
/// As an error code, `EBUSY` if its head is queued, and `ENODEV` if the module is being unloaded.
pub struct Refused<P> {
    /// The pointer.
    pub this: P,
    /// Why.
    pub reason: Reason,
}

impl<P> Refused<P> {
    /// Changes the pointer.
    #[inline]
    pub fn map<R>(self, f: impl FnOnce(P) -> R) -> Refused<R> {
        Refused {
            this: f(self.this),
            reason: self.reason,
        }
    }
}

impl<P> From<Refused<P>> for Error {
    fn from(refused: Refused<P>) -> Self {
        match refused.reason {
            Reason::Queued => EBUSY,
            Reason::Unloading => ENODEV,
        }
    }
}

/// Queues RCU callbacks, as long as the module's [`unload::Anchor`] exists.
#[derive(Clone)]
pub struct Callbacks(unload::Handle);

impl Callbacks {
    /// For the module that the handle is of, which is the one whose callbacks these are.
    #[inline]
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
    /// Gives `this` back, and says why: see [`Reason`]. A box has its head alone, so that it comes
    /// back only if the module is being unloaded.
    #[inline]
    pub fn call<P, const ID: u64>(&self, this: P) -> Result<(), Refused<P>>
    where
        P: RcuPointer,
        P::Target: RcuCallback<ID, Pointer = P>,
    {
        let raw = this.into_raw();
        // SAFETY: The target is alive and stays where it is until the pointer is taken back, by the
        // callback or below.
        unsafe { self.queue::<P::Target, ID>(raw) }.map_err(|reason| Refused {
            // SAFETY: From `into_raw()` above.
            this: unsafe { P::from_raw(raw) },
            reason,
        })
    }

    /// As [`call`](Self::call), for what was taken out of an [`RcuSlot`](super::slot::RcuSlot):
    /// the callback owns it, and no reader of the slot is left.
    #[inline]
    pub fn call_retired<T, const ID: u64>(
        &self,
        this: Retired<T>,
    ) -> Result<(), Refused<Retired<T>>>
    where
        T: RcuCallback<ID, Pointer = Arc<T>>,
    {
        let this = ManuallyDrop::new(this);
        // SAFETY: `this` keeps the target alive and in its place. Where it was queued the `Arc` in
        // `this` is the callback's, which runs after a grace period.
        unsafe { self.queue::<T, ID>(&**this) }.map_err(|reason| Refused {
            this: ManuallyDrop::into_inner(this),
            reason,
        })
    }

    /// Queues the head of `raw`, unless it is queued or the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `raw` is alive and stays where it is, and if this succeeds, it is for the callback to take
    /// back as a `T::Pointer`.
    #[inline]
    unsafe fn queue<T: RcuCallback<ID>, const ID: u64>(&self, raw: *const T) -> Result<(), Reason> {
        // SAFETY: The caller guarantees that it is alive.
        let head = unsafe { &*raw }.rcu_head();
        preempt::with(|_| {
            if self.0.is_closed() {
                return Err(Reason::Unloading);
            }
            if head.queued.xchg(true, Full) {
                return Err(Reason::Queued);
            }
            // SAFETY: `call_rcu()` requires a head that is not queued: the flag was clear, and is
            // set by this call. The caller guarantees that the head stays until the callback, which
            // is one for the head of a `T`. The code of the callback stays, too: the anchor was not
            // closed, and its drop waits first for this read-side section, then for the callback.
            unsafe {
                helpers::rust_kmemcg_call_rcu_hurry(head.head.get(), Some(callback::<T, ID>))
            };
            Ok(())
        })
    }

    /// Waits until every callback that is queued now has run.
    ///
    /// Does not wait for a grace period where nothing is queued. Wraps `rcu_barrier()`.
    /// Context: may sleep.
    #[inline]
    pub fn barrier(&self) {
        rcu::rcu_barrier();
    }
}

/// The structure whose head RCU has called back for; the head can be queued again.
///
/// # Safety
///
/// `ptr` is what a callback received, for a head that was queued as that of a `T`.
unsafe fn called_back<T: HasRcuHead>(ptr: *mut bindings::callback_head) -> *const T {
    let field: *const RcuHead<T> = Opaque::cast_from(ptr).cast();
    // SAFETY: The caller guarantees that `ptr` is that field of an `RcuHead<T>`.
    let field = unsafe { field.byte_sub(offset_of!(RcuHead<T>, head)) };
    // SAFETY: An `RcuHead<T>` is queued only as the field of a `T`.
    let this = unsafe { T::container(field) };
    // SAFETY: Alive: a pointer was given up for the callback. RCU does not touch the head any more.
    unsafe { &*this }.rcu_head().queued.store(false, Release);
    this
}

/// # Safety
///
/// Called by RCU only, with the `rcu_head` inside an [`RcuHead<T>`] that was queued with a
/// `T::Pointer`.
unsafe extern "C" fn callback<T: RcuCallback<ID>, const ID: u64>(
    ptr: *mut bindings::callback_head,
) {
    // SAFETY: The caller guarantees it.
    let this = unsafe { called_back::<T>(ptr) };
    // SAFETY: From `into_raw()`, and nobody else takes it back.
    let this = unsafe { T::Pointer::from_raw(this) };
    // INVARIANT: This is the callback.
    T::run(this, InCallback(PhantomData, NotThreadSafe));
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_call_rcu)]
mod tests {
    use super::*;
    use crate::abstractions::sync::rcu::slot;
    use kernel::sync::atomic::Relaxed;

    #[pin_data]
    struct Entry {
        #[pin]
        rcu: RcuHead<Entry>,
        called: AtomicFlag,
    }

    impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

    impl RcuCallback for Entry {
        type Pointer = Arc<Self>;

        fn run(this: Arc<Self>, _cx: InCallback<'_>) {
            this.called.store(true, Relaxed);
        }
    }

    fn entry() -> Result<Arc<Entry>> {
        let entry = pin_init!(Entry { rcu <- RcuHead::new(), called: AtomicFlag::new(false) });
        Arc::pin_init(entry, GFP_KERNEL)
    }

    #[test]
    fn a_head_is_queued_once_until_it_was_called() -> Result {
        unload::scope(|module| {
            let (entry, callbacks) = (entry()?, Callbacks::new(module));
            // The callback does not come before the end of the reader.
            let (first, second) =
                slot::read(|_| (callbacks.call(entry.clone()), callbacks.call(entry.clone())));
            assert!(first.is_ok());
            assert!(second.is_err_and(|refused| refused.reason == Reason::Queued));
            callbacks.barrier();
            assert!(entry.called.load(Relaxed));
            assert!(!entry.rcu.queued.load(Relaxed));
            Ok(callbacks.call(entry)?)
        })
    }

    #[test]
    fn an_rcu_arc_has_the_head_for_itself() -> Result {
        unload::scope(|module| {
            let (entry, callbacks) = (entry()?, Callbacks::new(module));
            let arc = RcuArc::from_arc(entry.clone(), module)?;
            assert!(callbacks.call(entry.clone()).is_err());
            assert!(RcuArc::from_arc(entry.clone(), module).is_err());
            drop(arc.into_arc());
            drop(RcuArc::from_arc(entry.clone(), module)?);
            callbacks.barrier();
            // It gave its reference up, and called nobody.
            assert!(!entry.called.load(Relaxed));
            assert!(Arc::into_unique_or_drop(entry).is_some());
            Ok(())
        })
    }

    #[test]
    fn none_is_queued_when_the_module_goes() -> Result {
        let mut callbacks = None;
        unload::scope(|module| {
            callbacks = Some(Callbacks::new(module));
            Ok(())
        })?;
        let refused = callbacks
            .ok_or(EINVAL)?
            .call(entry()?)
            .err()
            .ok_or(EINVAL)?;
        assert_eq!(refused.reason, Reason::Unloading);
        assert!(!refused.this.rcu.queued.load(Relaxed));
        Ok(())
    }
}
