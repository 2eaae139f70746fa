// SPDX-License-Identifier: GPL-2.0

//! Reference counts with per-CPU counters.
//!
//! [`PercpuRef`] is embedded in the structure that it counts. While it is live, taking and putting
//! a reference touches memory of this CPU only; after [`PercpuRef::kill`] and one grace period it
//! is an atomic counter, and when that reaches zero the [`Release`] callback runs, at once and in
//! the context of whoever put the last reference: a hard interrupt, for instance.
//!
//! The count owns an [`Arc`] of the structure from [`PercpuRef::start`] until the callback, which
//! receives it. So a [`Guard`], which stands for one reference, keeps the structure alive, although
//! it costs no shared cache line.
//!
//! On PREEMPT_RT, where spinlocks sleep, "any context" is any but a hard interrupt: for a kill,
//! and for a put that may be the last one.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::{percpu_ref::*, unload};
//! use rust_kmemcg::impl_has_percpu_ref;
//!
//! #[pin_data]
//! struct Session {
//!     #[pin]
//!     refs: PercpuRef<Session>,
//! }
//!
//! impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }
//!
//! impl Release for Session {
//!     // Runs in any context: must not sleep, and hands the rest to somebody who may.
//!     fn release(_this: Arc<Self>) {}
//! }
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let session = Arc::pin_init(
//!         try_pin_init!(Session { refs <- PercpuRef::new(GFP_KERNEL) }),
//!         GFP_KERNEL,
//!     )?;
//!     PercpuRef::start(&session, module)?;
//!     let guard = PercpuRef::tryget_live(&*session).ok_or(ENODEV)?;
//!     session.refs.kill();
//!     assert!(PercpuRef::tryget_live(&*session).is_none());
//!     drop(guard); // After a grace period: the last one, `release()` runs here.
//!     Ok(())
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! A count that was killed calls into the module once more, after a grace period or when the last
//! reference is put. So it has a hold on the module (see [`unload`]) from its start until that
//! call has returned: who never kills a count, or forgets a guard, makes `rmmod` wait for ever.
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use crate::abstractions::{gfp, helpers, rcu_slot::Reader, unload};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::transmute,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::Flags,
    bindings,
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed},
        Arc,
    },
    types::Opaque,
};

/// A `struct percpu_ref`, embedded in the `T` that it counts.
///
/// # Invariants
///
/// - `inner` is initialised, with `release_callback` as its release function and with
///   `PERCPU_REF_ALLOW_REINIT`.
/// - In every phase but `IDLE` the count owns one `Arc<T>` of the structure that contains it, and a
///   `hold` on the module. In `IDLE` the count is zero and dead, and there is no reference.
/// - `confirm` is null or `confirm_callback::<T>`; it is not null in `SWITCHING_CONFIRMED`.
/// - `hold` is written by who brought the count from `IDLE` to `STARTING`, and taken by the release
///   callback before it brings it back.
#[pin_data(PinnedDrop)]
pub struct PercpuRef<T> {
    #[pin]
    inner: Opaque<bindings::percpu_ref>,
    phase: Atomic<u64>,
    confirm: Atomic<*mut c_void>,
    hold: UnsafeCell<Option<unload::Hold>>,
    _counts: PhantomData<fn(T) -> T>,
}

// The phase of a count. The bits above count the starts, so that a transition that was overtaken
// by a whole life fails.
const IDLE: u64 = 0;
const STARTING: u64 = 1;
const LIVE: u64 = 2;
const KILLING: u64 = 3;
const KILLED: u64 = 4;
const RESURRECTING: u64 = 5;
const SWITCHING: u64 = 6;
// Killed while switching: whoever switches kills it afterwards. So does he with the other one, and
// has that confirmed.
const SWITCHING_KILLED: u64 = 7;
const SWITCHING_CONFIRMED: u64 = 8;
const PHASE: u64 = 15;
const START: u64 = PHASE + 1;

// SAFETY: A `percpu_ref` may be used from any CPU; what a thread can reach through it is `T`s,
// shared (guards) and owned (the release callback).
unsafe impl<T: Send + Sync> Send for PercpuRef<T> {}
// SAFETY: As above; all operations are thread-safe.
unsafe impl<T: Send + Sync> Sync for PercpuRef<T> {}

