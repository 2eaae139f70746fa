// SPDX-License-Identifier: GPL-2.0

//! Static caches: types that are allocators, for a [`Box`].
//!
//! [`kmem_cache!`](crate::kmem_cache!) declares such a type. It is empty, so a `Box<T, MyCache>` is
//! one pointer; the cache is found by the type, in a static.
//!
//! # Why the cache outlives its boxes
//!
//! A `Box` borrows nothing, can be moved anywhere, and can be dropped in any context. So the cache
//! is counted, like a [`CountedCache`](super::CountedCache), and for the reasons that are in the
//! comment of that file: every allocation holds a reference of a `percpu_ref`, and whoever puts the
//! last one queues a work that destroys the cache. What differs is that nothing in a box says which
//! cache it is of. The static does, and it is not given to another cache before the last box is
//! gone:
//!
//! - Before the module makes a [`Registration`] there is no cache, and an allocation fails.
//! - As long as the registration exists, allocations succeed.
//! - When it is dropped, the count is killed: allocations fail again. It may be dropped before the
//!   boxes, or after them; nobody waits.
//! - When the last box is dropped, in any context, a worker empties the static, waits for a grace
//!   period, as an allocation that found the cache may still be about to see that its count is
//!   dead, and destroys the cache. Until then another registration fails.
//! - The cache has a hold on the module (see [`unload`]) for all that time. A box or a registration
//!   that is never dropped (`mem::forget`, a static) makes `rmmod` wait for ever; it does not make
//!   it destroy a cache that has objects.
//!
//! # Examples
//!
//! ```
//! use kernel::{alloc::Box, prelude::*};
//! use rust_kmemcg::abstractions::{slab::*, unload};
//! use rust_kmemcg::kmem_cache;
//!
//! struct Session {
//!     id: u64,
//! }
//!
//! kmem_cache! {
//!     /// The cache of all sessions.
//!     struct SessionCache {
//!         type: Session,
//!         name: c"example_session",
//!         options: Options::new().hwcache_align(),
//!     }
//! }
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let cache = Registration::<SessionCache>::new(module)?; // The module keeps this.
//!     let session = Box::<_, SessionCache>::new(Session { id: 1 }, GFP_KERNEL)?;
//!     let other = Box::<_, SessionCache>::init(init!(Session { id: 2 }), GFP_KERNEL)?;
//!     drop(cache);
//!     assert_eq!(session.id + other.id, 3);
//!     Ok(()) // The last box destroys the cache.
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```

use super::{
    layout_of,
    object::kfree_rcu,
    HasKfreeRcuHead,
    Options,
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
        rcu::slot::{
            read,
            RcuSlot, //
        },
        wait_group::{
            Member,
            WaitGroup, //
        }, //
    },
    unload, //
};
use crate::impl_has_percpu_ref;
use core::{
    alloc::Layout,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Box,
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Full, //
        },
        Arc, //
    },
    task::might_sleep,
    workqueue::{
        impl_has_work,
        new_work,
        system_long,
        Work,
        WorkItem, //
    }, //
};

/// A type that stands for a slab cache, and allocates from it.
///
/// Declared by [`kmem_cache!`](crate::kmem_cache!).
///
/// As an [`Allocator`] it has memory of one size: a layout that is larger than
/// [`Object`](Self::Object), or has a larger alignment, is refused, and so is the reallocation to
/// another layout or on a NUMA node. It wraps `kmem_cache_alloc_node()` and `kmem_cache_free()`.
/// Context: of an allocation, as its flags say, but not NMI; of a free, where `kmem_cache_free()`
/// is legal.
///
/// # Safety
///
/// [`place`](Self::place) returns one and the same static always, and no other type does. The
/// implementation of [`Allocator`] consists of [`realloc`], and a
/// [`MIN_ALIGN`](Allocator::MIN_ALIGN) that is the alignment of [`Object`](Self::Object).
pub unsafe trait StaticCache: Allocator + Sized + 'static {
    /// The type whose layout the objects have.
    type Object;

    /// The name of the cache; see [`RawCache::new`].
    const NAME: &'static CStr;

    /// The options of the cache.
    const OPTIONS: Options;

    /// Where the cache is.
    #[doc(hidden)]
    fn place() -> &'static Place;

    /// Frees the memory of a box after a grace period: readers that found the object under RCU may
    /// use it until then. `T` must not need to be dropped.
    ///
    /// For an object that is only known by its pointer, the argument is made by [`Box::from_raw`].
    /// Wraps `kfree_rcu()`. Context: any but NMI.
    #[inline]
    fn free_rcu<T: HasKfreeRcuHead>(object: Box<T, Self>) {
        let object = Box::into_raw(object);
        // SAFETY: `Box::into_raw()` returns no null pointer.
        let object = unsafe { NonNull::new_unchecked(object) };
        // SAFETY: A `T` has a field, so the memory came from `alloc()`.
        let guard = unsafe { guard_of::<Self>() };
        // SAFETY: From a slab cache, and valid; not used again here.
        unsafe { kfree_rcu(object) };
        // `kmem_cache_destroy()` waits for what `kfree_rcu()` is about to free
        // (`kvfree_rcu_barrier_on_cache()`).
        drop(guard);
    }
}

/// The static of a [`StaticCache`].
///
/// # Invariants
///
/// `taken` is set as long as there is a claim on it. What is in `cache` has that claim, and leaves
/// it when its count has been released: so it does not change while there is an allocation.
pub struct Place {
    cache: RcuSlot<Counted>,
    taken: AtomicFlag,
}

impl Place {
    /// A place without a cache.
    #[doc(hidden)]
    pub const fn new() -> Self {
        // INVARIANT: There is no claim.
        Self {
            cache: RcuSlot::new(),
            taken: AtomicFlag::new(false),
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to put a cache in a place.
struct Claim(&'static Place);

impl Claim {
    fn new(place: &'static Place) -> Result<Self> {
        if place.taken.xchg(true, Full) {
            return Err(EBUSY);
        }
        // INVARIANT: This is the claim.
        Ok(Self(place))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // INVARIANT: This was the claim.
        self.0.taken.xchg(false, Full);
    }
}

/// What a [`Registration`] and the allocations hold references on.
///
/// The fields are dropped in this order: another cache may be made, with the same name, when this
/// one was destroyed.
#[pin_data]
struct Counted {
    cache: RawCache,
    #[pin]
    refs: PercpuRef<Counted>,
    #[pin]
    work: Work<Counted>,
    claim: Claim,
    /// What [`Registration::wait`] waits for. Dropped by the worker when the rest is gone.
    member: Member,
    hold: unload::Hold,
}

impl_has_percpu_ref! { impl HasPercpuRef for Counted { self.refs } }
impl_has_work! { impl HasWork<Self> for Counted { self.work } }

impl Release for Counted {
    fn release(this: Released<Self>) {
        if system_long().enqueue(this).is_err() {
            // Unreachable: the count is released once.
            kernel::warn_on!(true);
        }
    }
}

impl WorkItem for Counted {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let (member, hold) = (this.member.clone(), this.hold.clone());
        // Waits for a grace period.
        drop(this.claim.0.cache.take_if(&this));
        drop(this);
        // Nothing but the return to the workqueue follows.
        drop((member, hold));
    }
}

/// The cache of `C`, from which boxes can be allocated as long as this exists.
///
/// Dropping it waits for nothing: the cache is destroyed when the last of its boxes is gone, too.
/// One that is forgotten keeps the module. Context of the drop: any but NMI.
///
/// # Examples
///
/// A module without an anchor waits for its cache by itself:
///
/// ```
/// use kernel::{alloc::Box, prelude::*};
/// use rust_kmemcg::abstractions::{slab::*, unload::Unheld};
/// use rust_kmemcg::kmem_cache;
///
/// kmem_cache! {
///     struct NumberCache {
///         type: u64,
///         name: c"example_number",
///         options: Options::new(),
///     }
/// }
///
/// fn example() -> Result {
///     // SAFETY: No value is forgotten, and `wait()` waits for the cache.
///     let module = unsafe { Unheld::new() };
///     let cache = Registration::<NumberCache>::new(&module)?;
///     let number = Box::<_, NumberCache>::new(42, GFP_KERNEL);
///     drop(number);
///     cache.wait();
///     Ok(())
/// }
/// # assert_eq!(example(), Ok(()));
/// ```
///
/// # Invariants
///
/// The guard's count is live until the drop.
#[must_use = "nothing can be allocated after it was dropped"]
pub struct Registration<C: StaticCache> {
    guard: Guard<Counted>,
    /// Has a member as long as there is the cache.
    caches: WaitGroup,
    _cache: PhantomData<fn() -> C>,
}

