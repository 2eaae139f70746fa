// SPDX-License-Identifier: GPL-2.0

//! Two static caches must not share a place, where the last one made would free the objects of both:
//! only `kmem_cache!` declares a static cache in safe code.

use core::{alloc::Layout, ptr::NonNull};
use kernel::{
    alloc::{AllocError, Allocator, Flags, NumaNode},
    prelude::*,
};
use rust_kmemcg::{abstractions::slab::*, kmem_cache};

kmem_cache! { pub struct One { type: u64, name: c"example_one", options: Options::new() } }

#[cfg(not(fixed))]
pub struct Two;

#[cfg(not(fixed))]
//~v ERROR E0200 requires an `unsafe impl` declaration
impl StaticCache for Two {
    type Object = [u64; 8];
    const NAME: &'static CStr = c"example_two";
    const OPTIONS: Options = Options::new();

    fn place() -> &'static Place {
        One::place()
    }
}

#[cfg(not(fixed))]
// SAFETY: Never called.
unsafe impl Allocator for Two {
    const MIN_ALIGN: usize = 8;

    unsafe fn realloc(
        _ptr: Option<NonNull<u8>>,
        _layout: Layout,
        _old_layout: Layout,
        _flags: Flags,
        _nid: NumaNode,
    ) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }
}

#[cfg(fixed)]
kmem_cache! { pub struct Two { type: [u64; 8], name: c"example_two", options: Options::new() } }
