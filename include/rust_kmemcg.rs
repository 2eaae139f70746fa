// SPDX-License-Identifier: GPL-2.0

//! Per-group slab caches with asynchronous release, for other modules in Rust.
//!
//! Wraps the C functions of `rust_kmemcg.h`, as an out-of-tree module in Rust cannot depend on the crate of
//! another module. A module includes this file:
//!
//! ```ignore
//! #[path = ".../include/rust_kmemcg.rs"]
//! mod kmemcg;
//! ```
//!
//! It then depends on `rust_kmemcg`, which cannot be unloaded before it. A module that needs the
//! abstractions and not the protocol includes the folder `abstractions/` in the same way, as
//! `selftests/abstractions` does.
//!
//! A [`Root`] is a root cache, from which [`Object`]s are allocated for a [`Group`], for the group of the
//! current task's cgroup, or for no group. An object may outlive its root and its group.
//!
//! C header: `include/rust_kmemcg.h`

#![allow(dead_code)]

use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull}, //
};
use kernel::{
    alloc::Flags,
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CStr,
    time::{delay::fsleep, Delta}, //
};

/// `struct kmemcg_root`.
#[repr(C)]
struct RawRoot {
    _opaque: [u8; 0],
}

/// `struct kmemcg_group`.
#[repr(C)]
struct RawGroup {
    _opaque: [u8; 0],
}

/// `KMEMCG_ACCOUNT`.
const ACCOUNT: u32 = 1 << 0;

/// The counters of a root: `struct kmemcg_stats`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct Stats {
    /// Number of slab caches now, the root's own included.
    pub(crate) caches: u64,
    /// Number of live objects now; not exact during concurrent allocations and frees.
    pub(crate) objects: u64,
    /// Allocations from the root's own cache.
    pub(crate) allocations_root: u64,
    /// Creations of a group's cache that were queued.
    pub(crate) requests: u64,
    /// Caches that were created and published.
    pub(crate) creations: u64,
    /// Creations that failed or were given up.
    pub(crate) aborts: u64,
    /// Caches whose group went offline.
    pub(crate) deactivations: u64,
    /// Caches that were destroyed.
    pub(crate) shutdowns: u64,
}

extern "C" {
    fn kmemcg_root_create(name: *const u8, size: usize, align: usize, flags: u32) -> *mut RawRoot;
    fn kmemcg_root_destroy(root: *mut RawRoot) -> i32;
    fn kmemcg_root_close(root: *mut RawRoot) -> i32;
    fn kmemcg_root_stats(root: *const RawRoot, stats: *mut Stats);
    fn kmemcg_attach_cgroups() -> i32;
    fn kmemcg_group_create(name: *const u8, parent: *mut RawGroup) -> *mut RawGroup;
    fn kmemcg_group_get(name: *const u8) -> *mut RawGroup;
    fn kmemcg_group_offline(group: *mut RawGroup) -> i32;
    fn kmemcg_group_put(group: *mut RawGroup);
    fn kmemcg_alloc(root: *mut RawRoot, group: *mut RawGroup, gfp: u32) -> *mut c_void;
    fn kmemcg_alloc_current(root: *mut RawRoot, gfp: u32) -> *mut c_void;
    fn kmemcg_free(object: *mut c_void);
}

/// Makes every cgroup of the unified hierarchy a group, also for other users of `rust_kmemcg`.
///
/// Wraps `kmemcg_attach_cgroups()`. Context: may sleep.
///
/// # Errors
///
/// `EOPNOTSUPP`: the kernel does not support it. `ENOSPC`: there are too many groups. `ENOMEM`.
pub(crate) fn attach_cgroups() -> Result {
    // SAFETY: It may be called from any context that may sleep.
    to_result(unsafe { kmemcg_attach_cgroups() })
}

/// A reference on a group: one that was created by name, or a cgroup.
///
/// - [`new`](Self::new) creates a group, [`get`](Self::get) finds one.
/// - [`offline`](Self::offline) takes it offline. Objects that were allocated for it remain valid.
/// - Dropping the reference does not take the group offline.
///
/// Context of the drop: as for [`offline`](Self::offline).
///
/// # Invariants
///
/// The pointer is a group, on which this value owns a reference.
pub(crate) struct Group(NonNull<RawGroup>);

