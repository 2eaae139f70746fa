// SPDX-License-Identifier: GPL-2.0

//! Why a module is not unloaded while the types of this crate may call its code.
//!
//! A value whose drop waits can be forgotten: `mem::forget`, a static, a cycle of `Arc`s. The code
//! that it would have waited for is then called after it was freed. So in this crate the module
//! never depends on the wait in a drop: a value that has its code called by others (a workqueue, a
//! folder of debugfs, a count that is not released yet) owns a hold for as long as that can happen,
//! and the module's [`Anchor`] waits for all holds. If such a value was forgotten, `rmmod` waits
//! for ever; it does not free code that may still run.
//!
//! The anchor itself cannot be forgotten: [`anchored_module!`](crate::anchored_module!) puts it
//! into the structure that `module!` keeps and drops, as the last field, and safe code cannot make
//! another one. Its drop
//!
//! 1. closes: from here no [`Handle`] gives a hold, and no RCU callback is queued;
//! 2. waits until there is no hold;
//! 3. waits for RCU readers (`synchronize_rcu()`): release callbacks that dropped the last hold,
//!    and callers that found the anchor open and were about to queue a callback;
//! 4. waits for all callbacks that were queued (`rcu_barrier()`);
//! 5. waits until every task that is runnable has slept or returned to user space once
//!    (`synchronize_rcu_tasks()`).
//!
//! # What happens after the last hold was dropped
//!
//! The function that drops it is code of the module, so a few instructions of the module are left:
//! those that return to the kernel. The task can be preempted there. Step 5 waits for it, as long
//! as it does not sleep on its way: a task that sleeps voluntarily is one that
//! `synchronize_rcu_tasks()` considers done.
//!
//! Hence no code outside of `abstractions/` can own a hold. Each is inside a type that drops it as
//! its last act: a field that is dropped last, or the last statement of a callback. A task that can
//! do anything afterwards, sleep for instance, must be one that something else waits for: a work
//! item of an [`OwnedQueue`](super::workqueue::OwnedQueue), which has a hold of its own; a file
//! operation, which has a reference on the module; the exit function of the module.
//!
//! On a kernel that preempts, step 5 needs `CONFIG_TASKS_RCU`, which tracing, kprobes and BPF
//! select. Without it the return path is as unprotected as that of a C module that calls
//! `complete()` for its exit function. On a kernel that preempts nobody, step 5 is a wait until
//! every processor has switched to another task: `synchronize_rcu()`, or `stop_machine()` where
//! `CONFIG_PREEMPT_COUNT` lets RCU pass over a task that was merely interrupted.
//!
//! # What the anchor does not wait for
//!
//! Code that runs without a hold. The `kernel` crate can be asked, in safe code, to call a closure
//! of the module later, and holds nothing: `workqueue::system().try_spawn(…)`. No type of this
//! crate is involved, so none can help; and if such a closure drops a value of this crate, a queue
//! or the last guard of a count, that wakes the anchor like any other drop, although the closure
//! goes on. [`Handle::try_spawn`] is the same with a hold.
//!
//! # Modules without an anchor
//!
//! A type whose value is safe to forget asks for a [`Source`], which the [`Handle`] of an anchor
//! is. A module that has no anchor, as most in the tree, uses the same types with an [`Unheld`],
//! and guarantees in an `unsafe` block what the hold would: that it forgets no value. RCU callbacks
//! that are queued one by one ([`Callbacks`](super::sync::rcu::call_rcu::Callbacks)) and
//! [`Handle::try_spawn`] have no value that could be dropped; they need the handle itself.
//!
//! # Why not `try_module_get()`
//!
//! A reference on the module makes `rmmod` fail. A queue that the module made for itself would be
//! dropped by the exit function only, which does not run as long as there is a reference: the
//! module could never be unloaded. A hold makes the exit function wait instead. For code that
//! somebody else asked for, such as a file that is open, the reference is right, and used.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{unload, workqueue::*};
//!
//! #[pin_data]
//! struct MyModule {
//!     queue: OwnedQueue,
//! }
//!
//! impl unload::Module for MyModule {
//!     fn init(module: &unload::Handle) -> impl PinInit<Self, Error> {
//!         try_pin_init!(Self {
//!             queue: Builder::unbound().build(c"example", module)?,
//!         })
//!     }
//! }
//! ```
//!
//! With that, in the root of the crate:
//!
//! ```ignore
//! anchored_module! {
//!     type: MyModule,
//!     name: "my_module",
//!     license: "GPL",
//! }
//! ```
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::abstractions::{
    helpers,
    sync::wait_group::{
        Member,
        WaitGroup, //
    }, //
};
use core::marker::{PhantomData, PhantomPinned};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::rcu,
    task::might_sleep,
    workqueue::{
        impl_has_work,
        new_work,
        Queue,
        Work,
        WorkItem, //
    },
    ModuleMetadata, //
};

