// SPDX-License-Identifier: GPL-2.0

//! Many objects at once.

use super::{
    Owner,
    MAX_BULK, //
};
use crate::abstractions::context;
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// Memory of several objects of one cache, which is allocated and freed together. The pointers are
/// stored in space of the caller.
///
/// Dropping it frees the memory, and then drops the owner. Context of the drop: where
/// `kmem_cache_free()` is legal.
///
/// # Invariants
///
/// The pointers in `memory` are initialised, were allocated from the cache of `owner`, and belong
/// to this `Bulk`.
#[must_use = "the memory is freed when it is dropped"]
pub struct Bulk<'a, O: Owner> {
    memory: &'a mut [MaybeUninit<*mut u8>],
    owner: O,
}

// SAFETY: A `Bulk` owns its memory, which may be freed on any CPU, and an `O: Send`.
unsafe impl<O: Owner + Send> Send for Bulk<'_, O> {}
// SAFETY: `&Bulk` gives out an `&O`, and addresses of memory that only unsafe code can access.
unsafe impl<O: Owner + Sync> Sync for Bulk<'_, O> {}

impl<'a, O: Owner> Bulk<'a, O> {
    /// Allocates as many objects as `space` is long, or none.
    ///
    /// Wraps `kmem_cache_alloc_bulk()`; while interrupts are disabled, `kmem_cache_alloc()`.
    /// Context: as `flags` allow.
    ///
    /// # Errors
    ///
    /// The owner is dropped. `ENOMEM`; `E2BIG`: more objects than C counts (`INT_MAX`).
    #[inline]
    pub fn memory(owner: O, space: &'a mut [MaybeUninit<*mut u8>], flags: Flags) -> Result<Self> {
        if space.len() > MAX_BULK {
            return Err(E2BIG);
        }
        if context::interrupts_enabled() {
            owner.cache().alloc_bulk(space, flags)?;
        } else {
            Self::one_by_one(&owner, space, flags)?;
        }
        // INVARIANT: Allocated, and initialised, above.
        Ok(Self {
            memory: space,
            owner,
        })
    }

    #[cold]
    fn one_by_one(owner: &O, space: &mut [MaybeUninit<*mut u8>], flags: Flags) -> Result {
        for done in 0..space.len() {
            match owner.cache().alloc(flags) {
                Ok(memory) => {
                    space[done].write(memory.as_ptr());
                }
                Err(error) => {
                    // SAFETY: These were allocated from this cache above, and are not used.
                    unsafe { Self::free_one_by_one(owner, &space[..done]) };
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `memory` is initialised, came from the cache of `owner`, and is not used again.
    #[cold]
    unsafe fn free_one_by_one(owner: &O, memory: &[MaybeUninit<*mut u8>]) {
        for one in memory {
            // SAFETY: Initialised, and no null pointer as it came from an allocation.
            let one = unsafe { NonNull::new_unchecked(one.assume_init()) };
            // SAFETY: The caller guarantees that it came from this cache, and is not used again.
            unsafe { owner.cache().free(one) };
        }
    }

    /// The memory of each object.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        self.memory.iter().map(|one| {
            // SAFETY: Initialised by an allocation, by the type invariants, so not null.
            unsafe { NonNull::new_unchecked(one.assume_init()) }
        })
    }

    /// What keeps the cache alive.
    #[inline]
    pub fn owner(&self) -> &O {
        &self.owner
    }
}

impl<O: Owner> Drop for Bulk<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if context::interrupts_enabled() {
            // SAFETY: Initialised, and from this cache, by the type invariants; not used again.
            unsafe { self.owner.cache().free_bulk(self.memory) };
        } else {
            // SAFETY: Initialised, and from the cache of the owner, by the type invariants; not
            // used again.
            unsafe { Self::free_one_by_one(&self.owner, self.memory) };
        }
    }
}
