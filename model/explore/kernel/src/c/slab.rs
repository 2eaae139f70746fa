// SPDX-License-Identifier: GPL-2.0

//! `include/linux/slab.h`.

use crate::{
    check,
    check::{point, Waiters},
    context,
};
use core::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::{
    alloc::Layout,
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

#[allow(non_camel_case_types)]
pub type slab_flags_t = c_uint;
#[allow(non_upper_case_globals)]
mod bits {
    pub const _slab_flag_bits__SLAB_ACCOUNT: u32 = 0;
    pub const _slab_flag_bits__SLAB_HWCACHE_ALIGN: u32 = 1;
    pub const _slab_flag_bits__SLAB_RECLAIM_ACCOUNT: u32 = 2;
    pub const _slab_flag_bits__SLAB_NO_MERGE: u32 = 3;
    pub const _slab_flag_bits__SLAB_TYPESAFE_BY_RCU: u32 = 4;
}
pub use bits::*;

#[derive(Default)]
#[allow(non_camel_case_types)]
pub struct kmem_cache_args {
    pub align: c_uint,
    pub useroffset: c_uint,
    pub usersize: c_uint,
    pub sheaf_capacity: c_uint,
    pub ctor: Option<unsafe extern "C" fn(*mut c_void)>,
}

#[allow(non_camel_case_types)]
pub struct kmem_cache {
    name: String,
    layout: Layout,
    objects: RefCell<BTreeSet<usize>>,
    is_destroyed: Cell<bool>,
    is_shrunk: Cell<bool>,
}

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static MUTEX: Cell<bool> = const { Cell::new(false) };
    static WAITERS: Waiters = const { Waiters::new() };
    static ALL: RefCell<Vec<Box<kmem_cache>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn begin() {
    LIVE.with(|live| live.set(0));
    MUTEX.with(|held| held.set(false));
    WAITERS.with(Waiters::begin);
    ALL.with(|all| all.borrow_mut().clear());
}

/// How many caches there are.
pub fn caches() -> usize {
    LIVE.with(Cell::get)
}

/// How many of them were shrunk.
pub fn shrunk() -> usize {
    let shrunk = |cache: &&Box<kmem_cache>| !cache.is_destroyed.get() && cache.is_shrunk.get();
    ALL.with(|all| all.borrow().iter().filter(shrunk).count())
}

/// `slab_mutex`.
fn with_slab_mutex<R>(f: impl FnOnce() -> R) -> R {
    context::might_sleep();
    WAITERS.with(|waiters| waiters.wait_until(|| !MUTEX.with(Cell::get)));
    MUTEX.with(|held| held.set(true));
    point();
    let result = f();
    MUTEX.with(|held| held.set(false));
    WAITERS.with(Waiters::wake);
    result
}

unsafe fn live<'a>(cache: *mut kmem_cache) -> &'a kmem_cache {
    // SAFETY: Kept until the end of the execution.
    let cache = unsafe { &*cache };
    assert!(
        !cache.is_destroyed.get(),
        "use of the cache {} that was destroyed",
        cache.name
    );
    cache
}

pub unsafe fn __kmem_cache_create_args(
    name: *const c_char,
    size: c_uint,
    args: *mut kmem_cache_args,
    _: slab_flags_t,
) -> *mut kmem_cache {
    // SAFETY: The caller guarantees it.
    let (name, align) = unsafe {
        (
            CStr::from_ptr(name).to_string_lossy().into_owned(),
            (*args).align,
        )
    };
    with_slab_mutex(|| {
        if check::fails() {
            return core::ptr::null_mut();
        }
        let layout =
            Layout::from_size_align(size as usize, (align as usize).max(8)).expect("a layout");
        let cache = Box::new(kmem_cache {
            name,
            layout,
            objects: Default::default(),
            is_destroyed: Cell::new(false),
            is_shrunk: Cell::new(false),
        });
        LIVE.with(|live| live.set(live.get() + 1));
        ALL.with(|all| {
            let mut all = all.borrow_mut();
            all.push(cache);
            &raw mut **all.last_mut().expect("just pushed")
        })
    })
}

pub unsafe fn kmem_cache_destroy(cache: *mut kmem_cache) {
    with_slab_mutex(|| {
        // SAFETY: The caller guarantees it.
        let cache = unsafe { live(cache) };
        assert!(
            cache.objects.borrow().is_empty(),
            "kmem_cache_destroy({}): objects remain",
            cache.name
        );
        cache.is_destroyed.set(true);
        LIVE.with(|live| live.set(live.get() - 1));
    });
}

pub unsafe fn kmem_cache_shrink(cache: *mut kmem_cache) {
    context::might_sleep();
    // SAFETY: The caller guarantees it.
    unsafe { live(cache) }.is_shrunk.set(true);
}

pub unsafe fn kmem_cache_free(cache: *mut kmem_cache, object: *mut c_void) {
    point();
    // SAFETY: The caller guarantees it.
    let cache = unsafe { live(cache) };
    assert!(
        cache.objects.borrow_mut().remove(&(object as usize)),
        "an object that is not of {}",
        cache.name
    );
    check::free_later(object.cast(), cache.layout);
}

pub unsafe fn kmem_cache_free_bulk(cache: *mut kmem_cache, size: usize, objects: *mut *mut c_void) {
    for at in 0..size {
        // SAFETY: The caller guarantees it.
        unsafe { kmem_cache_free(cache, *objects.add(at)) };
    }
}

#[allow(non_camel_case_types)]
pub struct kvfree_rcu_head;

pub unsafe fn kvfree_call_rcu(_: *mut kvfree_rcu_head, _: *mut c_void) {
    unimplemented!("no scenario frees an object through RCU");
}

pub mod helpers {
    use super::*;
    use crate::bindings::gfp_t;

    pub unsafe fn rust_kmemcg_kmem_cache_alloc(
        cache: *mut kmem_cache,
        flags: gfp_t,
    ) -> *mut c_void {
        const GFP_KERNEL: gfp_t = 1;
        if flags & GFP_KERNEL != 0 {
            context::might_sleep();
        } else {
            point();
        }
        // SAFETY: The caller guarantees it.
        let cache = unsafe { live(cache) };
        if check::fails() {
            return core::ptr::null_mut();
        }
        // SAFETY: Not of size zero.
        let object = unsafe { std::alloc::alloc(cache.layout) };
        cache.objects.borrow_mut().insert(object as usize);
        object.cast()
    }

    pub unsafe fn rust_kmemcg_kmem_cache_alloc_node(
        cache: *mut kmem_cache,
        flags: gfp_t,
        _: c_int,
    ) -> *mut c_void {
        // SAFETY: The caller guarantees it.
        unsafe { rust_kmemcg_kmem_cache_alloc(cache, flags) }
    }

    pub unsafe fn rust_kmemcg_kmem_cache_alloc_bulk(
        cache: *mut kmem_cache,
        flags: gfp_t,
        size: usize,
        objects: *mut *mut c_void,
    ) -> bool {
        for at in 0..size {
            // SAFETY: The caller guarantees it.
            unsafe {
                let object = rust_kmemcg_kmem_cache_alloc(cache, flags);
                if object.is_null() {
                    kmem_cache_free_bulk(cache, at, objects);
                    return false;
                }
                *objects.add(at) = object;
            }
        }
        size > 0
    }
}