/// What other code can neither name nor make, although it stands in the signature of a public
/// trait.
mod private {
    /// Keeps the code of the module until it is dropped. A clone is one more.
    ///
    /// Its owner drops it last: see the comment of the file. Context of the drop: any but NMI.
    #[must_use = "the module may be unloaded when it is dropped"]
    /// # Invariants
    ///
    /// Where there is no member, [`Unheld`](super::Unheld) gave it: somebody else keeps the code.
    #[derive(Clone)]
    pub struct Hold(#[allow(dead_code)] pub(super) Option<super::Member>);

    /// Shows that the caller is one of the abstractions.
    pub struct Abstraction(pub(super) ());
}

pub(super) use private::{Abstraction, Hold};

impl Abstraction {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// A value that holds can be had from: a [`Handle`], as long as the module is not being unloaded;
/// or a value that owns one itself, such as an [`OwnedQueue`](super::workqueue::OwnedQueue),
/// always. An [`Unheld`] stands for none, and lists what else waits then.
///
/// Only the types of this crate implement it, and call its method.
pub trait Source {
    /// Takes a hold.
    #[doc(hidden)]
    fn take_hold(&self, _: Abstraction) -> Result<Hold>;
}

/// A module that is made with a [`Handle`], and whose anchor is dropped after it.
///
/// Made the kernel's by [`anchored_module!`](crate::anchored_module!).
pub trait Module: Sized + Send + Sync {
    /// Makes the module, when it is loaded; as [`kernel::InPlaceModule::init`].
    fn init(module: &Handle) -> impl PinInit<Self, Error>;
}

/// As [`module!`](kernel::prelude::module!), for a type that implements [`Module`]; `type` comes
/// first.
///
/// The kernel's module is a structure of that type and, behind it, the [`Anchor`].
/// [`ModuleMetadata`] is implemented for both.
#[macro_export]
macro_rules! anchored_module {
    (type: $type:ty, $($info:tt)*) => {
        /// The fields are dropped in this order: the anchor waits for all that the module owned.
        #[::kernel::prelude::pin_data]
        struct AnchoredModule {
            #[pin]
            module: $type,
            #[pin]
            anchor: $crate::abstractions::unload::Anchor<AnchoredModule>,
        }

        impl ::kernel::InPlaceModule for AnchoredModule {
            fn init(
                _: &'static ::kernel::ThisModule,
            ) -> impl ::pin_init::PinInit<Self, ::kernel::error::Error> {
                ::kernel::prelude::try_pin_init!(Self {
                    // SAFETY: `module!` drops the structure before the memory of the module is
                    // freed, and the anchor with it, as a field. `Anchor::new()` fails where the
                    // structure is not in that memory.
                    anchor <- unsafe { $crate::abstractions::unload::Anchor::new() },
                    module <- <$type as $crate::abstractions::unload::Module>::init(
                        anchor.handle()
                    ),
                })
            }
        }

        impl ::kernel::ModuleMetadata for $type {
            const NAME: &'static ::kernel::str::CStr =
                <AnchoredModule as ::kernel::ModuleMetadata>::NAME;
            const THIS_MODULE: ::kernel::ThisModule =
                <AnchoredModule as ::kernel::ModuleMetadata>::THIS_MODULE;
        }

        ::kernel::prelude::module! {
            type: AnchoredModule,
            $($info)*
        }
    };
}

/// Waits, when it is dropped, until nobody calls the code of the module `M`; see the comment of
/// this file. Context of the drop: may sleep.
#[pin_data(PinnedDrop)]
#[must_use = "dropping it waits"]
pub struct Anchor<M: ModuleMetadata> {
    handle: Handle,
    #[pin]
    _pin: PhantomPinned,
    _module: PhantomData<fn() -> M>,
}

impl<M: ModuleMetadata> Anchor<M> {
    /// Makes the anchor of a module. For [`anchored_module!`](crate::anchored_module!).
    ///
    /// # Errors
    ///
    /// `EINVAL`: not in the memory of the module. `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The anchor is dropped before the memory of the module `M` is freed: so it is not in a value
    /// that does not drop its content (`Opaque`, `MaybeUninit`).
    pub unsafe fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            handle: {
                if !is_in_module::<M, Self>(this.as_ptr()) {
                    return Err(EINVAL);
                }
                Handle(WaitGroup::new()?)
            },
            _pin: PhantomPinned,
            _module: PhantomData,
        })
    }

    /// Returns what holds are taken from.
    #[inline]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[pinned_drop]