impl<C: StaticCache> Registration<C> {
    /// Makes the cache, with the name and the options of `C`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RawCache::new`]. `EBUSY`: there is one, or the last one was not destroyed yet: it
    /// has objects, or its worker has not run. `ENODEV`: the module is being unloaded.
    pub fn new(module: &impl unload::Source) -> Result<Self> {
        might_sleep();
        let caches = WaitGroup::new()?;
        let member = caches.join();
        let counted = Arc::pin_init(
            try_pin_init!(Counted {
                // The claim comes first: names are unique.
                claim: Claim::new(C::place())?,
                cache: RawCache::for_type::<C::Object>(C::NAME, C::OPTIONS)?,
                refs <- PercpuRef::new(GFP_KERNEL),
                work <- new_work!("slab::Registration"),
                member,
                hold: module.take_hold(unload::Abstraction::new())?,
            }),
            GFP_KERNEL,
        )?;
        PercpuRef::start(&counted, module)?;
        // INVARIANT: Live from here.
        let guard = PercpuRef::tryget_live(&*counted).ok_or(ENODEV)?;
        if C::place().cache.publish(counted).is_err() {
            // Unreachable: the claim on the place is ours.
            kernel::warn_on!(true);
        }
        Ok(Self {
            guard,
            caches,
            _cache: PhantomData,
        })
    }

