// SPDX-License-Identifier: GPL-2.0

//! Scoped caches: the compiler proves that a cache outlives its objects.

use super::{Object, Options, Owner, RawCache};
use core::marker::PhantomData;
use kernel::{
    alloc::{
        Flags,
        NumaNode, //
    },
    prelude::*, //
};

/// A slab cache for objects of type `T`, which borrow it.
///
/// Dropping it destroys the cache; no object can be left then. Context of the drop: may sleep.
///
/// An object that was forgotten (`mem::forget`) does not keep the cache from being dropped: see
/// [`RawCache`].
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use rust_kmemcg::abstractions::slab::{KmemCache, Object, Options};
///
/// fn example() -> Result {
///     let cache = KmemCache::<[u8; 96]>::new(c"example_scoped", Options::new().no_merge())?;
///     let one = cache.alloc([0; 96], GFP_KERNEL)?;
///     let many = cache.alloc_bulk(16, |i| [i as u8; 96], GFP_KERNEL)?;
///     Object::free_bulk(many);
///     drop(one);
///     cache.shrink();
///     Ok(())
/// }
/// # assert_eq!(example(), Ok(()));
/// ```
///
/// # Invariants
///
/// The layout of the cache is that of a `T`.
#[must_use = "dropping it destroys the cache, and may sleep"]
pub struct KmemCache<T> {
    cache: RawCache,
    _objects: PhantomData<fn() -> T>,
}

/// An object that borrows its cache.
pub type ScopedObject<'a, T> = Object<T, &'a KmemCache<T>>;

// SAFETY: The borrow keeps the `KmemCache` from being moved and dropped, and its cache with it.
unsafe impl<T> Owner for &KmemCache<T> {
    #[inline]
    fn cache(&self) -> &RawCache {
        &self.cache
    }
}

impl<T> KmemCache<T> {
    /// Makes a cache; for the name and the errors see [`RawCache::new`]. Context: may sleep.
    pub fn new(name: &CStr, options: Options) -> Result<Self> {
        // INVARIANT: The layout of a `T`.
        Ok(Self {
            cache: RawCache::for_type::<T>(name, options)?,
            _objects: PhantomData,
        })
    }

    /// Allocates an object and initialises it in its place.
    ///
    /// Wraps `kmem_cache_alloc()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `init`.
    #[inline]
    pub fn alloc<E>(&self, init: impl PinInit<T, E>, flags: Flags) -> Result<ScopedObject<'_, T>>
    where
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants.
        unsafe { Object::new(self, init, flags) }
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
    ) -> Result<ScopedObject<'_, T>>
    where
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants.
        unsafe { Object::new_node(self, init, flags, node) }
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
    ) -> Result<KVec<ScopedObject<'_, T>>>
    where
        I: PinInit<T, E>,
        Error: From<E>,
    {
        // SAFETY: Enough for a `T`, by the type invariants.
        unsafe { Object::new_bulk(|| self, count, init, flags) }
    }

    /// Gives slabs without objects back. Context: may sleep.
    #[inline]
    pub fn shrink(&self) {
        self.cache.shrink();
    }
}