impl<M: ModuleMetadata> PinnedDrop for Anchor<M> {
    fn drop(self: Pin<&mut Self>) {
        self.handle.end();
    }
}

/// Calls `f` with a handle that is open until `f` returns, and then waits for all holds as the drop
/// of an [`Anchor`] does: for tests and examples, which have no module of their own.
///
/// It waits for ever if `f` leaves a value that owns a hold to its caller. Context: may sleep.
///
/// # Errors
///
/// `ENOMEM`, and those of `f`.
///
/// # Examples
///
/// ```
/// use kernel::{prelude::*, workqueue};
/// use rust_kmemcg::abstractions::unload::{self, Handle};
///
/// fn example() -> Result<Handle> {
///     let mut handle = None;
///     unload::scope(|module| {
///         handle = Some(module.clone());
///         module.try_spawn(workqueue::system(), GFP_KERNEL, || pr_info!("in a worker\n"))
///     })?; // The closure has returned.
///     handle.ok_or(EINVAL)
/// }
/// # assert_eq!(example().map(|handle| handle.is_closed()), Ok(true));
/// ```
pub fn scope(f: impl FnOnce(&Handle) -> Result) -> Result {
    let handle = Handle(WaitGroup::new()?);
    let result = f(&handle);
    handle.end();
    result
}

/// No hold: the convention of the kernel tree, where a module drops what it has made before it is
/// unloaded, and a value that is forgotten is a bug.
///
/// For a module without an [`Anchor`]. In its place, a [`Handle`] makes the same values safe.
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use rust_kmemcg::abstractions::{unload::Unheld, workqueue::*};
///
/// fn example() -> Result {
///     // SAFETY: The queue is dropped here, which waits for its items, and no item has a
///     // reference on it.
///     let module = unsafe { Unheld::new() };
///     let queue = Builder::unbound().build(c"example_unheld", &module)?;
///     queue.try_spawn(GFP_KERNEL, || pr_info!("in a worker\n"))?;
///     Ok(())
/// }
/// # assert_eq!(example(), Ok(()));
/// ```
///
/// # Invariants
///
/// What [`new`](Self::new) requires.
pub struct Unheld(());

