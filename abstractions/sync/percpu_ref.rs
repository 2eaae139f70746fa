// SPDX-License-Identifier: GPL-2.0

//! Reference counts with per-CPU counters.
//!
//! [`PercpuRef`] is embedded in the structure that it counts. While it is live, taking and putting
//! a reference touches memory of this CPU only; after [`PercpuRef::kill`] and one grace period it
//! is an atomic counter, and when that reaches zero the [`Release`] callback runs, at once and in
//! the context of whoever put the last reference: a hard interrupt, for instance.
//!
//! The count owns an [`Arc`] of the structure from [`PercpuRef::start`] until the callback, which
//! receives it as a [`Released`]: a pointer that can only be queued, as the destructor of the
//! structure may sleep. So a [`Guard`], which stands for one reference, keeps the structure alive,
//! although it costs no shared cache line.
//!
//! On PREEMPT_RT, where spinlocks sleep, "any context" is any but a hard interrupt: for a kill,
//! and for a put that may be the last one.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc, workqueue::*};
//! use rust_kmemcg::abstractions::{sync::percpu_ref::*, unload, workqueue::{Builder, OwnedQueue}};
//! use rust_kmemcg::impl_has_percpu_ref;
//!
//! #[pin_data]
//! struct Session {
//!     #[pin]
//!     refs: PercpuRef<Session>,
//!     #[pin]
//!     work: Work<Session>,
//!     queue: Arc<OwnedQueue>,
//! }
//!
//! impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }
//! impl_has_work! { impl HasWork<Self> for Session { self.work } }
//!
//! impl Release for Session {
//!     // Runs in any context, and must not sleep: passes the structure on to a worker, which may.
//!     fn release(this: Released<Self>) {
//!         // Refused only if somebody else has queued it, or cancels it, and so has an `Arc`.
//!         let _ = this.enqueue_on(|this| &this.queue);
//!     }
//! }
//!
//! impl WorkItem for Session {
//!     type Pointer = Arc<Self>;
//!
//!     fn run(_this: Arc<Self>) {}
//! }
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let queue = Builder::unbound().build(c"example", module)?;
//!     let queue = Arc::new(queue, GFP_KERNEL)?;
//!     let releases = queue.clone();
//!     let session = Arc::pin_init(
//!         try_pin_init!(Session {
//!             refs <- PercpuRef::new(GFP_KERNEL),
//!             work <- new_work!("Session::work"),
//!             queue: releases,
//!         }),
//!         GFP_KERNEL,
//!     )?;
//!     PercpuRef::start(&session, module)?;
//!     let guard = PercpuRef::tryget_live(&*session).ok_or(ENODEV)?;
//!     session.refs.kill();
//!     assert!(PercpuRef::tryget_live(&*session).is_none());
//!     kernel::sync::rcu::rcu_barrier();
//!     drop(guard); // After a grace period: the last one, `release()` runs here.
//!     queue.flush();
//!     Ok(())
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! A count that was killed calls into the module once more, after a grace period or when the last
//! reference is put. So it has a hold on the module (see [`unload`]) from its start until that
//! call has returned: if a count is never killed, or a guard is forgotten, `rmmod` waits for ever.
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

mod guard;
mod inspect;
mod phase;
mod released;

pub use guard::Guard;
pub use released::Released;

use crate::abstractions::{gfp, helpers, unload};
use core::{cell::UnsafeCell, marker::PhantomData, mem::transmute, ptr};
use kernel::{
    alloc::Flags,
    bindings,
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{Atomic, AtomicFlag, Full, Relaxed},
        Arc,
    },
    task::might_sleep,
    types::Opaque,
};
use phase::{Phase, State, CONFIRM, IDLE, KILL, KILLED, KILLING, LIVE, TO_ATOMIC, TO_PERCPU};