    /// Gives slabs without objects back. Context: may sleep.
    #[inline]
    pub fn shrink(&self) {
        self.guard.cache.shrink();
    }

    /// Drops it, and waits until the cache is destroyed, and whoever did so has left the code of
    /// the module: for ever, if the caller has one of its boxes. For a module without an
    /// [`Anchor`](unload::Anchor), which waits for that itself.
    ///
    /// Context: may sleep; not in a worker of `system_long()`, or in a destructor of an object.
    pub fn wait(self) {
        might_sleep();
        let caches = self.caches.clone();
        drop(self);
        caches.wait();
        unload::wait_for_returns();
    }
}

impl<C: StaticCache> Drop for Registration<C> {
    /// The guard is put after it.
    fn drop(&mut self) {
        self.guard.refs.kill();
    }
}

/// [`Allocator::realloc`] of a static cache; for [`kmem_cache!`](crate::kmem_cache!).
///
/// # Safety
///
/// As [`Allocator::realloc`] of `C`.
#[doc(hidden)]
#[inline]
pub unsafe fn realloc<C: StaticCache>(
    ptr: Option<NonNull<u8>>,
    layout: Layout,
    old_layout: Layout,
    flags: Flags,
    node: NumaNode,
) -> Result<NonNull<[u8]>, AllocError> {
    // What has no size was not allocated.
    let old = ptr.filter(|_| old_layout.size() != 0);
    let new = if layout.size() == 0 {
        if let Some(old) = old {
            // SAFETY: The caller guarantees that it is an allocation of `C`, and does not use it
            // again.
            unsafe { free::<C>(old) };
        }
        dangling(layout.align().max(C::MIN_ALIGN))
    } else if let Some(old) = old {
        if layout != old_layout || node != NumaNode::NO_NODE {
            return Err(AllocError);
        }
        old
    } else {
        alloc::<C>(layout, flags, node)?
    };
    Ok(NonNull::slice_from_raw_parts(new, layout.size()))
}

/// A pointer to nothing, which has that alignment.
#[inline]
fn dangling(align: usize) -> NonNull<u8> {
    NonNull::new(ptr::without_provenance_mut(align)).unwrap_or(NonNull::dangling())
}