/// Says that a type contains a [`PercpuRef`] that counts it.
///
/// Implemented by [`impl_has_percpu_ref!`](crate::impl_has_percpu_ref!).
///
/// # Safety
///
/// [`percpu_ref`](Self::percpu_ref) returns the same field of `self` always, and
/// [`container`](Self::container) is its inverse.
pub unsafe trait HasPercpuRef: Sized + Send + Sync + 'static {
    /// The field.
    fn percpu_ref(&self) -> &PercpuRef<Self>;

    /// The structure around the field.
    ///
    /// # Safety
    ///
    /// `field` points at the field of a live `Self`.
    unsafe fn container(field: *const PercpuRef<Self>) -> *const Self;
}

/// Implements [`HasPercpuRef`] for a field.
#[macro_export]
macro_rules! impl_has_percpu_ref {
    (impl $({$($generics:tt)*})? HasPercpuRef for $self:ty { self.$field:ident }) => {
        // SAFETY: `percpu_ref` borrows the field and `container_of!` is the inverse of that; it
        // compiles only if the field has the right type.
        unsafe impl $(<$($generics)*>)? $crate::abstractions::percpu_ref::HasPercpuRef for $self {
            #[inline]
            fn percpu_ref(&self) -> &$crate::abstractions::percpu_ref::PercpuRef<Self> {
                &self.$field
            }

            #[inline]
            unsafe fn container(
                field: *const $crate::abstractions::percpu_ref::PercpuRef<Self>,
            ) -> *const Self {
                // SAFETY: The caller says that `field` is this field of a `Self`.
                unsafe { ::kernel::container_of!(field, Self, $field) }
            }
        }
    };
}

/// What happens when the last reference is gone.
pub trait Release: HasPercpuRef {
    /// Called once for each start, when the count reaches zero after a kill, by whoever put the
    /// last reference.
    ///
    /// Context: any, hard irq included (not on PREEMPT_RT); an RCU read-side critical section.
    /// Must not sleep. So it must not drop the last [`Arc`] of a type whose destructor sleeps:
    /// pass it on.
    fn release(this: Arc<Self>);
}

/// What happens when a kill is seen by all CPUs.
pub trait Confirm: Release {
    /// Called once for each [`PercpuRef::kill_and_confirm`], when no live reference can be taken
    /// any more; the count is still above zero.
    ///
    /// Context: softirq, or that of the caller of the kill, where the count was atomic already;
    /// then with a lock held that all counts share. So it must not sleep, and must not call
    /// anything of a [`PercpuRef`].
    fn confirmed(&self);
}