/// A `struct percpu_ref`, embedded in the `T` that it counts.
///
/// # Invariants
///
/// - `inner` is initialised, with `release_callback` as its release function and with
///   `PERCPU_REF_ALLOW_REINIT`.
/// - In `IDLE` the count is zero and dead, and there is no reference. [`start`](Self::start), which
///   ends this phase, gives the count one `Arc<T>` of the structure that contains it, and a `hold`
///   on the module; the release callback takes both before it begins the phase anew.
/// - `confirm` is null or `confirm_callback::<T>`; it is not null in a phase with `CONFIRM`, nor
///   while a kill that was such is not confirmed.
/// - `confirming` is set from the first call of `confirm_callback::<T>` until the second, of the
///   two that each kill with a confirmation makes.
/// - `killers` is how many kills have ended the phase before theirs, and may have a reference.
#[pin_data(PinnedDrop)]
pub struct PercpuRef<T> {
    #[pin]
    inner: Opaque<bindings::percpu_ref>,
    phase: Phase,
    confirm: Atomic<*mut c_void>,
    confirming: AtomicFlag,
    killers: Atomic<u64>,
    hold: UnsafeCell<Option<unload::Hold>>,
    _counts: PhantomData<fn(T) -> T>,
}

// SAFETY: A `percpu_ref` may be used from any CPU. The `T`s that a thread can reach through it are
// shared (guards) and owned (the release callback).
unsafe impl<T: Send + Sync> Send for PercpuRef<T> {}
// SAFETY: All operations on a `percpu_ref` are atomic or take `percpu_ref_switch_lock`; `hold` is
// used in phases that belong to one thread. The `T`s are as for `Send`.
unsafe impl<T: Send + Sync> Sync for PercpuRef<T> {}

/// Declares that a type contains a [`PercpuRef`] that counts it.
///
/// Implemented by [`impl_has_percpu_ref!`](crate::impl_has_percpu_ref!).
///
/// # Safety
///
/// [`percpu_ref`](Self::percpu_ref) always returns the same field of `self`, and
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
        $crate::impl_has_field! {
            // SAFETY: The trait requires one field, and the inverse of its borrow.
            unsafe {$($($generics)*)?} $crate::abstractions::sync::percpu_ref::HasPercpuRef,
            $self { self.$field: $crate::abstractions::sync::percpu_ref::PercpuRef<Self> }
            percpu_ref, container: container
        }
    };
}

/// The callback for the last put.
pub trait Release: HasPercpuRef {
    /// Called once for each start, when the count reaches zero after a kill, by whoever puts the
    /// last reference.
    ///
    /// Context: any but NMI, hard irq included (not on PREEMPT_RT); an RCU read-side critical
    /// section. Must not sleep. `this` must be queued, unless there is another [`Arc`] of the
    /// structure.
    ///
    /// Once it is queued the structure may be dropped at any time, also before this has returned.
    /// So whatever is cloned out of the structure, and dropped here, may be the last of its kind:
    /// its destructor must not sleep. A queue in the structure needs no clone: see
    /// [`Released::enqueue_on`].
    fn release(this: Released<Self>);
}

/// The callback for a kill that all CPUs have seen.
pub trait Confirm: Release {
    /// Called once for each [`PercpuRef::kill_and_confirm`] that returned true, when no live
    /// reference can be taken any more; the count is still above zero, and cannot be resurrected
    /// before this has returned.
    ///
    /// Context: softirq, or that of the kill (of the operation that it was deferred to). No lock
    /// of the percpu_ref core is held. Must not sleep.
    fn confirmed(&self);
}

