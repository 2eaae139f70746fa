// SPDX-License-Identifier: GPL-2.0

//! Slab caches, for objects of one type.
//!
//! The hard question of a slab cache in Rust: its objects can be dropped anywhere, in a hard
//! interrupt too, but `kmem_cache_destroy()` sleeps and demands that no object is left. If objects
//! kept their cache alive by an ordinary reference count, the last drop would run the destroy in
//! whatever context it happens in. There are sound answers, told apart by type:
//!
//! - [`KmemCache`], *scoped*: objects borrow the cache, the compiler proves that it outlives them,
//!   and it is destroyed where it is dropped, in a context that may sleep;
//! - [`CountedCache`], *counted*: objects keep the cache alive by a `percpu_ref`. Dropping the last
//!   one is legal in any context; a worker destroys the cache then;
//! - [`StaticCache`], *static*: one cache for each type that [`kmem_cache!`](crate::kmem_cache!)
//!   declares. The type is an allocator, and the objects are `Box`es, which are counted, too.
//!
//! Beside them stand [`TypesafeCache`], whose memory keeps its type under RCU, and the raw layer,
//! [`RawCache`] and [`HasCache`], for code with a release protocol of its own.
//!
//! An object of the typed caches can be copied to and from user space as a whole, like a
//! `KBox`, unless [`Options::usercopy`] says otherwise. The kernel does not merge a cache that has
//! such a window with others, so its name must be unique.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::slab::*;
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
mod static_cache;
mod typesafe;

pub use bulk::Bulk;
pub use counted::{CountedCache, CountedObject, Hold, Reaper};
pub use foreign::{foreign_layout, Foreign};
pub use object::{
    Detached, HasCache, HasKfreeRcuHead, KfreeRcuHead, Memory, Object, Owner, Reference,
};
pub use options::Options;
pub use scoped::{KmemCache, ScopedObject};
#[doc(hidden)]
pub use static_cache::{realloc as static_realloc, Place};
pub use static_cache::{Registration, StaticCache};
pub use typesafe::{Published, Typesafe, TypesafeCache, TypesafeObject, TypesafeSlot};

use super::{gfp, helpers};
use core::{
    alloc::Layout,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        AllocError,
        Flags,
        NumaNode, //
    },
    bindings,
    prelude::*,
    task::might_sleep, //
};

/// The largest object, in bytes: the kernel can make larger ones, but not under every debug option.
pub const MAX_SIZE: usize = 1 << 20;

/// A `struct kmem_cache` for objects of one layout, which are memory and nothing more.
///
/// Dropping it destroys the cache. Context of the drop: may sleep.
///
/// The objects of a cache that was dropped can no longer be freed, so each borrows its cache or
/// holds a reference on it; see [`Owner`]. An object that was forgotten (`mem::forget`,
/// [`Object::into_raw`]) no longer keeps a borrowed cache from being dropped. Its memory is never
/// freed then, and not used for anything else. Mostly `kmem_cache_destroy()` notices, warns, and
/// leaks the cache, too; it does not if the object is one of KFENCE, which reports a later use, or
/// in a full slab of a kernel without `CONFIG_SLUB_DEBUG`.
///
/// Without [`Options::usercopy`] an object of a `RawCache` must not be copied to or from user space
/// by its address: with `CONFIG_HARDENED_USERCOPY` that is a `BUG()`.
///
/// # Invariants
///
/// The pointer is a live cache for objects of `layout`, and one reference on it is ours. No object
/// is allocated from it, or freed to it, after it was dropped.
#[must_use = "dropping it destroys the cache, and may sleep"]
pub struct RawCache {
    ptr: NonNull<bindings::kmem_cache>,
    layout: Layout,
}

// SAFETY: A `kmem_cache` is not bound to a thread: it may be destroyed by any.
unsafe impl Send for RawCache {}
// SAFETY: Allocation, free and shrink of one `kmem_cache` may be called concurrently.
unsafe impl Sync for RawCache {}