impl<T: Release> PercpuRef<T> {
    /// Makes a count that is idle: zero, and dead until [`start`](Self::start).
    ///
    /// Stands on `percpu_ref_init()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(flags: Flags) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Initialised here, with the release function and the flag; idle.
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::percpu_ref| {
                // SAFETY: `slot` is valid for writing a `percpu_ref` and will not move; the
                // destructor calls `percpu_ref_exit()`.
                to_result(unsafe {
                    bindings::percpu_ref_init(
                        slot,
                        Some(release_callback::<T>),
                        bindings::PERCPU_REF_INIT_DEAD | bindings::PERCPU_REF_ALLOW_REINIT,
                        gfp::raw(flags),
                    )
                })
            }),
            phase: Atomic::new(IDLE),
            confirm: Atomic::new(ptr::null_mut()),
            hold: UnsafeCell::new(None),
            _counts: PhantomData,
        })
    }

    /// Makes an idle count live. It owns a clone of `this`, and a hold on the module, until the
    /// release callback.
    ///
    /// Stands on `percpu_ref_reinit()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: the count is not idle; nothing was changed. `ENODEV`: the module is being unloaded.
    pub fn start(this: &Arc<T>, module: &impl unload::Source) -> Result {
        let hold = module.take_hold(unload::Abstraction::new())?;
        let refs = this.percpu_ref();
        let starting = refs.transition(IDLE, STARTING).ok_or(EBUSY)?;
        // INVARIANT: The count owns this `Arc` and the hold from here.
        let _ = Arc::into_raw(this.clone());
        // SAFETY: By the type invariants nobody else uses it in this phase, which is ours alone.
        unsafe { *refs.hold.get() = Some(hold) };
        // SAFETY: Initialised, and ours alone in this phase; by the invariant of `IDLE` it is
        // zero and dead, as `percpu_ref_reinit()` demands.
        unsafe { bindings::percpu_ref_reinit(refs.inner.get()) };
        refs.complete(starting, LIVE);
        Ok(())
    }

    /// Takes a reference, unless the count was killed or never started.
    ///
    /// As `percpu_ref_tryget_live()`, but see `include/percpu_ref_preempt.h`. Context: any.
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

    /// Takes a live reference where the count is per-CPU, the common case in the fewest
    /// instructions; none says nothing. For somebody who is an RCU reader anyway. Context: any.
    #[inline]
    pub fn tryget_percpu(this: &T, _reader: &impl Reader) -> Option<Guard<T>> {
        let refs = this.percpu_ref().inner.get();
        // SAFETY: Initialised, by the type invariants; the caller is a reader.
        if unsafe { helpers::rust_kmemcg_percpu_ref_tryget_percpu(refs) } {
            // INVARIANT: This is the reference.
            Some(Guard(NonNull::from(this)))
        } else {
            None
        }
    }

    /// Takes a reference, killed or not, unless the count is zero.
    ///
    /// Stands on `percpu_ref_tryget()`. Context: any.
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

    /// Ends the life of the count: nobody can take a live reference any more, and after a grace
    /// period the last put calls the release callback.
    ///
    /// Returns whether this call did it: a count is killed once only, and not while
    /// [`start`](Self::start) or [`resurrect`](Self::resurrect) is at work on it. Stands on
    /// `percpu_ref_kill()`. Context: any; does not wait. The callback may run before it returns.
    ///
    /// While the count is being switched ([`switch_to_atomic`](Self::switch_to_atomic)), the kill
    /// is put off: who switches does it in the end, and live references can be taken until then.
    pub fn kill(&self) -> bool {
        self.kill_or_leave(SWITCHING_KILLED, None)
    }

    /// As [`kill`](Self::kill), and calls [`Confirm::confirmed`] when no CPU can take a live
    /// reference any more. Context: any; does not wait. While the count is being switched it is
    /// put off, like the kill.
    pub fn kill_and_confirm(&self) -> bool
    where
        T: Confirm,
    {
        let confirm: unsafe extern "C" fn(*mut bindings::percpu_ref) = confirm_callback::<T>;
        // INVARIANT: That is the one.
        self.confirm.store(confirm as *mut c_void, Relaxed);
        self.kill_or_leave(SWITCHING_CONFIRMED, Some(confirm))
    }

    /// Makes a killed count live again. The guard is the proof that it is not zero.
    ///
    /// Returns whether this call did it. Stands on `percpu_ref_resurrect()`. Context: may sleep.
    pub fn resurrect(guard: &Guard<T>) -> bool {
        let refs = guard.percpu_ref();
        let Some(resurrecting) = refs.transition(KILLED, RESURRECTING) else {
            return false;
        };
        // SAFETY: Initialised; dead, as the phase was `KILLED`; not zero, as the guard holds a
        // reference.
        unsafe { bindings::percpu_ref_resurrect(refs.inner.get()) };
        refs.complete(resurrecting, LIVE);
        true
    }
}

impl<T> PercpuRef<T> {
    /// From phase `from` to `to`; returns the new value, or none in any other phase.
    fn transition(&self, from: u64, to: u64) -> Option<u64> {
        let old = self.phase.load(Relaxed);
        let new = (old & !PHASE).wrapping_add(if to == STARTING { START } else { 0 }) | to;
        if old & PHASE != from {
            return None;
        }
        self.phase.cmpxchg(old, new, Full).ok().map(|_| new)
    }

    /// Ends a transition, unless something came between: the release callback, or a kill of a count
    /// that is being switched. Tells whether it did.
    fn complete(&self, transition: u64, to: u64) -> bool {
        let ended = transition & !PHASE | to;
        self.phase.cmpxchg(transition, ended, Full).is_ok()
    }

    /// Makes a live count atomic, killed or not, until
    /// [`switch_to_percpu`](Self::switch_to_percpu), and waits until it is.
    ///
    /// False where the count is not live; nothing was changed then. Stands on
    /// `percpu_ref_switch_to_atomic_sync()`. Context: may sleep.
    pub fn switch_to_atomic(&self) -> bool {
        // SAFETY: Initialised, by the type invariants. Nobody switches it back meanwhile: the phase
        // is ours alone.
        self.switch(|refs| unsafe { bindings::percpu_ref_switch_to_atomic_sync(refs) })
    }

