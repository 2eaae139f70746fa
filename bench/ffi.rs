// SPDX-License-Identifier: GPL-2.0

//! Wraps the half of the benchmark that is written in C: plain caches, and the twin, which is the protocol
//! in C (`twin.c`).
//!
//! C header: `bench/loops.h`

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

#[repr(C)]
struct RawPlainCache([u8; 0]);
#[repr(C)]
struct RawTwinRoot([u8; 0]);
#[repr(C)]
struct RawTwinGroup([u8; 0]);
#[repr(C)]
struct RawTwinChild([u8; 0]);

extern "C" {
    fn bench_cache_create(number: c_uint, size: c_uint, account: bool) -> *mut RawPlainCache;
    fn bench_cache_destroy(cache: *mut RawPlainCache);
    fn bench_cache_use(cache: *mut RawPlainCache) -> c_int;
    fn bench_plain(cache: *mut RawPlainCache, loops: c_uint) -> c_int;
    fn bench_plain_bulk(cache: *mut RawPlainCache, nr: c_uint, loops: c_uint) -> c_int;

    fn twin_init() -> c_int;
    fn twin_exit();
    fn twin_root_create(size: c_uint) -> *mut RawTwinRoot;
    fn twin_root_destroy(root: *mut RawTwinRoot) -> c_int;
    fn twin_group_create(index: u32) -> *mut RawTwinGroup;
    fn twin_group_offline(group: *mut RawTwinGroup);
    fn twin_child_create(root: *mut RawTwinRoot, group: *mut RawTwinGroup) -> *mut RawTwinChild;
    fn bench_twin_handle(child: *mut RawTwinChild, loops: c_uint) -> c_int;
    fn bench_twin_lookup(root: *mut RawTwinRoot, group: *mut RawTwinGroup, loops: c_uint) -> c_int;
    fn bench_twin_current(root: *mut RawTwinRoot, loops: c_uint) -> c_int;
    fn bench_twin_bulk(child: *mut RawTwinChild, nr: c_uint, loops: c_uint) -> c_int;
    fn bench_twin_object(child: *mut RawTwinChild) -> *mut c_void;
    fn bench_twin_free(child: *mut RawTwinChild, object: *mut c_void) -> u64;
    fn bench_twin_is_atomic(child: *mut RawTwinChild) -> bool;
    fn bench_twin_left(root: *mut RawTwinRoot) -> u32;

    fn bench_parallel(
        f: unsafe extern "C" fn(*const c_void, c_uint) -> c_int,
        arg: *const c_void,
        loops: c_uint,
        cpus: c_uint,
    ) -> u64;
}

/// A `kmem_cache` without the protocol.
pub(crate) struct PlainCache(NonNull<RawPlainCache>);

// SAFETY: A cache may be used from any thread.
unsafe impl Send for PlainCache {}
// SAFETY: As above, and concurrently.
unsafe impl Sync for PlainCache {}

impl PlainCache {
    /// Creates a cache, whose name contains `number`. No other cache may have the same.
    pub(crate) fn new(number: u32, size: u32, account: bool) -> Result<Self> {
        // SAFETY: It takes no pointers.
        let cache = unsafe { bench_cache_create(number, size, account) };
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    /// Allocates and frees one object.
    pub(crate) fn touch(&self) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_cache_use(self.0.as_ptr()) })
    }

    /// Allocates and frees an object, `loops` times.
    pub(crate) fn pairs(&self, loops: u32) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_plain(self.0.as_ptr(), loops) })
    }

    /// Allocates and frees `nr` objects in bulk, at most 64, `loops` times.
    pub(crate) fn bulk(&self, nr: u32, loops: u32) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_plain_bulk(self.0.as_ptr(), nr.min(64), loops) })
    }
}

impl Drop for PlainCache {
    fn drop(&mut self) {
        // SAFETY: The cache is alive, has no objects, and is not used again.
        unsafe { bench_cache_destroy(self.0.as_ptr()) };
    }
}

/// The workqueue of the twin. The module creates one value.
pub(crate) struct TwinQueue(());

impl TwinQueue {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Only the init of the module calls this, once.
        to_result(unsafe { twin_init() })?;
        Ok(Self(()))
    }
}

impl Drop for TwinQueue {
    fn drop(&mut self) {
        // SAFETY: There are no roots: a measurement drops those that it has created, and the module drops the
        // control folder, which waits for measurements, before this.
        unsafe { twin_exit() };
    }
}

/// A root of the twin. Dropping it waits until its children are destroyed.
pub(crate) struct TwinRoot(NonNull<RawTwinRoot>);

/// A group of the twin. Dropping it takes it offline.
pub(crate) struct TwinGroup(NonNull<RawTwinGroup>);

/// A child of the twin. It is alive while its group is online, and then while it has an object.
#[derive(Clone, Copy)]
pub(crate) struct TwinChild(NonNull<RawTwinChild>);

/// An object of the twin.
pub(crate) struct TwinObject {
    child: TwinChild,
    memory: *mut c_void,
}