impl RawCache {
    /// Makes a cache. The name shows in `/proc/slabinfo` and `/sys/kernel/slab`; it is copied. For
    /// a cache that is not merged with others it must be unique.
    ///
    /// Wraps `kmem_cache_create()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a size of zero, an alignment over a page, or one that is no power of two, a
    ///   usercopy window outside of the object, sheaves of more than 4096 objects, or a name with a
    ///   space, a slash or anything that is not printable ASCII.
    /// - `E2BIG`: a size over [`MAX_SIZE`].
    /// - `ENOMEM`.
    pub fn new(name: &CStr, layout: Layout, options: Options) -> Result<Self> {
        might_sleep();
        let name_fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
        let name_fits = !name.to_bytes().is_empty() && name.to_bytes().iter().all(name_fits);
        if layout.size() == 0 || layout.align() > kernel::page::PAGE_SIZE || !name_fits {
            return Err(EINVAL);
        }
        if layout.size() > MAX_SIZE {
            return Err(E2BIG);
        }
        let mut args = options.args(layout)?;
        // SAFETY: `name` and `args` are valid for the call, which copies what it keeps. The size
        // and the alignment were checked. A constructor may be called for all memory of the cache,
        // as `Options::typesafe_by_rcu()` requires.
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

    /// Makes a cache for objects of type `T`, all of which can be copied to user space, unless the
    /// options have a window. For the name and the errors see [`new`](Self::new). Context: may
    /// sleep.
    fn for_type<T>(name: &CStr, options: Options) -> Result<Self> {
        let layout = layout_of::<T>();
        Self::new(name, layout, options.usercopy_by_default(layout))
    }

    /// Size and alignment of the objects. Context: any.
    #[inline]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Gives slabs without objects back to the page allocator.
    ///
    /// Wraps `kmem_cache_shrink()`. Context: may sleep.
    pub fn shrink(&self) {
        might_sleep();
        // SAFETY: Live, by the type invariants, which is all that `kmem_cache_shrink()` asks for.
        unsafe { bindings::kmem_cache_shrink(self.ptr.as_ptr()) };
    }

    /// Memory for one object; its content is undefined. It leaks unless it is
    /// [freed](Self::free) before the cache is dropped.
    #[inline]
    fn alloc(&self, flags: Flags) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: Live, by the type invariants, which is all that `kmem_cache_alloc()` asks for.
        let ptr =
            unsafe { helpers::rust_kmemcg_kmem_cache_alloc(self.ptr.as_ptr(), gfp::raw(flags)) };
        NonNull::new(ptr.cast()).ok_or(AllocError)
    }