impl<T: Release> PercpuRef<T> {
    /// Makes a count that is idle: zero, and dead until [`start`](Self::start).
    ///
    /// Wraps `percpu_ref_init()`. Context: as `flags` allow.
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
            phase: Phase::new(),
            confirm: Atomic::new(ptr::null_mut()),
            confirming: AtomicFlag::new(false),
            killers: Atomic::new(0),
            hold: UnsafeCell::new(None),
            _counts: PhantomData,
        })
    }

    /// Makes an idle count live. It owns a clone of `this`, and a hold on the module, until the
    /// release callback.
    ///
    /// Wraps `percpu_ref_reinit()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: the count is not idle; nothing was changed. `ENODEV`: the module is being unloaded.
    pub fn start(this: &Arc<T>, module: &impl unload::Source) -> Result {
        might_sleep();
        let hold = module.take_hold(unload::Abstraction::new())?;
        let refs = this.percpu_ref();
        let reinit = |inner| {
            // INVARIANT: The count owns this `Arc` and the hold from here.
            let _ = Arc::into_raw(this.clone());
            // SAFETY: The phase was `IDLE`, so the release callback is done with the hold, and the
            // next one cannot come before the kill that follows this change.
            unsafe { *refs.hold.get() = Some(hold) };
            // SAFETY: Initialised. `percpu_ref_reinit()` requires that the count is zero and dead,
            // which is the invariant of `IDLE`, and the change belongs to this thread.
            unsafe { bindings::percpu_ref_reinit(inner) };
        };
        refs.change(IDLE, TO_PERCPU, reinit).map_err(|_| EBUSY)
    }

    /// Kills the count: no live reference can be taken any more, and after a grace period the last
    /// put calls the release callback.
    ///
    /// Returns whether this call did it; false means that the count was killed before, or was
    /// never started. While another thread changes the count (starts, resurrects or switches it)
    /// the kill is deferred to the end of that change, and live references can be taken until then.
    ///
    /// Wraps `percpu_ref_kill()`. Context: any but NMI; does not wait. The release callback may run
    /// before it returns.
    pub fn kill(&self) -> bool {
        self.kill_or_defer(State::NONE)
    }

    /// As [`kill`](Self::kill), and calls [`Confirm::confirmed`] when no CPU can take a live
    /// reference any more. If the kill is deferred, so is the confirmation.
    ///
    /// Wraps `percpu_ref_kill_and_confirm()`. Context: any but NMI; does not wait.
    pub fn kill_and_confirm(&self) -> bool
    where
        T: Confirm,
    {
        let confirm: unsafe extern "C" fn(*mut bindings::percpu_ref) = confirm_callback::<T>;
        // INVARIANT: It is `confirm_callback::<T>`.
        self.confirm.store(confirm as *mut c_void, Relaxed);
        self.kill_or_defer(CONFIRM)
    }

    /// Makes a killed count live again. The guard is the proof that it is not zero.
    ///
    /// Wraps `percpu_ref_resurrect()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// Nothing was changed then. `EALREADY`: the count is live, or another thread is making it so.
    /// `EBUSY`: the kill has not returned, or was not confirmed yet; or a kill was deferred.
    pub fn resurrect(guard: &Guard<T>) -> Result {
        might_sleep();
        let resurrect = |inner| {
            // SAFETY: Initialised. `percpu_ref_resurrect()` requires that the count is dead, as it
            // was in `KILLED`, and that it is not released meanwhile: the guard holds a reference.
            unsafe { bindings::percpu_ref_resurrect(inner) };
        };
        let result = guard.percpu_ref().change(KILLED, TO_PERCPU, resurrect);
        result.map_err(|seen| if seen.is_live() { EALREADY } else { EBUSY })
    }
}

impl<T> PercpuRef<T> {
    /// Makes a live count atomic, killed or not, until
    /// [`switch_to_percpu`](Self::switch_to_percpu), and waits until it is.
    ///
    /// Wraps `percpu_ref_switch_to_atomic_sync()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// Nothing was changed then. `ENODEV`: the count was killed, or was never started. `EBUSY`:
    /// another thread starts, resurrects or switches it.
    pub fn switch_to_atomic(&self) -> Result {
        might_sleep();
        let switch = |inner| {
            // SAFETY: Initialised. `percpu_ref_switch_to_atomic_sync()` requires that nobody
            // switches the count back meanwhile: the change belongs to this thread.
            unsafe { bindings::percpu_ref_switch_to_atomic_sync(inner) };
        };
        self.change(LIVE, TO_ATOMIC, switch)
            .map_err(State::not_live)
    }

    /// Makes a live count per-CPU again.
    ///
    /// Wraps `percpu_ref_switch_to_percpu()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// As [`switch_to_atomic`](Self::switch_to_atomic).
    pub fn switch_to_percpu(&self) -> Result {
        might_sleep();
        let switch = |inner| {
            // SAFETY: Initialised.
            unsafe { bindings::percpu_ref_switch_to_percpu(inner) };
        };
        self.change(LIVE, TO_PERCPU, switch)
            .map_err(State::not_live)
    }

    /// Makes the count live, or changes its mode, in a phase of its own: C would make a kill wait
    /// for a switch, and a kill must not sleep. So a kill meanwhile is deferred to the end.
    fn change(
        &self,
        from: State,
        to: State,
        f: impl FnOnce(*mut bindings::percpu_ref),
    ) -> Result<(), State> {
        let change = self.phase.begin(from, to)?;
        f(self.inner.get());
        if let Err(seen) = self.phase.end(change, LIVE) {
            // Only a deferred kill adds to the phase of a change.
            self.kill_from(seen.without(State::NUMBER), seen.only(CONFIRM));
        }
        Ok(())
    }