// SAFETY: A root may be used from any thread.
unsafe impl Send for TwinRoot {}
// SAFETY: A group may be used from any thread.
unsafe impl Send for TwinGroup {}
// SAFETY: A child may be used from any thread.
unsafe impl Send for TwinChild {}
// SAFETY: As above, and concurrently.
unsafe impl Sync for TwinChild {}
// SAFETY: An object may be freed by any thread.
unsafe impl Send for TwinObject {}

impl TwinRoot {
    pub(crate) fn new(size: u32) -> Result<Self> {
        // SAFETY: Takes a number only.
        let root = unsafe { twin_root_create(size) };
        NonNull::new(root).map(Self).ok_or(ENOMEM)
    }

    /// Creates the child of `group`.
    pub(crate) fn child(&self, group: &TwinGroup) -> Result<TwinChild> {
        // SAFETY: Both are alive.
        let child = unsafe { twin_child_create(self.0.as_ptr(), group.0.as_ptr()) };
        NonNull::new(child).map(TwinChild).ok_or(ENOMEM)
    }

    /// Number of children that are not destroyed yet.
    pub(crate) fn left(&self) -> u32 {
        // SAFETY: The root is alive.
        unsafe { bench_twin_left(self.0.as_ptr()) }
    }

    /// Allocates and frees an object for `group`, `loops` times.
    pub(crate) fn lookups(&self, group: &TwinGroup, loops: u32) -> Result {
        // SAFETY: Both are alive. The child, if there is one, is alive while the group is online.
        to_result(unsafe { bench_twin_lookup(self.0.as_ptr(), group.0.as_ptr(), loops) })
    }

    /// The same for the cgroup of the current task. The last group that was created stands for it.
    pub(crate) fn currents(&self, loops: u32) -> Result {
        // SAFETY: The root is alive, and so are the groups that a lookup finds, and their children.
        to_result(unsafe { bench_twin_current(self.0.as_ptr(), loops) })
    }
}

impl Drop for TwinRoot {
    fn drop(&mut self) {
        // SAFETY: The root is alive, and not used again. The benchmark has dropped its groups and objects.
        let _ = unsafe { twin_root_destroy(self.0.as_ptr()) };
    }
}

impl TwinGroup {
    pub(crate) fn new(index: u32) -> Result<Self> {
        // SAFETY: Takes a number only.
        let group = unsafe { twin_group_create(index) };
        NonNull::new(group).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for TwinGroup {
    fn drop(&mut self) {
        // SAFETY: The group is alive, and not used again.
        unsafe { twin_group_offline(self.0.as_ptr()) };
    }
}

impl TwinChild {
    /// Allocates and frees an object, `loops` times.
    pub(crate) fn pairs(self, loops: u32) -> Result {
        // SAFETY: The benchmark calls this while the group is online.
        to_result(unsafe { bench_twin_handle(self.0.as_ptr(), loops) })
    }

    /// Allocates and frees `nr` objects in bulk, at most 64, `loops` times.
    pub(crate) fn bulk(self, nr: u32, loops: u32) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bench_twin_bulk(self.0.as_ptr(), nr.min(64), loops) })
    }

    /// Allocates an object.
    pub(crate) fn alloc(self) -> Result<TwinObject> {
        // SAFETY: As above.
        let memory = unsafe { bench_twin_object(self.0.as_ptr()) };
        if memory.is_null() {
            return Err(ENOMEM);
        }
        Ok(TwinObject {
            child: self,
            memory,
        })
    }
}

impl TwinObject {
    /// Was the child killed, and is its count exact? Then freeing the last object releases it.
    pub(crate) fn is_killed(&self) -> bool {
        // SAFETY: The object keeps the child alive.
        unsafe { bench_twin_is_atomic(self.child.0.as_ptr()) }
    }

    /// Frees the object, and returns how long that took, in nanoseconds.
    pub(crate) fn free(self) -> u64 {
        // SAFETY: The object is of this child, and is not used again.
        unsafe { bench_twin_free(self.child.0.as_ptr(), self.memory) }
    }
}

/// Calls `f` with `loops` on `cpus` CPUs at once. Returns how long that took, in nanoseconds.
///
/// # Errors
///
/// `EOPNOTSUPP`: there are not so many CPUs.
pub(crate) fn parallel<F: Fn(u32) -> Result + Sync>(f: &F, loops: u32, cpus: u32) -> Result<u64> {
    /// # Safety
    ///
    /// `f` points to an `F`.
    unsafe extern "C" fn call<F: Fn(u32) -> Result + Sync>(
        f: *const c_void,
        loops: c_uint,
    ) -> c_int {
        // SAFETY: By the safety requirement. The `F` is alive: `parallel()` waits for this call.
        match unsafe { &*f.cast::<F>() }(loops) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
    let arg: *const F = f;
    // SAFETY: `arg` points to an `F`, which outlives the call: C waits for the work that it queues.
    match unsafe { bench_parallel(call::<F>, arg.cast(), loops, cpus) } {
        0 => Err(EOPNOTSUPP),
        nanoseconds => Ok(nanoseconds),
    }
}
