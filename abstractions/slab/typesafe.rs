// SPDX-License-Identifier: GPL-2.0

//! Caches whose memory keeps its type under RCU.

use super::{
    object::assert_no_drop,
    Options,
    RawCache, //
};
use crate::abstractions::sync::rcu::slot::Reader;
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::{
        AllocError,
        Flags,
        NumaNode, //
    },
    ffi::c_void,
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full, //
    }, //
};

/// A type that can be looked at while its memory is freed and allocated again.
///
/// It is made by [`Self::new`] when its memory is new, and never dropped: what is allocated has the
/// content that its last user left. KFENCE, which serves a few allocations from memory of its own,
/// makes it anew for each of them, after a grace period. All access is shared, so what changes in
/// it is atomic or has a lock.
pub trait Typesafe: Send + Sync + 'static {
    /// The content of memory that was never used, which is written in its place: a value, or an
    /// initialiser such as `pin_init!(…)`.
    ///
    /// Context: that of an allocation, or with less stack; must not sleep, nor allocate from the
    /// cache.
    fn new() -> impl PinInit<Self>;
}

/// A cache of `SLAB_TYPESAFE_BY_RCU`.
///
/// An object is freed and allocated again at once, without waiting for a grace period; but the
/// memory stays a `T` until the end of the RCU read-side critical section of every reader that
/// found it in a [`TypesafeSlot`]. Such a reader must find out whether it is still the `T` that it
/// looked for, by the content: by a key, or by a count that it takes a reference of.
///
/// Dropping it destroys the cache; no object can be left then. Context of the drop: may sleep.
///
/// # Examples
///
/// ```
/// use kernel::{prelude::*, sync::atomic::{Atomic, Relaxed}};
/// use rust_kmemcg::abstractions::{slab::*, sync::rcu::slot};
///
/// struct Entry {
///     key: Atomic<u64>,
/// }
///
/// impl Typesafe for Entry {
///     fn new() -> impl PinInit<Self> {
///         Self { key: Atomic::new(0) }
///     }
/// }
///
/// fn example() -> Result {
///     let cache = TypesafeCache::<Entry>::new(c"example_typesafe", Options::new())?;
///     let slot = TypesafeSlot::new();
///     let entry = cache.alloc(GFP_KERNEL)?;
///     entry.key.store(7, Relaxed);
///     let published = entry.publish(&slot).map_err(|_| EEXIST)?;
///     slot::read(|reader| {
///         let found = slot.load(reader).ok_or(ENOENT)?;
///         drop(published); // Freed, and yet `found` stays an `Entry`: maybe another one.
///         let _still_ours = found.key.load(Relaxed) == 7;
///         Ok(())
///     })
/// }
/// # assert_eq!(example(), Ok(()));
/// ```
///
/// # Invariants
///
/// The layout of the cache is that of a `T`; all memory in it holds a valid `T`.
#[must_use = "dropping it destroys the cache, and may sleep"]
pub struct TypesafeCache<T: Typesafe> {
    cache: RawCache,
    _objects: PhantomData<fn() -> T>,
}

/// # Safety
///
/// Called by the slab allocator, with fresh memory of a cache of `T`.
unsafe extern "C" fn construct<T: Typesafe>(memory: *mut c_void) {
    // SAFETY: The caller guarantees that this is memory for a `T`, which is not in use. Memory of a
    // cache does not move.
    match unsafe { pin_init::raw_try_init(memory.cast::<T>(), T::new()) } {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

impl<T: Typesafe> TypesafeCache<T> {
    /// Makes a cache; for the name and the errors see [`RawCache::new`]. Context: may sleep.
    pub fn new(name: &CStr, options: Options) -> Result<Self> {
        assert_no_drop::<T>();
        let options = options.typesafe_by_rcu(construct::<T>);
        // INVARIANT: The constructor makes all memory a `T`. The allocator keeps its own data
        // outside of the objects of such a cache.
        Ok(Self {
            cache: RawCache::for_type::<T>(name, options)?,
            _objects: PhantomData,
        })
    }

    /// Allocates an object, which has the content that its last user left.
    ///
    /// Wraps `kmem_cache_alloc()`. Context: as `flags` say; `__GFP_ZERO` is ignored, as it
    /// would overwrite what readers look at.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub fn alloc(&self, flags: Flags) -> Result<TypesafeObject<'_, T>> {
        self.object(|cache| cache.alloc(flags & !__GFP_ZERO))
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
    pub fn alloc_node(&self, flags: Flags, node: NumaNode) -> Result<TypesafeObject<'_, T>> {
        self.object(|cache| cache.alloc_node(flags & !__GFP_ZERO, node))
    }

    #[inline]
    fn object(
        &self,
        alloc: impl FnOnce(&RawCache) -> Result<NonNull<u8>, AllocError>,
    ) -> Result<TypesafeObject<'_, T>> {
        // INVARIANT: From this cache; a valid `T`, by its invariants.
        Ok(TypesafeObject {
            ptr: alloc(&self.cache)?.cast(),
            cache: self,
        })
    }

    /// Gives slabs without objects back. Context: may sleep.
    #[inline]
    pub fn shrink(&self) {
        self.cache.shrink();
    }
}

