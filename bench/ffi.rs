// SPDX-License-Identifier: GPL-2.0

//! The half of the benchmark that is written in C, made safe: plain caches, and the twin.

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

#[repr(C)]
struct RawCache([u8; 0]);
#[repr(C)]
struct RawRoot([u8; 0]);
#[repr(C)]
struct RawGroup([u8; 0]);
#[repr(C)]
struct RawChild([u8; 0]);

extern "C" {
    fn bench_cache_create(number: c_uint, size: c_uint, account: bool) -> *mut RawCache;
    fn bench_cache_destroy(cache: *mut RawCache);
    fn bench_cache_use(cache: *mut RawCache) -> c_int;
    fn bench_plain(cache: *mut RawCache, loops: c_uint) -> c_int;
    fn bench_plain_bulk(cache: *mut RawCache, nr: c_uint, loops: c_uint) -> c_int;

    fn twin_init() -> c_int;
    fn twin_exit();
    fn twin_root_create(size: c_uint) -> *mut RawRoot;
    fn twin_root_destroy(root: *mut RawRoot) -> c_int;
    fn twin_group_create(index: u32) -> *mut RawGroup;
    fn twin_group_offline(group: *mut RawGroup);
    fn twin_child_create(root: *mut RawRoot, group: *mut RawGroup) -> *mut RawChild;
    fn bench_twin_handle(child: *mut RawChild, loops: c_uint) -> c_int;
    fn bench_twin_lookup(root: *mut RawRoot, group: *mut RawGroup, loops: c_uint) -> c_int;
    fn bench_twin_current(root: *mut RawRoot, loops: c_uint) -> c_int;
    fn bench_twin_bulk(child: *mut RawChild, nr: c_uint, loops: c_uint) -> c_int;
    fn bench_twin_object(child: *mut RawChild) -> *mut c_void;
    fn bench_twin_free(child: *mut RawChild, object: *mut c_void) -> u64;
    fn bench_twin_is_atomic(child: *mut RawChild) -> bool;
    fn bench_twin_left(root: *mut RawRoot) -> u32;

    fn bench_parallel(
        f: unsafe extern "C" fn(*const c_void, c_uint) -> c_int,
        arg: *const c_void,
        loops: c_uint,
        cpus: c_uint,
    ) -> u64;
}

/// A `kmem_cache` without a protocol.
pub(crate) struct Plain(NonNull<RawCache>);

// SAFETY: Caches may be used from any thread.
unsafe impl Send for Plain {}
// SAFETY: As above.
unsafe impl Sync for Plain {}

impl Plain {
    /// Its name is made of `number`, which must not be in use.
    pub(crate) fn new(number: u32, size: u32, account: bool) -> Result<Self> {
        // SAFETY: Takes numbers only.
        let cache = unsafe { bench_cache_create(number, size, account) };
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    /// Allocates and frees one object.
    pub(crate) fn touch(&self) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_cache_use(self.0.as_ptr()) })
    }

    pub(crate) fn pairs(&self, loops: u32) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_plain(self.0.as_ptr(), loops) })
    }

    /// `nr` is at most 64.
    pub(crate) fn bulk(&self, nr: u32, loops: u32) -> Result {
        // SAFETY: The cache is alive.
        to_result(unsafe { bench_plain_bulk(self.0.as_ptr(), nr.min(64), loops) })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: Alive, without objects, and not used again.
        unsafe { bench_cache_destroy(self.0.as_ptr()) };
    }
}

/// The twin's workqueue; there is one at a time, as long as the module is there.
pub(crate) struct Twin(());

impl Twin {
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called by the module's init only.
        to_result(unsafe { twin_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // SAFETY: The roots are gone: they borrow `self` through the module.
        unsafe { twin_exit() };
    }
}

/// A root of the twin. Dropping it waits until its children have gone.
pub(crate) struct Root(NonNull<RawRoot>);

/// A group of the twin; offline when it is dropped.
pub(crate) struct Group(NonNull<RawGroup>);

/// A child of the twin. It is alive as long as its group is online, and then as long as an object.
#[derive(Clone, Copy)]
pub(crate) struct Child(NonNull<RawChild>);

/// An object of the twin's.
pub(crate) struct Object {
    child: Child,
    memory: *mut c_void,
}

// SAFETY: May be used from any thread.
unsafe impl Send for Root {}
// SAFETY: May be used from any thread.
unsafe impl Send for Group {}
// SAFETY: May be used from any thread.
unsafe impl Send for Child {}
// SAFETY: May be used from any thread.
unsafe impl Sync for Child {}
// SAFETY: May be freed anywhere.
unsafe impl Send for Object {}

impl Root {
    pub(crate) fn new(size: u32) -> Result<Self> {
        // SAFETY: Takes a number only.
        let root = unsafe { twin_root_create(size) };
        NonNull::new(root).map(Self).ok_or(ENOMEM)
    }

