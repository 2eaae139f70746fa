// SPDX-License-Identifier: GPL-2.0

//! Counted caches: the objects keep their cache alive.
//!
//! # Why dropping the last object in a hard interrupt is sound
//!
//! `kmem_cache_destroy()` takes mutexes and waits for grace periods; an interrupt handler may do
//! neither. So the drop of an object must never destroy the cache, and yet the cache must be
//! destroyed after it. This is the chain from the one to the other, and what each link may do:
//!
//! 1. *Drop of an object, any context.* The destructor of `T` runs, `kmem_cache_free()` takes the
//!    memory back, and then the object's [`Guard`] puts its reference: `percpu_ref_put()`, which
//!    decrements a counter of this CPU. As long as the [`CountedCache`] itself exists, it has a
//!    reference too, and that is all.
//! 2. *Drop of the [`CountedCache`], any context.* `percpu_ref_kill()`: no new reference can be
//!    taken, and RCU is asked to make the count exact. Nobody waits. Then its own reference is put.
//! 3. *Grace period; RCU callback.* The per-CPU counters are added up in one atomic counter.
//! 4. *The put that brings it to zero, any context*: the drop of the last object, in a hard
//!    interrupt maybe, or step 3 where no object was left. It calls the release function of the
//!    `percpu_ref`, right there. That function receives the `Arc` that the count had owned all the
//!    time, and gives it to `queue_work()`, which takes a raw spinlock with interrupts disabled and
//!    does not sleep. It allocates nothing, so it cannot fail: the work item lies in the `Arc`.
//! 5. *Worker.* It may sleep. It drops the `Arc`; nobody else has one, since handles and objects
//!    hold references of the count, not `Arc`s. So this drop runs the destructor of the cache:
//!    `kmem_cache_destroy()`, and after it `percpu_ref_exit()`.
//!
//! On PREEMPT_RT `kmem_cache_free()` itself is not legal in a hard interrupt, so there "any
//! context" leaves that one out.
//!
//! Why no object can be alive in step 5: each holds a reference, so the count was not zero, so
//! step 4 did not happen. Why step 5 happens once: the count owned one `Arc`, and step 4 took it.
//!
//! Why the code of all this is still there: the count has a hold on the module (see [`unload`])
//! until step 4, and the worker's queue, which belongs to a [`Reaper`], has another one. The queue
//! exists until the reaper and the last of its caches are gone. It is destroyed neither by one of
//! its own workers nor in atomic context: the drop of the last reference on it leaves that, and the
//! hold, to a worker of the system.

use super::{
    Object,
    Options,
    Owner,
    RawCache, //
};
use crate::abstractions::{
    sync::{
        percpu_ref::{
            Guard,
            PercpuRef,
            Release,
            Released, //
        },
        wait_group::{
            Member,
            WaitGroup, //
        }, //
    },
    unload,
    workqueue::{
        Builder,
        DetachedQueue, //
    }, //
};
use crate::impl_has_percpu_ref;
use core::marker::PhantomData;
use kernel::{
    alloc::{
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    task::might_sleep,
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};

/// A slab cache for objects of type `T`, which keep it alive.
///
/// Dropping it, and dropping its objects, is legal in any context, in any order; when the last of
/// them is gone, a worker of the [`Reaper`] destroys the cache. The comment of this file says why
/// that is sound.
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use rust_kmemcg::abstractions::{slab::{CountedCache, Options, Reaper}, unload};
///
/// fn example(module: &unload::Handle) -> Result {
///     let reaper = Reaper::new(c"example_reaper", module)?; // The module keeps this.
///     let cache = CountedCache::<u64>::new(c"example_counted", Options::new(), &reaper)?;
///     let object = cache.alloc(42, GFP_KERNEL)?;
///     drop(cache); // Waits for nothing.
///     assert_eq!(*object, 42);
///     drop(object); // In a hard interrupt, for all it cares.
///     Ok(())
/// }
/// # assert_eq!(unload::scope(example), Ok(()));
/// ```
///
/// A `T` that holds objects or a cache of its own type must say by itself that it is `Send`: the
/// compiler goes round in circles.
///
/// # Invariants
///
/// The guard's count is live until the drop.
#[must_use = "nothing can be allocated after it was dropped"]
pub struct CountedCache<T: Send + 'static>(Hold<T>);

/// An object that keeps its cache alive.
pub type CountedObject<T> = Object<T, Hold<T>>;

/// A reference on a counted cache. It leads neither to the count nor to another reference: with
/// these the count could be started anew, or an object be allocated, and the cache would stay for
/// ever.
///
/// # Invariants
///
/// The guard keeps the cache, which is not destroyed before its count has been released.
pub struct Hold<T: Send + 'static>(Guard<Counted<T>>);

impl<T: Send + 'static> Hold<T> {
    #[inline]
    fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

// SAFETY: The guard keeps the cache alive and in its place, by the type invariants.
unsafe impl<T: Send + 'static> Owner for Hold<T> {
    #[inline]
    fn cache(&self) -> &RawCache {
        &self.0.cache
    }
}

/// What a [`CountedCache`] and its objects hold references on.
///
/// # Invariants
///
/// The layout of the cache is that of a `T`. The one `Arc` of it is the count's.
#[pin_data]
struct Counted<T: Send + 'static> {
    cache: RawCache,
    #[pin]
    refs: PercpuRef<Counted<T>>,
    #[pin]
    work: Work<Counted<T>>,
    reaper: Registration,
    _objects: PhantomData<fn() -> T>,
}

