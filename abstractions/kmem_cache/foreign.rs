// SPDX-License-Identifier: GPL-2.0

//! Memory that C holds by nothing but its address.
//!
//! The owner of an [`Object`] is half of the value, and C code that frees by pointer alone does not keep
//! it. So it is written in front of the memory, and what C gets begins behind it. Such memory is of a cache
//! that has room for that: [`foreign_layout`].

use super::{Detached, Memory, Object, Owner};
use core::{alloc::Layout, ffi::c_void, ptr::NonNull};
use kernel::prelude::*;

/// The layout of a cache whose objects have room for `layout` behind their owner.
///
/// # Errors
///
/// `E2BIG`.
pub fn foreign_layout(layout: Layout) -> Result<Layout> {
    let align = layout.align().max(align_of::<usize>());
    let size = layout.size().checked_add(align).ok_or(E2BIG)?;
    Layout::from_size_align(size, align).map_err(|_| E2BIG)
}

/// What can be passed to C as an address, and be taken back.
///
/// Implemented for [`Object`]s of [`Memory`], and by [`impl_foreign!`](crate::impl_foreign!) for what is
/// made of one.
pub trait Foreign: Sized {
    /// Gives it away: it leaks, unless it is taken back. Context: any.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the cache has no room for the owner; the object is freed.
    fn into_foreign(self) -> Result<NonNull<c_void>>;

    /// Takes it back. Context: any.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`into_foreign`](Self::into_foreign) of this very type, and is not used again.
    unsafe fn from_foreign(ptr: NonNull<c_void>) -> Self;
}

impl<O: Owner> Foreign for Object<Memory, O> {
    #[inline]
    fn into_foreign(self) -> Result<NonNull<c_void>> {
        const {
            assert!(size_of::<O>() == size_of::<usize>());
            assert!(align_of::<O>() <= align_of::<usize>());
        };
        let layout = self.owner().cache().layout();
        let header = layout.align();
        if header < size_of::<usize>() || layout.size() <= header {
            return Err(EINVAL);
        }
        let (memory, owner) = self.into_raw();
        // SAFETY: Inside of the object, which is larger than the header.
        let ptr = unsafe { memory.cast::<u8>().add(header) };
        // SAFETY: The header has room for an owner and is aligned for it, as the object and the size of
        // the header are; the object belongs to us.
        unsafe { ptr.cast::<Detached<O>>().sub(1).write(owner) };
        Ok(ptr.cast())
    }

    #[inline]
    unsafe fn from_foreign(ptr: NonNull<c_void>) -> Self {
        // SAFETY: `into_foreign()` has written it there, says the caller, who does not use it again.
        let owner = unsafe { ptr.cast::<Detached<O>>().sub(1).read() };
        let header = owner.0.cache().layout().align();
        // SAFETY: As far behind the beginning of the object it was put.
        let memory = unsafe { ptr.cast::<u8>().sub(header) };
        // SAFETY: These are the two parts of that object; the memory is always valid.
        unsafe { Self::from_raw(memory.cast(), owner) }
    }
}

/// Implements [`Foreign`] for a struct that is nothing but a [`Foreign`].
#[macro_export]
macro_rules! impl_foreign {
    (impl Foreign for $self:ident { self.0 }) => {
        impl $crate::abstractions::kmem_cache::Foreign for $self {
            #[inline]
            fn into_foreign(
                self,
            ) -> ::kernel::error::Result<::core::ptr::NonNull<::core::ffi::c_void>> {
                $crate::abstractions::kmem_cache::Foreign::into_foreign(self.0)
            }

            #[inline]
            unsafe fn from_foreign(ptr: ::core::ptr::NonNull<::core::ffi::c_void>) -> Self {
                // SAFETY: The caller's, who means the field by this type.
                Self(unsafe { $crate::abstractions::kmem_cache::Foreign::from_foreign(ptr) })
            }
        }
    };
}
