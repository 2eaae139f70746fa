// SPDX-License-Identifier: GPL-2.0

//! Many objects at once.

use super::Owner;
use crate::abstractions::context;
use core::{mem::MaybeUninit, ptr::NonNull};
use kernel::{alloc::Flags, prelude::*};

/// Memory of several objects of one cache, which is allocated and given back together. The pointers
/// are in the space that the caller has.
///
/// Dropping it gives the memory back, and then lets go of the owner. Context of the drop: where
/// `kmem_cache_free()` is legal.
///
/// # Invariants
///
/// The pointers in `memory` are initialised, were allocated from the cache of `owner`, and belong
/// to this `Bulk`.
pub struct Bulk<'a, O: Owner> {
    memory: &'a mut [MaybeUninit<*mut u8>],
    owner: O,
}

// SAFETY: Owns the memory and an `O`.
unsafe impl<O: Owner + Send> Send for Bulk<'_, O> {}
// SAFETY: Access to the memory is unsafe, and up to whoever does it.
unsafe impl<O: Owner + Sync> Sync for Bulk<'_, O> {}

impl<'a, O: Owner> Bulk<'a, O> {
    /// Allocates as many objects as `space` is long, or none.
    ///
    /// Stands on `kmem_cache_alloc_bulk()`; where interrupts are disabled, on
    /// `kmem_cache_alloc()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the owner is dropped.
    #[inline]
    pub fn memory(owner: O, space: &'a mut [MaybeUninit<*mut u8>], flags: Flags) -> Result<Self> {
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
                    // SAFETY: So many were allocated above, and are not used.
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
            // SAFETY: From this cache; the rest is the caller's.
            unsafe { owner.cache().free(one) };
        }
    }

    /// The memory of each object.
    pub fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        self.memory.iter().map(|one| {
            // SAFETY: Initialised by an allocation, by the type invariants, so not null.
            unsafe { NonNull::new_unchecked(one.assume_init()) }
        })
    }

    /// What keeps the cache alive.
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
            // SAFETY: As above.
            unsafe { Self::free_one_by_one(&self.owner, self.memory) };
        }
    }
}