impl_has_percpu_ref! { impl{T: Send + 'static} HasPercpuRef for Counted<T> { self.refs } }
impl_has_work! { impl{T: Send + 'static} HasWork<Self> for Counted<T> { self.work } }

impl<T: Send + 'static> Release for Counted<T> {
    /// Step 4.
    fn release(this: Released<Self>) {
        if this.enqueue_on(|this| &this.reaper.shared.queue).is_err() {
            // Unreachable: the count is released once.
            kernel::warn_on!(true);
        }
    }
}

impl<T: Send + 'static> WorkItem for Counted<T> {
    type Pointer = Arc<Self>;

    /// Step 5.
    fn run(this: Arc<Self>) {
        drop(this);
    }
}

impl<T: Send + 'static> CountedCache<T> {
    /// Makes a cache; for the name and the errors see [`RawCache::new`]. Context: may sleep.
    pub fn new(name: &CStr, options: Options, reaper: &Reaper) -> Result<Self> {
        let counted = Arc::pin_init(
            try_pin_init!(Counted {
                // INVARIANT: The layout of a `T`.
                cache: RawCache::for_type::<T>(name, options)?,
                refs <- PercpuRef::new(GFP_KERNEL),
                work <- new_work!("slab::Counted"),
                reaper: Registration::new(reaper),
                _objects: PhantomData,
            }),
            GFP_KERNEL,
        )?;
        PercpuRef::start(&counted, &*reaper.0.queue)?;
        // INVARIANT: Live from here; and of the two `Arc`s the count's is left below.
        let guard = PercpuRef::tryget_live(&*counted).ok_or(ENODEV)?;
        Ok(Self(Hold(guard)))
    }

    /// Allocates an object and initialises it in its place.
    ///
    /// Wraps `kmem_cache_alloc()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `init`.
    #[inline]
    pub fn alloc<E>(&self, init: impl PinInit<T, E>, flags: Flags) -> Result<CountedObject<T>>
    where
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants of `Counted`.
        unsafe { Object::new(self.0.another(), init, flags) }
    }

    /// As [`alloc`](Self::alloc), from the NUMA node `node` if that has memory; with
    /// [`__GFP_THISNODE`](crate::abstractions::gfp::__GFP_THISNODE), only then.
    ///
    /// Wraps `kmem_cache_alloc_node()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    #[inline]
    pub fn alloc_node<E>(
        &self,
        init: impl PinInit<T, E>,
        flags: Flags,
        node: NumaNode,
    ) -> Result<CountedObject<T>>
    where
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants of `Counted`.
        unsafe { Object::new_node(self.0.another(), init, flags, node) }
    }

    /// Allocates `count` objects, or none; `init` is asked for each by its index.
    ///
    /// Wraps `kmem_cache_alloc_bulk()`; with interrupts disabled, `kmem_cache_alloc()`. Context: as
    /// `flags` say.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    pub fn alloc_bulk<I, E>(
        &self,
        count: usize,
        init: impl FnMut(usize) -> I,
        flags: Flags,
    ) -> Result<KVec<CountedObject<T>>>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants of `Counted`.
        unsafe { Object::new_bulk(|| self.0.another(), count, init, flags) }
    }

    /// Gives slabs without objects back. Context: may sleep.
    #[inline]
    pub fn shrink(&self) {
        self.0.cache().shrink();
    }
}

impl<T: Send + 'static> Drop for CountedCache<T> {
    /// Step 2. The guard is put after it.
    fn drop(&mut self) {
        self.0 .0.refs.kill();
    }
}

/// Destroys the caches of a module.
///
/// Dropping it waits for nothing: its caches and their objects may go before or after it, in any
/// order. As long as there is one of them, or the reaper, the module's anchor waits; a module
/// without an anchor calls [`wait`](Self::wait). Context of the drop: any but NMI.
#[must_use = "no cache can be made after it was dropped"]
pub struct Reaper(Arc<Shared>);

/// What the caches of a reaper share. The last reference is dropped in any context but NMI, by a
/// work of the queue, too.
struct Shared {
    /// One member for each cache.
    caches: WaitGroup,
    queue: DetachedQueue,
}

impl Reaper {
    /// Makes a reaper, with a workqueue of this name. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the module is being unloaded.
    pub fn new(name: &CStr, module: &impl unload::Source) -> Result<Self> {
        let queue = Builder::unbound().mem_reclaim().build(name, module)?;
        let shared = Shared {
            caches: WaitGroup::new()?,
            queue: queue.into(),
        };
        Ok(Self(Arc::new(shared, GFP_KERNEL)?))
    }

    /// Waits until the caches that were dropped, and have no object left, are destroyed.
    ///
    /// Context: may sleep.
    pub fn flush(&self) {
        might_sleep();
        // The grace period of the kill, then the work of the release.
        rcu::rcu_barrier();
        self.0.queue.flush();
    }

    /// Waits until all its caches are destroyed: for ever, if the caller has one of them, or an
    /// object of one. Then destroys its workqueue; in a worker, leaves that to a worker of the
    /// system.
    ///
    /// Context: may sleep; not in a destructor of an object.
    pub fn wait(self) {
        might_sleep();
        self.0.caches.wait();
        // A cache drops its reference before its member, so this is the last one.
        if let Some(shared) = Arc::into_unique_or_drop(self.0) {
            Pin::into_inner(shared).queue.attach();
        }
    }
}

/// One cache of a reaper. The fields are dropped in this order.
struct Registration {
    shared: Arc<Shared>,
    _member: Member,
}

impl Registration {
    fn new(reaper: &Reaper) -> Self {
        Self {
            shared: reaper.0.clone(),
            _member: reaper.0.caches.join(),
        }
    }
}
