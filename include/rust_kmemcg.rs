// SPDX-License-Identifier: GPL-2.0

//! Per-group slab caches with asynchronous release, for other modules in Rust.
//!
//! A Rust module outside of the tree cannot depend on another's crate; so this file is a safe surface of the C
//! functions of `rust_kmemcg.h`. A module makes it part of itself:
//!
//! ```ignore
//! #[path = ".../include/rust_kmemcg.rs"]
//! mod kmemcg;
//! ```
//!
//! The module loader then keeps `rust_kmemcg` for it. Who needs the abstractions themselves, and not the
//! protocol, does the same with the folder `abstractions/`, as `selftests/abstractions` shows.

#![allow(dead_code)]

use core::{
    ffi::c_void,
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::Flags,
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CStr,
    time::{delay::fsleep, Delta},
};

#[repr(C)]
struct RawRoot {
    _opaque: [u8; 0],
}

/// What a root has counted: `struct kmemcg_stats`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct Stats {
    /// Slab caches that it has now, its own included.
    pub(crate) caches: u64,
    /// Objects that live now; not exact while they come and go.
    pub(crate) objects: u64,
    /// Objects that came from the root's own cache.
    pub(crate) allocations_root: u64,
    /// Creations that were queued.
    pub(crate) requests: u64,
    /// Caches that were made and published.
    pub(crate) creations: u64,
    /// Creations that came to nothing.
    pub(crate) aborts: u64,
    /// Caches whose group went offline.
    pub(crate) deactivations: u64,
    /// Caches that were destroyed by a worker.
    pub(crate) shutdowns: u64,
}

extern "C" {
    fn kmemcg_root_create(name: *const u8, size: usize, align: usize, flags: u32) -> *mut RawRoot;
    fn kmemcg_root_close(root: *mut RawRoot) -> i32;
    fn kmemcg_root_stats(root: *const RawRoot, stats: *mut Stats);
    fn kmemcg_attach_cgroups() -> i32;
    fn kmemcg_alloc_current(root: *mut RawRoot, gfp: u32) -> *mut c_void;
    fn kmemcg_free(object: *mut c_void);
}

/// Makes every cgroup a group, for all users. Context: may sleep.
///
/// # Errors
///
/// `EOPNOTSUPP`, `ENOSPC`, `ENOMEM`.
pub(crate) fn attach_cgroups() -> Result {
    // SAFETY: May be called at any time, where one may sleep.
    to_result(unsafe { kmemcg_attach_cgroups() })
}

/// A root cache of `T`s.
///
/// Dropping it closes it: what it has gives way when the last object is dropped. Context of the drop: may sleep.
///
/// # Invariants
///
/// The pointer is a root, whose objects are large and aligned enough for a `T`.
pub(crate) struct Root<T>(NonNull<RawRoot>, PhantomData<fn() -> T>);

// SAFETY: The functions of a root may be called by several tasks at once.
unsafe impl<T> Send for Root<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Root<T> {}

impl<T> Root<T> {
    /// Makes a root. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a name, or a `T` without size. `EEXIST`, `E2BIG`, `ENOMEM`.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a string of C, and is copied.
        let root = from_err_ptr(unsafe {
            kmemcg_root_create(name.as_ptr().cast(), size_of::<T>(), align_of::<T>(), 0)
        })?;
        // INVARIANT: Made for `T`s.
        Ok(Self(NonNull::new(root).ok_or(ENOMEM)?, PhantomData))
    }

    /// A `T` in the cache of the current task's cgroup. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; also where the root was destroyed or closed by debugfs.
    pub(crate) fn alloc_current(&self, value: T, flags: Flags) -> Result<Object<T>> {
        // SAFETY: `Flags` is a struct of one `u32`, which is `gfp_t`; the compiler checks the size.
        let flags = unsafe { core::mem::transmute::<Flags, u32>(flags) };
        // SAFETY: A root, by the type invariants.
        let memory = unsafe { kmemcg_alloc_current(self.0.as_ptr(), flags) };
        let memory = NonNull::new(memory.cast::<T>()).ok_or(ENOMEM)?;
        // SAFETY: Large and aligned enough, by the type invariants, and ours.
        unsafe { memory.write(value) };
        // INVARIANT: Just made.
        Ok(Object(memory))
    }

    /// What it has counted. Context: any but NMI; on PREEMPT_RT one that may sleep.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        // SAFETY: A root, by the type invariants; `stats` may be written.
        unsafe { kmemcg_root_stats(self.0.as_ptr(), &mut stats) };
        stats
    }
}

impl<T> Drop for Root<T> {
    fn drop(&mut self) {
        // Refused only while somebody is destroying it by debugfs, which takes some grace periods.
        for _ in 0..1000 {
            // SAFETY: A root, by the type invariants; not used again where this returns 0.
            if unsafe { kmemcg_root_close(self.0.as_ptr()) } == 0 {
                return;
            }
            fsleep(Delta::from_millis(10));
        }
        pr_err!("rust_kmemcg: a root cannot be closed\n");
    }
}

/// A `T` in a cache of a [`Root`], which it outlives if need be. Context of the drop: where
/// `kmem_cache_free()` and the destructor of `T` are legal.
///
/// # Invariants
///
/// Memory of a root, with a valid `T` that belongs to this value.
pub(crate) struct Object<T>(NonNull<T>);

// SAFETY: Owns a `T`, and may be freed by any task.
unsafe impl<T: Send> Send for Object<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Object<T> {}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: Valid, by the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: Valid, by the type invariants; not used again.
        unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: Memory of a root, by the type invariants; not used again.
        unsafe { kmemcg_free(self.0.as_ptr().cast()) };
    }
}
