// SPDX-License-Identifier: GPL-2.0

//! Memory that C code holds by nothing but its address.
//!
//! An [`Object`] is a pointer and an owner, and C code that frees by pointer alone does not keep
//! the owner. So it is written in front of the memory, and C code gets a pointer behind it. The
//! cache must have room for that: [`foreign_layout`].

use super::{
    Detached,
    Memory,
    Object,
    Owner, //
};
use core::{
    alloc::Layout,
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// The layout of a cache whose objects have room for their owner and, behind it, `layout`.
///
/// # Errors
///
/// `E2BIG`.
pub fn foreign_layout(layout: Layout) -> Result<Layout> {
    let align = layout.align().max(align_of::<usize>());
    let size = layout.size().checked_add(align).ok_or(E2BIG)?;
    Layout::from_size_align(size, align).map_err(|_| E2BIG)
}

/// A type that can be passed to C code as an address, and be taken back.
///
/// Implemented for [`Object`]s of [`Memory`], and by [`impl_foreign!`](crate::impl_foreign!) for
/// structs of one field that is `Foreign`.
pub trait Foreign: Sized {
    /// Turns it into an address. It leaks, unless it is taken back. Context: any.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the cache has no room for the owner; the object is freed.
    fn into_foreign(self) -> Result<NonNull<c_void>>;

    /// Takes it back. Context: any.
    ///
    /// # Safety
    ///
    /// `ptr` came from [`into_foreign`](Self::into_foreign) of this very type, and is not used
    /// again.
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
        // SAFETY: The header has room for an owner and is aligned for it, as the object and the
        // size of the header are; the object belongs to us.
        unsafe { ptr.cast::<Detached<O>>().sub(1).write(owner) };
        Ok(ptr.cast())
    }

    #[inline]
    unsafe fn from_foreign(ptr: NonNull<c_void>) -> Self {
        // SAFETY: The caller guarantees that `ptr` came from `into_foreign()`, which wrote it
        // there, and that it is not used again.
        let owner = unsafe { ptr.cast::<Detached<O>>().sub(1).read() };
        let header = owner.0.cache().layout().align();
        // SAFETY: `into_foreign()` added as much to the beginning of the object.
        let memory = unsafe { ptr.cast::<u8>().sub(header) };
        // SAFETY: Both came from the `into_raw()` of that object; a `Memory` is always valid.
        unsafe { Self::from_raw(memory.cast(), owner) }
    }
}

/// Implements [`Foreign`] for a struct of one field that is [`Foreign`].
#[macro_export]
macro_rules! impl_foreign {
    (impl Foreign for $self:ident { self.0 }) => {
        impl $crate::abstractions::slab::Foreign for $self {
            #[inline]
            fn into_foreign(
                self,
            ) -> ::kernel::error::Result<::core::ptr::NonNull<::core::ffi::c_void>> {
                $crate::abstractions::slab::Foreign::into_foreign(self.0)
            }

            #[inline]
            unsafe fn from_foreign(ptr: ::core::ptr::NonNull<::core::ffi::c_void>) -> Self {
                // SAFETY: The caller guarantees that `ptr` came from `into_foreign()` of this type,
                // and so from that of the field.
                Self(unsafe { $crate::abstractions::slab::Foreign::from_foreign(ptr) })
            }
        }
    };
}