/// An object of a [`TypesafeCache`], which it borrows. Shared access only.
///
/// # Invariants
///
/// `ptr` was allocated from `cache`, and belongs to this object.
#[must_use = "the object is freed when it is dropped"]
pub struct TypesafeObject<'a, T: Typesafe> {
    ptr: NonNull<T>,
    cache: &'a TypesafeCache<T>,
}

// SAFETY: Gives shared access to a `T: Send + Sync`, and may be freed on any thread.
unsafe impl<T: Typesafe> Send for TypesafeObject<'_, T> {}
// SAFETY: Gives shared access to a `T: Send + Sync`.
unsafe impl<T: Typesafe> Sync for TypesafeObject<'_, T> {}

impl<'a, T: Typesafe> TypesafeObject<'a, T> {
    /// Shows the object to readers of `slot`, until what it returns is dropped.
    ///
    /// # Errors
    ///
    /// Gives the object back when the slot is in use.
    pub fn publish<'s>(
        self,
        slot: &'s TypesafeSlot<'a, T>,
    ) -> core::result::Result<Published<'s, 'a, T>, Self> {
        let new = self.ptr.as_ptr();
        match slot.ptr.cmpxchg(ptr::null_mut(), new, Full) {
            // INVARIANT: Written just now, to a slot that was empty: nobody else clears it.
            Ok(_) => Ok(Published { object: self, slot }),
            Err(_) => Err(self),
        }
    }
}

impl<T: Typesafe> Deref for TypesafeObject<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: Valid, by the type invariants; nobody has exclusive access.
        unsafe { self.ptr.as_ref() }
    }
}

impl<T: Typesafe> Drop for TypesafeObject<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Allocated from this cache, and not used again by this object. Readers may still
        // use it: by `SLAB_TYPESAFE_BY_RCU` the memory stays a `T` for a grace period, and by then
        // no slot leads to it.
        unsafe { self.cache.cache.free(self.ptr.cast()) };
    }
}

/// A type that is invariant in `T`.
type Invariant<T> = fn(T) -> T;

/// A place where readers under RCU find an object of a [`TypesafeCache`].
///
/// # Invariants
///
/// `ptr` is null or an object that a [`Published`] owns, which clears it before it frees the
/// object.
pub struct TypesafeSlot<'a, T: Typesafe> {
    ptr: Atomic<*mut T>,
    // Invariant in `'a`: the slot does not outlive the cache.
    _cache: PhantomData<Invariant<&'a TypesafeCache<T>>>,
}

// SAFETY: Gives shared access to a `T: Send + Sync`.
unsafe impl<T: Typesafe> Send for TypesafeSlot<'_, T> {}
// SAFETY: Gives shared access to a `T: Send + Sync`, by an atomic pointer.
unsafe impl<T: Typesafe> Sync for TypesafeSlot<'_, T> {}

impl<T: Typesafe> TypesafeSlot<'_, T> {
    /// An empty slot.
    pub const fn new() -> Self {
        // INVARIANT: Null.
        Self {
            ptr: Atomic::new(ptr::null_mut()),
            _cache: PhantomData,
        }
    }

    /// Returns what is published here, or what became of its memory meanwhile. Context: any.
    #[inline]
    pub fn load<'g>(&'g self, _reader: &'g impl Reader) -> Option<&'g T> {
        // SAFETY: Null, or an object that is freed only after the slot was cleared, by the type
        // invariants. By `SLAB_TYPESAFE_BY_RCU` its memory stays a `T` for a grace period, which
        // `_reader` holds open.
        unsafe { self.ptr.load(Acquire).as_ref() }
    }
}

impl<T: Typesafe> Default for TypesafeSlot<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

/// An object that readers of a [`TypesafeSlot`] find. Dropping it empties the slot and frees it.
///
/// One that is forgotten (`mem::forget`) stays where it is, published and never freed.
///
/// # Invariants
///
/// The slot holds the object.
#[must_use = "the object is freed when it is dropped"]
pub struct Published<'s, 'a, T: Typesafe> {
    object: TypesafeObject<'a, T>,
    slot: &'s TypesafeSlot<'a, T>,
}

impl<T: Typesafe> Deref for Published<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: Typesafe> Drop for Published<'_, '_, T> {
    fn drop(&mut self) {
        // INVARIANT: Cleared before the object is freed.
        self.slot.ptr.xchg(ptr::null_mut(), Full);
    }
}