impl Unheld {
    /// Stands for a module that keeps its code by itself.
    ///
    /// # Safety
    ///
    /// Before the memory of the module is freed, every value that is made with this is dropped:
    /// none is forgotten (`mem::forget`, a static, a cycle of `Arc`s). Something waits for the task
    /// or interrupt that drops it. So it does for what is left to do after the drop, as a hold
    /// would until then:
    ///
    /// - [`Builder::build`]: workers call the module until the queue is destroyed. The drop waits
    ///   for that, in a task that is no worker; after any other drop nothing does.
    /// - [`SystemQueue::new`]: workers do, until the [`ScopedWork`] on it is gone. The drop of the
    ///   work waits, not in its own closure.
    /// - [`PercpuRef::start`]: the last put and the kill do, until the release callback has
    ///   returned. A kill, then the last put, then `rcu_barrier()` wait.
    /// - [`RcuArc`], when it is made: RCU does, until its callback has returned. `rcu_barrier()`
    ///   after the drop waits.
    /// - [`Registration::new`] of a static cache: workers do, until the cache is destroyed.
    ///   [`Registration::wait`] waits, not the drop.
    /// - [`Reaper::new`]: workers do, until its caches and its queue are destroyed.
    ///   [`Reaper::wait`], in a task that is no worker, waits, and then `rcu_barrier()`; the drop
    ///   does not.
    /// - Any other value: whoever calls it back does, until it is dropped. The drop waits, not in a
    ///   call of its own.
    ///
    /// A value that takes its hold from another value, as a count does that is started with a
    /// queue, needs the same.
    ///
    /// [`Builder::build`]: super::workqueue::Builder::build
    /// [`SystemQueue::new`]: super::workqueue::SystemQueue::new
    /// [`ScopedWork`]: super::workqueue::ScopedWork
    /// [`PercpuRef::start`]: super::sync::percpu_ref::PercpuRef::start
    /// [`RcuArc`]: super::sync::rcu::call_rcu::RcuArc
    /// [`Registration::new`]: super::slab::Registration::new
    /// [`Registration::wait`]: super::slab::Registration::wait
    /// [`Reaper::new`]: super::slab::Reaper::new
    /// [`Reaper::wait`]: super::slab::Reaper::wait
    pub const unsafe fn new() -> Self {
        // INVARIANT: The caller guarantees it.
        Self(())
    }
}

impl Source for Unheld {
    /// Does not fail.
    fn take_hold(&self, _: Abstraction) -> Result<Hold> {
        // INVARIANT: By the type invariants of `Unheld`.
        Ok(Hold(None))
    }
}

/// Steps 3 to 5 of the comment of the file: waits until those that have left a [`WaitGroup`] have
/// left the code of the module. Context: may sleep.
pub(super) fn wait_for_returns() {
    rcu::synchronize_rcu();
    rcu::rcu_barrier();
    // SAFETY: The caller may sleep, which is all that `synchronize_rcu_tasks()` asks for.
    unsafe { helpers::rust_kmemcg_synchronize_rcu_tasks() };
}

/// Returns whether `place` is in the memory of the module `M`, which is freed with it.
pub(super) fn is_in_module<M: ModuleMetadata, T>(place: *const T) -> bool {
    // SAFETY: `within_module()` compares addresses with those of a module that is loaded, as the
    // code of `M` runs; the helper accepts null, which stands for the kernel itself.
    unsafe { helpers::rust_kmemcg_in_module(place.cast(), M::THIS_MODULE.as_ptr()) }
}

/// Gives holds to the types of this crate, as long as the [`Anchor`] or [`scope`] that it came from
/// exists.
///
/// # Which module it is of
///
/// A hold keeps the module whose anchor it is of, and not that of the closure or callback it is
/// taken for. These are the same here: each module compiles its own copy of these files, so a
/// handle of another module is of another type, and only code of this module can name this one.
///
/// That ends where modules share one copy, as a crate `abstractions` of the kernel tree would be.
/// There one module can give its handle to another, whose callbacks then outlive its code. Such a
/// crate has to tie a handle to its module: `Handle<M: ModuleMetadata>`, and each type that takes a
/// hold checks that the function which it passes to C is in the memory of `M`, as [`Anchor::new`]
/// does for itself; and it needs a reference on its own module, for the code of its own that runs
/// on behalf of `M`.
#[derive(Clone)]
pub struct Handle(WaitGroup);