// SAFETY: The functions of a group may be called from any task.
unsafe impl Send for Group {}
// SAFETY: As above, and concurrently.
unsafe impl Sync for Group {}

impl Group {
    /// Creates a group below `parent`, or at the top of the tree.
    ///
    /// Wraps `kmemcg_group_create()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the name is invalid. `EEXIST`: it is in use. `ENOENT`: the parent is offline. `ENOSPC`:
    /// there are too many groups. `ENOMEM`.
    pub(crate) fn new(name: &CStr, parent: Option<&Group>) -> Result<Self> {
        // SAFETY: The name is a C string, and is copied. The parent is `NULL` or a group, by the type
        // invariants.
        let group = from_err_ptr(unsafe {
            kmemcg_group_create(name.as_ptr().cast(), Self::as_raw(parent))
        })?;
        // INVARIANT: kmemcg_group_create() returns a reference.
        Ok(Self(NonNull::new(group).ok_or(ENOMEM)?))
    }

    /// Finds an online group by its name; that of a cgroup is its path, with a leading slash.
    ///
    /// Wraps `kmemcg_group_get()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the name is invalid. `ENOENT`: there is no such group.
    pub(crate) fn get(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a C string.
        let group = from_err_ptr(unsafe { kmemcg_group_get(name.as_ptr().cast()) })?;
        // INVARIANT: kmemcg_group_get() returns a reference.
        Ok(Self(NonNull::new(group).ok_or(ENOENT)?))
    }

    /// Takes the group offline. Each of its caches is destroyed after its last object was freed.
    ///
    /// Wraps `kmemcg_group_offline()`. Waits for nothing; the time this takes is proportional to the number
    /// of caches of the group. Context: any but NMI; on PREEMPT_RT one that may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is offline already.
    pub(crate) fn offline(&self) -> Result {
        // SAFETY: By the type invariants, this is a group.
        to_result(unsafe { kmemcg_group_offline(self.0.as_ptr()) })
    }

    /// `NULL` for no group.
    fn as_raw(group: Option<&Group>) -> *mut RawGroup {
        group.map_or(ptr::null_mut(), |group| group.0.as_ptr())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, this value owns a reference, which is not used again.
        unsafe { kmemcg_group_put(self.0.as_ptr()) };
    }
}

/// Converts to `gfp_t`.
fn gfp(flags: Flags) -> u32 {
    // SAFETY: `Flags` has one field, a `u32`, which is what `gfp_t` is. transmute() checks the size.
    unsafe { core::mem::transmute::<Flags, u32>(flags) }
}

/// A root cache of objects of type `T`.
///
/// - [`destroy`](Self::destroy) destroys it now, or returns it if there are live objects.
/// - Dropping it closes it: it is destroyed after its last object was dropped.
///
/// Context of the drop: may sleep; does not wait for objects. If it is leaked, the unload of `rust_kmemcg`
/// waits forever.
///
/// # Invariants
///
/// The pointer is a root that was not destroyed or closed by this module. Its objects have at least the
/// size and the alignment of `T`.
pub(crate) struct Root<T>(NonNull<RawRoot>, PhantomData<fn() -> T>);

// SAFETY: The functions of a root may be called from any task.
unsafe impl<T> Send for Root<T> {}
// SAFETY: As above, and concurrently.
unsafe impl<T> Sync for Root<T> {}