    /// Kills a live count; `confirm` is `CONFIRM` or nothing. Leaves one that is being changed to
    /// the thread that does so.
    fn kill_or_defer(&self, confirm: State) -> bool {
        // Goes round only if another thread changed the phase meanwhile.
        loop {
            let seen = self.phase.get();
            let done = match seen.without(State::NUMBER) {
                LIVE => self.kill_from(LIVE, confirm),
                TO_ATOMIC | TO_PERCPU => self.phase.add(seen, KILL.with(confirm)),
                _ => return false,
            };
            if done {
                return true;
            }
        }
    }

    fn kill_from(&self, from: State, confirm: State) -> bool {
        let Ok(killing) = self.phase.begin(from, KILLING) else {
            return false;
        };
        // INVARIANT: This one. Whoever sees `KILLED` sees it, too.
        self.killers.fetch_add(1, Relaxed);
        let confirm = match confirm {
            CONFIRM => self.confirm.load(Relaxed),
            _ => ptr::null_mut(),
        };
        // SAFETY: Null, which is `None`, or such a function, by the type invariants.
        let confirm = unsafe { transmute::<*mut c_void, bindings::percpu_ref_func_t>(confirm) };
        // `percpu_ref_kill_and_confirm()` puts the first reference, and confirms a kill of a count
        // that is atomic already, with a lock held that all counts share. With one reference more
        // the release callback runs below instead, without it; the confirmation needs two calls.
        // SAFETY: Initialised. `percpu_ref_kill_and_confirm()` must be called once for each start
        // or resurrection: the count is live, and this thread ended the phase in which it was. So
        // the count is not zero; the reference that is taken is put below.
        unsafe {
            helpers::rust_kmemcg_percpu_ref_get(self.inner.get());
            bindings::percpu_ref_kill_and_confirm(self.inner.get(), confirm);
        }
        match confirm {
            // SAFETY: Called once by this kill, as by C; the reference keeps the count above zero.
            Some(confirm) => unsafe { confirm(self.inner.get()) },
            None => self.killed(killing),
        }
        // SAFETY: Initialised; puts the reference that was taken above.
        unsafe { helpers::rust_kmemcg_percpu_ref_put(self.inner.get()) };
        // INVARIANT: It has none any more. The caller has borrowed `self`, so it is still there.
        self.killers.fetch_sub(1, Full);
        true
    }

    /// Ends the phase of a kill.
    fn killed(&self, killing: State) {
        // The count is above zero and its kill has not ended: nobody else changes the phase.
        let ended = self.phase.end(killing, KILLED);
        kernel::warn_on!(ended.is_err());
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

/// Called twice for each kill with a confirmation: by the percpu_ref core, in an RCU callback or,
/// if the count is atomic already, with `percpu_ref_switch_lock` held; and by the kill itself,
/// without it. Whichever comes second finds that all CPUs have seen the kill, and that the lock is
/// not held by this thread.
///
/// # Safety
///
/// `ptr` is inside a [`PercpuRef<T>`] that is being killed and whose count is not zero.
unsafe extern "C" fn confirm_callback<T: Confirm>(ptr: *mut bindings::percpu_ref) {
    // SAFETY: The caller guarantees that it is such a `percpu_ref`, and that the count is not zero:
    // so it owns an `Arc` of the `T`.
    let this = unsafe { &*container::<T>(ptr) };
    let refs = this.percpu_ref();
    if refs.confirming.xchg(true, Full) {
        // INVARIANT: This is the second call.
        refs.confirming.store(false, Relaxed);
        let killing = refs.phase.get();
        this.confirmed();
        refs.killed(killing);
    }
}

/// The `T` of a `percpu_ref`.
///
/// # Safety
///
/// `ptr` is inside a [`PercpuRef<T>`] that was started.
unsafe fn container<T: HasPercpuRef>(ptr: *mut bindings::percpu_ref) -> *const T {
    let field: *const PercpuRef<T> = Opaque::cast_from(ptr).cast();
    // SAFETY: The caller guarantees that `ptr` is that field of a `PercpuRef<T>`.
    let field = unsafe { field.byte_sub(core::mem::offset_of!(PercpuRef<T>, inner)) };
    // SAFETY: A `PercpuRef<T>` of a `T: HasPercpuRef` is started only as the field of a `T`.
    unsafe { T::container(field) }
}

/// # Safety
///
/// Called by the percpu_ref core only, for a `percpu_ref` inside a [`PercpuRef<T>`], when the
/// count has reached zero.
unsafe extern "C" fn release_callback<T: Release>(ptr: *mut bindings::percpu_ref) {
    // SAFETY: The caller guarantees that it is such a `percpu_ref`; it reaches zero only after it
    // was started.
    let this = unsafe { container::<T>(ptr) };
    // SAFETY: By the type invariants the count owns an `Arc` of it; it is alive.
    let refs = unsafe { &*this }.percpu_ref();
    // SAFETY: `start()` wrote it before the kill that led here, and nobody else uses it before the
    // phase is `IDLE`.
    let hold = unsafe { (*refs.hold.get()).take() };
    // INVARIANT: The count is zero and dead; its hold was taken, its `Arc` is taken over below.
    // A kill ends before its own reference is put, and a resurrection needs one: nobody else
    // changes the phase.
    let ended = refs.phase.end(refs.phase.get(), IDLE);
    kernel::warn_on!(ended.is_err());
    // SAFETY: This is the `Arc` of `start()`; the phase was not `IDLE`, so it was not taken yet.
    T::release(Released::from(unsafe { Arc::from_raw(this) }));
    // What is left of this function is in the RCU read-side critical section of `percpu_ref_put()`,
    // which the module's anchor waits for.
    drop(hold);
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_percpu_ref)]
mod tests {
    use super::*;