    /// Makes a live count per-CPU again.
    ///
    /// False where the count is not live; nothing was changed then. Stands on
    /// `percpu_ref_switch_to_percpu()`. Context: may sleep.
    pub fn switch_to_percpu(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        self.switch(|refs| unsafe { bindings::percpu_ref_switch_to_percpu(refs) })
    }

    /// Kills a live count. One that is being switched is brought to `later`, and left to who
    /// switches it.
    fn kill_or_leave(&self, later: u64, confirm: bindings::percpu_ref_func_t) -> bool {
        // Goes round only where somebody else changed the phase meanwhile.
        loop {
            match self.phase.load(Relaxed) & PHASE {
                LIVE if self.kill_from(LIVE, confirm) => return true,
                SWITCHING if self.transition(SWITCHING, later).is_some() => return true,
                LIVE | SWITCHING => (),
                _ => return false,
            }
        }
    }

    fn kill_from(&self, phase: u64, confirm: bindings::percpu_ref_func_t) -> bool {
        let Some(killing) = self.transition(phase, KILLING) else {
            return false;
        };
        // A kill puts the first reference with a lock of the percpu_ref core held, which all counts
        // share. One reference more, and where that was the last one the release callback runs
        // below instead, without it.
        // SAFETY: Initialised; live, so not killed yet, and nobody else gets here before the
        // count was started or resurrected anew. So the count is not zero; the reference that is
        // taken is put. The count keeps the `T` alive until `confirm`, which is for a `T`, has
        // returned.
        unsafe {
            helpers::rust_kmemcg_percpu_ref_get(self.inner.get());
            bindings::percpu_ref_kill_and_confirm(self.inner.get(), confirm);
            helpers::rust_kmemcg_percpu_ref_put(self.inner.get());
        }
        // Does nothing where the callback ran already.
        self.complete(killing, KILLED);
        true
    }

    /// Changes the mode in a phase of its own: C would make a kill wait for the switch, and a kill
    /// must not sleep. So a kill meanwhile is left to us.
    fn switch(&self, f: impl FnOnce(*mut bindings::percpu_ref)) -> bool {
        let Some(switching) = self.transition(LIVE, SWITCHING) else {
            return false;
        };
        f(self.inner.get());
        if self.complete(switching, LIVE) {
            return true;
        }
        // Killed, and nobody else changes these phases.
        let phase = self.phase.load(Acquire) & PHASE;
        let confirm = match phase {
            SWITCHING_CONFIRMED => self.confirm.load(Relaxed),
            _ => ptr::null_mut(),
        };
        // SAFETY: Null, which is none, or such a function, by the type invariants.
        let confirm = unsafe { transmute::<*mut c_void, bindings::percpu_ref_func_t>(confirm) };
        self.kill_from(phase, confirm);
        true
    }

    /// Is the count zero? False while it is per-CPU. Stands on `percpu_ref_is_zero()`. Context:
    /// any.
    pub fn is_zero(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        unsafe { bindings::percpu_ref_is_zero(self.inner.get()) }
    }

    /// How many references there are, the one of a live count itself not among them: a snapshot,
    /// exact where nobody takes or puts any. Context: any; adds up all CPUs.
    pub fn count(&self) -> usize {
        // SAFETY: Initialised, by the type invariants. What it reads stays until
        // `percpu_ref_exit()`, since the count can be started anew (`PERCPU_REF_ALLOW_REINIT`).
        let all = unsafe { helpers::rust_kmemcg_percpu_ref_count(self.inner.get()) };
        let own = matches!(
            self.phase.load(Relaxed) & PHASE,
            STARTING | LIVE | SWITCHING | SWITCHING_KILLED | SWITCHING_CONFIRMED | RESURRECTING
        );
        usize::try_from(all).unwrap_or(0).saturating_sub(own.into())
    }

    /// Was the count killed, and has every CPU seen that? Context: any.
    pub fn is_exact(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        self.is_dying() && unsafe { helpers::rust_kmemcg_percpu_ref_is_exact(self.inner.get()) }
    }

    /// Was the count killed (or never started)? Context: any.
    pub fn is_dying(&self) -> bool {
        // SAFETY: Initialised, by the type invariants.
        unsafe { helpers::rust_kmemcg_percpu_ref_is_dying(self.inner.get()) }
    }