impl Handle {
    /// Calls `f` in a worker of `queue`, which need not be of this module; the module is not
    /// unloaded before `f` has returned.
    ///
    /// Equivalent to [`Queue::try_spawn`] with a hold, which is dropped last. Context: as `flags`
    /// say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the module is being unloaded, and its [`Anchor`] is being dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{prelude::*, workqueue};
    /// use rust_kmemcg::abstractions::unload;
    ///
    /// fn example(module: &unload::Handle) -> Result {
    ///     module.try_spawn(workqueue::system_long(), GFP_KERNEL, || pr_info!("may take long\n"))
    /// }
    /// # assert_eq!(unload::scope(example), Ok(()));
    /// ```
    pub fn try_spawn<F>(&self, queue: &Queue, flags: Flags, f: F) -> Result
    where
        F: FnOnce() + Send + 'static,
    {
        let hold = self.hold()?;
        let spawned = KBox::pin_init(
            pin_init!(Spawned {
                work <- new_work!("unload::Handle::try_spawn"),
                f: Some((f, hold)),
            }),
            flags,
        )?;
        queue.enqueue(spawned);
        Ok(())
    }

    /// Takes a hold. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded.
    pub(super) fn hold(&self) -> Result<Hold> {
        let member = self.0.try_join().ok_or(ENODEV)?;
        // INVARIANT: The member is the hold.
        Ok(Hold(Some(member)))
    }

    /// Gives no more holds, and waits until there is none, and for RCU readers and callbacks.
    /// Context: may sleep.
    fn end(&self) {
        might_sleep();
        self.0.close();
        self.0.wait();
        wait_for_returns();
    }

    /// Returns whether the [`Anchor`] is being dropped, or was. If not, it waits for an RCU
    /// read-side critical section that the caller is in. Context: any.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Source for Handle {
    fn take_hold(&self, _: Abstraction) -> Result<Hold> {
        self.hold()
    }
}

/// A work item that calls a closure.
#[pin_data]
struct Spawned<F> {
    #[pin]
    work: Work<Spawned<F>>,
    f: Option<(F, Hold)>,
}

impl_has_work! { impl{F} HasWork<Self> for Spawned<F> { self.work } }

impl<F: FnOnce() + Send + 'static> WorkItem for Spawned<F> {
    type Pointer = Pin<KBox<Self>>;

    fn run(mut this: Pin<KBox<Self>>) {
        let f = this.as_mut().project().f.take();
        drop(this);
        if let Some((f, hold)) = f {
            f();
            // Nothing but the return to the workqueue follows.
            drop(hold);
        }
    }
}

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_unload)]
mod tests {
    use super::*;
    use kernel::{
        sync::{atomic::*, Arc},
        workqueue,
    };

    #[test]
    fn a_scope_waits_for_what_it_spawned() -> Result {
        let ran = Arc::new(AtomicFlag::new(false), GFP_KERNEL)?;
        let in_worker = ran.clone();
        let mut handle = None;
        scope(|module| {
            handle = Some(module.clone());
            module.try_spawn(workqueue::system(), GFP_KERNEL, move || {
                in_worker.store(true, Relaxed)
            })
        })?;
        assert!(ran.load(Relaxed));
        let handle = handle.ok_or(EINVAL)?;
        assert!(handle.is_closed());
        assert_eq!(handle.hold().err(), Some(ENODEV));
        let late = handle.try_spawn(workqueue::system(), GFP_KERNEL, || ());
        assert_eq!(late, Err(ENODEV));
        Ok(())
    }

    #[test]
    fn nothing_is_held_of_a_module_that_keeps_itself() -> Result {
        // SAFETY: The hold is dropped here, and this is code of the kernel itself.
        let hold = unsafe { Unheld::new() }.take_hold(Abstraction::new())?;
        assert!(hold.0.is_none());
        Ok(())
    }
}