#[inline]
fn alloc<C: StaticCache>(
    layout: Layout,
    flags: Flags,
    node: NumaNode,
) -> Result<NonNull<u8>, AllocError> {
    let object = const { layout_of::<C::Object>() };
    if layout.size() > object.size() || layout.align() > object.align() {
        return Err(AllocError);
    }
    let guard = read(|reader| {
        let counted = C::place().cache.load(reader)?;
        PercpuRef::tryget_live(counted)
    });
    let guard = guard.ok_or(AllocError)?;
    let object = if node == NumaNode::NO_NODE {
        guard.cache.alloc(flags)?
    } else {
        guard.cache.alloc_node(flags, node)?
    };
    // The reference is the allocation's.
    let _ = guard.into_raw();
    Ok(object)
}

/// Takes the reference of an allocation.
///
/// # Safety
///
/// The caller owns an allocation of `C`, and has no other reference of it.
#[inline]
unsafe fn guard_of<C: StaticCache>() -> Guard<Counted> {
    let counted = read(|reader| {
        let counted = C::place().cache.load(reader);
        counted.map_or(ptr::null(), ptr::from_ref).cast_mut()
    });
    // SAFETY: The allocation came from the cache that was in the place then. It holds a reference
    // of that, so the count was not released, and by the invariants of `Place` that cache is there
    // still.
    let counted = unsafe { NonNull::new_unchecked(counted) };
    // SAFETY: `alloc()` took this reference, and passed it on to the allocation, by `into_raw()`.
    unsafe { Guard::from_raw(counted) }
}

/// # Safety
///
/// `object` is an allocation of `C`, and is not used again.
#[inline]
unsafe fn free<C: StaticCache>(object: NonNull<u8>) {
    // SAFETY: The caller guarantees that this is an allocation of `C`, which it owns.
    let guard = unsafe { guard_of::<C>() };
    // SAFETY: `alloc()` allocated it from this cache; the caller guarantees that it is not used
    // again.
    unsafe { guard.cache.free(object) };
}

/// Declares a [`StaticCache`]: a type that implements [`Allocator`], for
/// `Box<T, MyCache>`.
///
/// Nothing can be allocated before there is a [`Registration`].
///
/// # Examples
///
/// ```
/// use rust_kmemcg::abstractions::slab::Options;
/// use rust_kmemcg::kmem_cache;
///
/// kmem_cache! {
///     /// Buffers of a page at most.
///     pub struct BufferCache {
///         type: [u8; 4096],
///         name: c"example_buffer",
///         options: Options::new().account(),
///     }
/// }
/// ```
#[macro_export]
macro_rules! kmem_cache {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $cache:ident {
            type: $type:ty,
            name: $name:expr,
            options: $options:expr $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $cache;

        // SAFETY: The static is in the function, so no other one returns it; the implementation of
        // `Allocator` is the one below.
        unsafe impl $crate::abstractions::slab::StaticCache for $cache {
            type Object = $type;

            const NAME: &'static ::kernel::str::CStr = $name;
            const OPTIONS: $crate::abstractions::slab::Options = $options;

            #[inline]
            fn place() -> &'static $crate::abstractions::slab::Place {
                static PLACE: $crate::abstractions::slab::Place =
                    $crate::abstractions::slab::Place::new();
                &PLACE
            }
        }

        // SAFETY: An allocation of a static cache keeps the cache, and is valid until it is freed.
        // `realloc()` accepts what it returned, and abides by the guarantees: the memory is that of
        // a slab cache for the larger or the same layout.
        unsafe impl ::kernel::alloc::Allocator for $cache {
            const MIN_ALIGN: usize = ::core::mem::align_of::<$type>();

            #[inline]
            unsafe fn realloc(
                ptr: ::core::option::Option<::core::ptr::NonNull<u8>>,
                layout: ::core::alloc::Layout,
                old_layout: ::core::alloc::Layout,
                flags: ::kernel::alloc::Flags,
                nid: ::kernel::alloc::NumaNode,
            ) -> ::core::result::Result<
                ::core::ptr::NonNull<[u8]>,
                ::kernel::alloc::AllocError,
            > {
                // SAFETY: The caller guarantees the same.
                unsafe {
                    $crate::abstractions::slab::static_realloc::<Self>(
                        ptr, layout, old_layout, flags, nid,
                    )
                }
            }
        }
    };
}