    pub(crate) fn child(&self, group: &Group) -> Result<Child> {
        // SAFETY: Both are alive.
        let child = unsafe { twin_child_create(self.0.as_ptr(), group.0.as_ptr()) };
        NonNull::new(child).map(Child).ok_or(ENOMEM)
    }

    pub(crate) fn left(&self) -> u32 {
        // SAFETY: Alive.
        unsafe { bench_twin_left(self.0.as_ptr()) }
    }

    pub(crate) fn lookups(&self, group: &Group, loops: u32) -> Result {
        // SAFETY: Both are alive, and so the child, if there is one.
        to_result(unsafe { bench_twin_lookup(self.0.as_ptr(), group.0.as_ptr(), loops) })
    }
}

impl Root {
    /// For the cgroup of the current task: each group that the task makes is that.
    pub(crate) fn currents(&self, loops: u32) -> Result {
        // SAFETY: Alive, and so are the groups that can be found, and their children.
        to_result(unsafe { bench_twin_current(self.0.as_ptr(), loops) })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: Alive, and not used again. The caller has no group and no object of it.
        let _ = unsafe { twin_root_destroy(self.0.as_ptr()) };
    }
}

impl Group {
    pub(crate) fn new(index: u32) -> Result<Self> {
        // SAFETY: Takes a number only.
        let group = unsafe { twin_group_create(index) };
        NonNull::new(group).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: Alive, and not used again.
        unsafe { twin_group_offline(self.0.as_ptr()) };
    }
}

impl Child {
    pub(crate) fn pairs(self, loops: u32) -> Result {
        // SAFETY: The benchmark does this while the group is online.
        to_result(unsafe { bench_twin_handle(self.0.as_ptr(), loops) })
    }

    pub(crate) fn bulk(self, nr: u32, loops: u32) -> Result {
        // SAFETY: As above.
        to_result(unsafe { bench_twin_bulk(self.0.as_ptr(), nr.min(64), loops) })
    }

    pub(crate) fn alloc(self) -> Result<Object> {
        // SAFETY: As above.
        let memory = unsafe { bench_twin_object(self.0.as_ptr()) };
        if memory.is_null() {
            return Err(ENOMEM);
        }
        Ok(Object {
            child: self,
            memory,
        })
    }
}

impl Object {
    /// Is its child waiting for the last object?
    pub(crate) fn is_killed(&self) -> bool {
        // SAFETY: The object keeps the child alive.
        unsafe { bench_twin_is_atomic(self.child.0.as_ptr()) }
    }

    /// Frees it, and says how long that took.
    pub(crate) fn free(self) -> u64 {
        // SAFETY: Its child's, and not used again.
        unsafe { bench_twin_free(self.child.0.as_ptr(), self.memory) }
    }
}

/// Calls `f` on so many CPUs at once, with the number of loops; returns how long that took.
pub(crate) fn parallel<F: Fn(u32) -> Result + Sync>(f: &F, loops: u32, cpus: u32) -> Result<u64> {
    /// # Safety
    ///
    /// `f` is an `F`.
    unsafe extern "C" fn call<F: Fn(u32) -> Result + Sync>(
        f: *const c_void,
        loops: c_uint,
    ) -> c_int {
        // SAFETY: An `F`, says the caller; `parallel()` waits for us.
        match unsafe { &*f.cast::<F>() }(loops) {
            Ok(()) => 0,
            Err(error) => error.to_errno(),
        }
    }
    let arg: *const F = f;
    // SAFETY: `f` outlives the call, which waits for those that it has started.
    match unsafe { bench_parallel(call::<F>, arg.cast(), loops, cpus) } {
        0 => Err(EOPNOTSUPP),
        nanoseconds => Ok(nanoseconds),
    }
}