impl<T> Root<T> {
    /// Creates a root cache.
    ///
    /// Wraps `kmemcg_root_create()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the name is invalid, or `T` is zero-sized. `EEXIST`: the name is in use. `E2BIG`: `T` is
    /// too large. `ENOMEM`.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        Self::with_flags(name, 0)
    }

    /// Like [`Root::new`], but charges objects to the memory cgroup of their group, see `KMEMCG_ACCOUNT` in
    /// `rust_kmemcg.h`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// As [`Root::new`].
    pub(crate) fn new_account(name: &CStr) -> Result<Self> {
        Self::with_flags(name, ACCOUNT)
    }

    fn with_flags(name: &CStr, flags: u32) -> Result<Self> {
        // SAFETY: The name is a C string, and is copied.
        let root = from_err_ptr(unsafe {
            kmemcg_root_create(name.as_ptr().cast(), size_of::<T>(), align_of::<T>(), flags)
        })?;
        // INVARIANT: Just created, with the size and the alignment of `T`.
        Ok(Self(NonNull::new(root).ok_or(ENOMEM)?, PhantomData))
    }

    /// Allocates an object for `group`, or from the root's own cache.
    ///
    /// Wraps `kmemcg_alloc()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory, or debugfs has destroyed or closed the root.
    pub(crate) fn alloc(&self, group: Option<&Group>, value: T, flags: Flags) -> Result<Object<T>> {
        // SAFETY: By the type invariants, these are a root, and `NULL` or a group.
        let memory = unsafe { kmemcg_alloc(self.0.as_ptr(), Group::as_raw(group), gfp(flags)) };
        // SAFETY: It was just allocated from this root.
        unsafe { Self::object(memory, value) }
    }

    /// Allocates an object for the cgroup of the current task.
    ///
    /// Wraps `kmemcg_alloc_current()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// As [`Root::alloc`].
    pub(crate) fn alloc_current(&self, value: T, flags: Flags) -> Result<Object<T>> {
        // SAFETY: By the type invariants, this is a root.
        let memory = unsafe { kmemcg_alloc_current(self.0.as_ptr(), gfp(flags)) };
        // SAFETY: It was just allocated from this root.
        unsafe { Self::object(memory, value) }
    }

    /// Initialises an object.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: `memory` is `NULL`.
    ///
    /// # Safety
    ///
    /// `memory` is `NULL`, or an object of a `Root<T>` that the caller owns.
    unsafe fn object(memory: *mut c_void, value: T) -> Result<Object<T>> {
        let memory = NonNull::new(memory.cast::<T>()).ok_or(ENOMEM)?;
        // SAFETY: By the type invariants of `Root`, it has the size and the alignment of `T`. By the
        // safety requirement, no one else uses it.
        unsafe { memory.write(value) };
        // INVARIANT: It was just initialised.
        Ok(Object(memory))
    }

    /// Destroys the root and the caches of all groups in it.
    ///
    /// Wraps `kmemcg_root_destroy()`. Context: may sleep; waits for RCU grace periods.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there are live objects, or debugfs is destroying the root. The root is returned, unchanged.
    pub(crate) fn destroy(self) -> Result<(), (Self, Error)> {
        let root = ManuallyDrop::new(self);
        // SAFETY: By the type invariants, this is a root. It is not used again if this returns 0.
        match to_result(unsafe { kmemcg_root_destroy(root.0.as_ptr()) }) {
            Ok(()) => Ok(()),
            Err(error) => Err((ManuallyDrop::into_inner(root), error)),
        }
    }

    /// Reads the counters of the root.
    ///
    /// Wraps `kmemcg_root_stats()`. The time this takes is proportional to the number of caches. Context:
    /// any but NMI; on PREEMPT_RT one that may sleep.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        // SAFETY: By the type invariants, this is a root. `stats` is valid for writes.
        unsafe { kmemcg_root_stats(self.0.as_ptr(), &mut stats) };
        stats
    }
}

impl<T> Drop for Root<T> {
    fn drop(&mut self) {
        // EBUSY only while debugfs is destroying the root, which takes a few grace periods.
        for _ in 0..1000 {
            // SAFETY: By the type invariants, this is a root. It is not used again if this returns 0.
            if unsafe { kmemcg_root_close(self.0.as_ptr()) } == 0 {
                return;
            }
            fsleep(Delta::from_millis(10));
        }
        pr_err!("rust_kmemcg: cannot close a root: leaking it\n");
    }
}

/// An object of type `T` in a cache of a [`Root`]. It may outlive the root.
///
/// Dropping it drops the `T`, and frees the memory by `kmemcg_free()`. Context of the drop: where
/// `kmem_cache_free()` and the destructor of `T` may be called, hard interrupts included; does not wait. If
/// it is leaked, the unload of `rust_kmemcg` waits forever.
///
/// # Invariants
///
/// The pointer is an object of a root, and points to a valid `T`. This value owns both.
pub(crate) struct Object<T>(NonNull<T>);

// SAFETY: It owns a `T`, and may be freed by any task.
unsafe impl<T: Send> Send for Object<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Object<T> {}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type invariants, it is valid.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Object<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type invariants, it is valid, and owned by this value.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, it is valid. It is not used again.
        unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: By the type invariants, it is an object of a root. It is not used again.
        unsafe { kmemcg_free(self.0.as_ptr().cast()) };
    }
}