    /// As [`alloc`](Self::alloc), from the NUMA node `node` if that has memory.
    ///
    /// Wraps `kmem_cache_alloc_node()`.
    #[inline]
    fn alloc_node(&self, flags: Flags, node: NumaNode) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: Live, by the type invariants. `kmem_cache_alloc_node()` requires a node that is
        // online, or none, as the helper sees to.
        let ptr = unsafe {
            helpers::rust_kmemcg_kmem_cache_alloc_node(
                self.ptr.as_ptr(),
                gfp::raw(flags),
                gfp::raw_node(node),
            )
        };
        NonNull::new(ptr.cast()).ok_or(AllocError)
    }

    /// Memory for as many objects as `out` is long, at most [`MAX_BULK`]; all of them or an error.
    /// As [`alloc`](Self::alloc).
    ///
    /// Context: interrupts are enabled.
    #[inline]
    fn alloc_bulk(&self, out: &mut [MaybeUninit<*mut u8>], flags: Flags) -> Result<(), AllocError> {
        // SAFETY: Live, by the type invariants; `out` has room for that many pointers, which are
        // not more than C counts, as the callers see to.
        let done = unsafe {
            helpers::rust_kmemcg_kmem_cache_alloc_bulk(
                self.ptr.as_ptr(),
                gfp::raw(flags),
                out.len(),
                out.as_mut_ptr().cast(),
            )
        };
        // C does not succeed for none.
        if done || out.is_empty() {
            Ok(())
        } else {
            Err(AllocError)
        }
    }

    /// Gives the memory of one object back. Wraps `kmem_cache_free()`.
    ///
    /// # Safety
    ///
    /// `object` came from [`alloc`](Self::alloc) of this very cache, and is not used again.
    #[inline]
    unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: Live, by the type invariants. `kmem_cache_free()` takes an object that came from
        // this very cache and is not used again, as the caller guarantees.
        unsafe { bindings::kmem_cache_free(self.ptr.as_ptr(), object.as_ptr().cast()) };
    }

    /// Gives the memory of several objects back. Wraps `kmem_cache_free_bulk()`.
    ///
    /// Context: interrupts are enabled.
    ///
    /// # Safety
    ///
    /// As [`free`](Self::free), for each of `objects`, which are initialised.
    #[inline]
    unsafe fn free_bulk(&self, objects: &mut [MaybeUninit<*mut u8>]) {
        // SAFETY: Live, by the type invariants. `kmem_cache_free_bulk()` takes that many pointers
        // to objects that came from this very cache and are not used again, as the caller
        // guarantees.
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
        might_sleep();
        // SAFETY: Live, by the type invariants, and the reference is ours. `kmem_cache_destroy()`
        // requires that nobody allocates from the cache or frees to it from here on, which holds by
        // the type invariants; an object that was forgotten is left alone by both sides.
        unsafe { bindings::kmem_cache_destroy(self.ptr.as_ptr()) };
    }
}

/// The most objects that go to or from a cache in one call: C counts them in an `int` or an
/// `unsigned int`, depending on where.
const MAX_BULK: usize = i32::MAX as usize;

/// The layout of a `T` in a cache: a zero-sized type takes a byte, so that it has an address.
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

#[cfg(all(CONFIG_KUNIT, not(MODULE)))]
#[kunit_tests(rust_slab)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout::new::<u64>();

    #[test]
    fn a_type_without_a_size_takes_a_byte() {
        #[repr(align(16))]
        struct Empty;
        assert_eq!(layout_of::<Empty>().size(), 1);
        assert_eq!(layout_of::<Empty>().align(), 16);
        assert_eq!(layout_of::<[u8; 3]>(), Layout::new::<[u8; 3]>());
    }

    #[test]
    fn bad_names_and_layouts_are_refused() -> Result {
        let error = |name, size, align| -> Result<Option<Error>> {
            let layout = Layout::from_size_align(size, align).map_err(|_| EINVAL)?;
            Ok(RawCache::new(name, layout, Options::new()).err())
        };
        let page = kernel::page::PAGE_SIZE;
        assert_eq!(error(c"", 8, 8)?, Some(EINVAL));
        assert_eq!(error(c"rust/slab", 8, 8)?, Some(EINVAL));
        assert_eq!(error(c"rust slab", 8, 8)?, Some(EINVAL));
        assert_eq!(error(c"rust_slab", 0, 8)?, Some(EINVAL));
        assert_eq!(error(c"rust_slab", 2 * page, 2 * page)?, Some(EINVAL));
        assert_eq!(error(c"rust_slab", MAX_SIZE + 1, 8)?, Some(E2BIG));
        Ok(())
    }

    #[test]
    fn memory_comes_from_the_cache_and_goes_back() -> Result {
        let cache = RawCache::new(c"rust_slab", LAYOUT, Options::new().no_merge())?;
        let one = cache.alloc(GFP_KERNEL)?;
        let mut many = [MaybeUninit::uninit(); 16];
        cache.alloc_bulk(&mut many, GFP_KERNEL)?;
        cache.alloc_bulk(&mut [], GFP_KERNEL)?;
        // SAFETY: Allocated from this cache above, as many as asked for, and not used.
        unsafe {
            cache.free(one);
            cache.free_bulk(&mut many);
        }
        // The destroy would warn of an object that is left.
        Ok(())
    }
}
