// SPDX-License-Identifier: GPL-2.0

//! Slab caches, for objects of one type.
//!
//! The hard question of a slab cache in Rust: its objects can be dropped anywhere, in a hard
//! interrupt too, but `kmem_cache_destroy()` sleeps and demands that no object is left. If objects
//! kept their cache alive by an ordinary reference count, the last drop would run the destroy in
//! whatever context it happens in. There are two sound answers, told apart by type:
//!
//! - [`KmemCache`], *scoped*: objects borrow the cache, the compiler proves that it outlives them,
//!   and it is destroyed where it is dropped, by somebody who may sleep;
//! - [`CountedCache`], *counted*: objects keep the cache alive by a `percpu_ref`. Dropping the last
//!   one is legal in any context; a worker destroys the cache then.
//!
//! Beside them stand [`TypesafeCache`], whose memory keeps its type under RCU, and the raw layer,
//! [`RawCache`] and [`HasCache`], for those who build a release protocol of their own.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::kmem_cache::*;
//!
//! struct Session {
//!     id: u64,
//! }
//!
//! fn example() -> Result {
//!     let cache = KmemCache::<Session>::new(c"example_session", Options::new().hwcache_align())?;
//!     let mut session = cache.alloc(Session { id: 1 }, GFP_KERNEL)?;
//!     session.id += 1;
//!     drop(session); // `Session` is dropped, the memory goes back to the cache.
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

mod bulk;
mod counted;
mod foreign;
mod object;
mod options;
mod scoped;
mod typesafe;

pub use bulk::Bulk;
pub use counted::{CountedCache, CountedObject, Hold, Reaper};
pub use foreign::{foreign_layout, Foreign};
pub use object::{
    Detached, HasCache, HasKfreeRcuHead, KfreeRcuHead, Memory, Object, Owner, Reference,
};
pub use options::Options;
pub use scoped::{KmemCache, ScopedObject};
pub use typesafe::{Published, Typesafe, TypesafeCache, TypesafeObject, TypesafeSlot};

use super::{gfp, helpers};
use core::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};
use kernel::{
    alloc::{AllocError, Flags},
    bindings,
    prelude::*,
};

/// The largest object, in bytes: the kernel can make larger ones, but not under every debug option.
pub const MAX_SIZE: usize = 1 << 20;

/// A `struct kmem_cache` for objects of one layout, which are memory and nothing more.
///
/// Dropping it destroys the cache. Context of the drop: may sleep.
///
/// # Invariants
///
/// The pointer is a live cache for objects of `layout`, and one reference on it is ours. Whoever
/// owns the `RawCache` has no object of it left when it is dropped.
pub struct RawCache {
    ptr: NonNull<bindings::kmem_cache>,
    layout: Layout,
}

// SAFETY: A `kmem_cache` may be used and destroyed from any thread.
unsafe impl Send for RawCache {}
// SAFETY: As above; allocation and free synchronise by themselves.
unsafe impl Sync for RawCache {}

impl RawCache {
    /// Makes a cache. The name shows in `/proc/slabinfo` and `/sys/kernel/slab`; it is copied. For
    /// a cache that is not merged with others it must be unique.
    ///
    /// Stands on `kmem_cache_create()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a size of zero, an alignment over a page, a usercopy window outside of the
    ///   object, or a name with a space, a slash or anything that is not printable ASCII.
    /// - `E2BIG`: a size over [`MAX_SIZE`].
    /// - `ENOMEM`.
    pub fn new(name: &CStr, layout: Layout, options: Options) -> Result<Self> {
        let name_fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
        let name_fits = !name.to_bytes().is_empty() && name.to_bytes().iter().all(name_fits);
        if layout.size() == 0 || layout.align() > kernel::page::PAGE_SIZE || !name_fits {
            return Err(EINVAL);
        }
        if layout.size() > MAX_SIZE {
            return Err(E2BIG);
        }
        let mut args = options.args(layout)?;
        // SAFETY: `name` and `args` are valid for the call, which copies what it keeps. The sizes
        // were checked. Where there is a constructor, `options` answers for it.
        let ptr = unsafe {
            bindings::__kmem_cache_create_args(
                name.as_char_ptr(),
                layout.size() as u32,
                &mut args,
                options.flags(),
            )
        };
        // INVARIANT: The reference that was just made. No object was allocated through it.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
            layout,
        })
    }

    /// Size and alignment of the objects.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Gives slabs without objects back to the page allocator.
    ///
    /// Stands on `kmem_cache_shrink()`. Context: may sleep.
    pub fn shrink(&self) {
        // SAFETY: Live, by the type invariants.
        unsafe { bindings::kmem_cache_shrink(self.ptr.as_ptr()) };
    }

    /// Memory for one object; its content is undefined.
    ///
    /// Somebody must [`free`](Self::free) it before the cache is dropped: for [`Object`] only.
    #[inline]
    fn alloc(&self, flags: Flags) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: Live, by the type invariants.
        let ptr =
            unsafe { helpers::rust_kmemcg_kmem_cache_alloc(self.ptr.as_ptr(), gfp::raw(flags)) };
        NonNull::new(ptr.cast()).ok_or(AllocError)
    }

    /// Memory for as many objects as `out` is long, or for none. As [`alloc`](Self::alloc).
    ///
    /// Context: interrupts are enabled.
    #[inline]
    fn alloc_bulk(&self, out: &mut [MaybeUninit<*mut u8>], flags: Flags) -> Result<(), AllocError> {
        // SAFETY: Live, by the type invariants; `out` has room for that many pointers.
        let done = unsafe {
            helpers::rust_kmemcg_kmem_cache_alloc_bulk(
                self.ptr.as_ptr(),
                gfp::raw(flags),
                out.len(),
                out.as_mut_ptr().cast(),
            )
        };
        if done {
            Ok(())
        } else {
            Err(AllocError)
        }
    }

    /// # Safety
    ///
    /// `object` came from [`alloc`](Self::alloc) of this very cache, and is not used again.
    #[inline]
    unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: Live, by the type invariants; the rest is the caller's.
        unsafe { bindings::kmem_cache_free(self.ptr.as_ptr(), object.as_ptr().cast()) };
    }

    /// Context: interrupts are enabled.
    ///
    /// # Safety
    ///
    /// As [`free`](Self::free), for each of `objects`, which are initialised.
    #[inline]
    unsafe fn free_bulk(&self, objects: &mut [MaybeUninit<*mut u8>]) {
        // SAFETY: Live, by the type invariants; the rest is the caller's.
        unsafe {
            bindings::kmem_cache_free_bulk(
                self.ptr.as_ptr(),
                objects.len(),
                objects.as_mut_ptr().cast(),
            )
        };
    }
}

impl Drop for RawCache {
    fn drop(&mut self) {
        // SAFETY: Live, by the type invariants, without objects of ours, and not used again.
        unsafe { bindings::kmem_cache_destroy(self.ptr.as_ptr()) };
    }
}

/// The layout of a `T` in a cache: what is of no size takes a byte, so that it has an address.
const fn layout_of<T>() -> Layout {
    const {
        assert!(
            align_of::<T>() <= kernel::page::PAGE_SIZE,
            "aligned to more than a page"
        );
        assert!(size_of::<T>() <= MAX_SIZE, "too large for a slab");
    }
    if size_of::<T>() == 0 {
        // A zero-sized `T` has the alignment that it asks for.
        match Layout::from_size_align(1, align_of::<T>()) {
            Ok(layout) => layout,
            Err(_) => Layout::new::<u8>(),
        }
    } else {
        Layout::new::<T>()
    }
}