    #[pin_data]
    struct Counted {
        #[pin]
        refs: PercpuRef<Counted>,
        confirmed: AtomicFlag,
    }

    impl_has_percpu_ref! { impl HasPercpuRef for Counted { self.refs } }

    impl Release for Counted {
        // `with_live_count()` has another `Arc`.
        fn release(_this: Released<Self>) {}
    }

    impl Confirm for Counted {
        fn confirmed(&self) {
            self.confirmed.store(true, Relaxed);
        }
    }

    /// Calls `f` with a count that was started; `f` kills it, and drops its guards.
    fn with_live_count(f: impl FnOnce(&Arc<Counted>) -> Result) -> Result {
        unload::scope(|module| {
            let counted = Arc::pin_init(
                try_pin_init!(Counted {
                    refs <- PercpuRef::new(GFP_KERNEL),
                    confirmed: AtomicFlag::new(false),
                }),
                GFP_KERNEL,
            )?;
            PercpuRef::start(&counted, module)?;
            let result = f(&counted);
            // The release comes while `counted` is there.
            kernel::sync::rcu::rcu_barrier();
            result
        })
    }

    #[test]
    fn a_kill_during_a_change_comes_at_its_end() -> Result {
        with_live_count(|counted| {
            let refs = &counted.refs;
            let guard = PercpuRef::tryget_live(&**counted).ok_or(ENODEV)?;
            let during_change = |_| {
                assert!(refs.kill());
                assert!(!refs.kill());
                assert!(!refs.is_live() && !refs.is_dying());
            };
            assert!(refs.change(LIVE, TO_ATOMIC, during_change).is_ok());
            assert!(refs.is_killed() && refs.is_dying());
            assert!(PercpuRef::tryget_live(&**counted).is_none());
            drop(guard);
            kernel::sync::rcu::rcu_barrier();
            assert!(refs.is_idle());
            Ok(())
        })
    }

    #[test]
    fn so_does_its_confirmation() -> Result {
        with_live_count(|counted| {
            let refs = &counted.refs;
            let during_change = |_| {
                assert!(refs.kill_and_confirm());
                assert!(!counted.confirmed.load(Relaxed));
            };
            assert!(refs.change(LIVE, TO_PERCPU, during_change).is_ok());
            kernel::sync::rcu::rcu_barrier();
            assert!(counted.confirmed.load(Relaxed));
            assert!(refs.is_idle());
            Ok(())
        })
    }

    #[test]
    fn nobody_changes_a_count_that_is_being_changed() -> Result {
        with_live_count(|counted| {
            let refs = &counted.refs;
            let during_change = |_| {
                assert_eq!(refs.switch_to_atomic(), Err(EBUSY));
                assert_eq!(refs.switch_to_percpu(), Err(EBUSY));
            };
            assert!(refs.change(LIVE, TO_PERCPU, during_change).is_ok());
            assert!(refs.kill());
            assert_eq!(refs.switch_to_atomic(), Err(ENODEV));
            Ok(())
        })
    }
}