    /// Was the count started, and not killed since? Context: any.
    pub fn is_live(&self) -> bool {
        matches!(self.phase.load(Acquire) & PHASE, LIVE | SWITCHING)
    }

    /// Has the release callback been entered, or was the count never started? Context: any.
    pub fn is_idle(&self) -> bool {
        self.phase.load(Acquire) & PHASE == IDLE
    }
}

#[pinned_drop]
impl<T> PinnedDrop for PercpuRef<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised. Nobody uses it: the structure around it is being dropped, so no
        // `Arc` of it is left, the count owns none, and by the type invariants it is idle.
        unsafe { bindings::percpu_ref_exit(self.inner.get()) };
    }
}

/// # Safety
///
/// Called by the percpu_ref core only, for a `percpu_ref` inside a [`PercpuRef<T>`] whose count is
/// not zero yet.
unsafe extern "C" fn confirm_callback<T: Confirm>(ptr: *mut bindings::percpu_ref) {
    // SAFETY: Such a `percpu_ref`, says the caller; its count is that of a `T`, which is alive as
    // long as the count is not zero.
    unsafe { &*container::<T>(ptr) }.confirmed();
}

/// The `T` of a `percpu_ref`.
///
/// # Safety
///
/// `ptr` is inside a [`PercpuRef<T>`] that was started.
unsafe fn container<T: HasPercpuRef>(ptr: *mut bindings::percpu_ref) -> *const T {
    let field: *const PercpuRef<T> = Opaque::cast_from(ptr).cast();
    // SAFETY: `ptr` is that field of a `PercpuRef<T>`, says the caller.
    let field = unsafe { field.byte_sub(core::mem::offset_of!(PercpuRef<T>, inner)) };
    // SAFETY: A `PercpuRef<T>` of a `T: HasPercpuRef` is started only as the field of a `T`.
    unsafe { T::container(field) }
}

/// # Safety
///
/// Called by the percpu_ref core only, for a `percpu_ref` inside a [`PercpuRef<T>`], when the
/// count has reached zero.
unsafe extern "C" fn release_callback<T: Release>(ptr: *mut bindings::percpu_ref) {
    // SAFETY: Such a `percpu_ref`, says the caller.
    let this = unsafe { container::<T>(ptr) };
    // SAFETY: By the type invariants the count owns an `Arc` of it; it is alive.
    let refs = unsafe { &*this }.percpu_ref();
    // SAFETY: By the type invariants it is ours, as long as the phase is not `IDLE`.
    let hold = unsafe { (*refs.hold.get()).take() };
    // INVARIANT: The count is zero and dead; its hold was taken, its `Arc` is taken over below.
    let mut now = refs.phase.load(Relaxed);
    // At most a concurrent `kill()` moves the phase, once, from `KILLING` to `KILLED`.
    while let Err(seen) = refs.phase.cmpxchg(now, now & !PHASE, Full) {
        now = seen;
    }
    // SAFETY: This is the `Arc` of `start()`; the phase was not `IDLE`, so nobody took it yet.
    T::release(unsafe { Arc::from_raw(this) });
    // What is left of this function is in the RCU read-side critical section of `percpu_ref_put()`,
    // which the module's anchor waits for.
    drop(hold);
}

/// A reference counted by the [`PercpuRef`] of `T`. Keeps the `T` alive.
///
/// Dropping it is legal in any context, and may run [`Release::release`] there, in an RCU read-side
/// critical section. As `percpu_ref_put()`, but see `include/percpu_ref_preempt.h`.
///
/// # Invariants
///
/// Holds one reference of the count; so the count owns an `Arc<T>`, and the `T` is alive.
pub struct Guard<T: Release>(NonNull<T>);

// SAFETY: A guard gives shared access to a `T: Send + Sync`, and its drop passes an `Arc<T>` on.
unsafe impl<T: Release> Send for Guard<T> {}
// SAFETY: As above.
unsafe impl<T: Release> Sync for Guard<T> {}

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
        // SAFETY: Initialised; this guard holds a reference, so the count is not zero.
        unsafe { helpers::rust_kmemcg_percpu_ref_get(self.percpu_ref().inner.get()) };
        // INVARIANT: This is the reference.
        Self(self.0)
    }
}

impl<T: Release> Drop for Guard<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Initialised; puts the reference of this guard.
        unsafe { helpers::rust_kmemcg_percpu_ref_put(self.percpu_ref().inner.get()) };
    }
}
