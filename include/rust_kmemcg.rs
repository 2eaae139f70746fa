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
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
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

#[repr(C)]
struct RawGroup {
    _opaque: [u8; 0],
}

const ACCOUNT: u32 = 1 << 0;

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

/// Makes every cgroup a group, for all users. Context: may sleep.
///
/// # Errors
///
/// `EOPNOTSUPP`, `ENOSPC`, `ENOMEM`.
pub(crate) fn attach_cgroups() -> Result {
    // SAFETY: May be called at any time, where one may sleep.
    to_result(unsafe { kmemcg_attach_cgroups() })
}

/// A group: one that was made by hand, or a cgroup.
///
/// Dropping it gives it back; it stays online. Context of the drop: as of [`Group::offline`].
///
/// # Invariants
///
/// The pointer is a group that is to be given back.
pub(crate) struct Group(NonNull<RawGroup>);

// SAFETY: The functions of a group may be called by any task.
unsafe impl Send for Group {}
// SAFETY: As above, and by several at once.
unsafe impl Sync for Group {}

impl Group {
    /// Makes a group, which without `parent` is below none. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a name. `EEXIST`. `ENOENT`: the parent is offline. `ENOSPC`: too many groups. `ENOMEM`.
    pub(crate) fn new(name: &CStr, parent: Option<&Group>) -> Result<Self> {
        // SAFETY: The name is a string of C, and is copied; the parent is `NULL` or a group, by the type
        // invariants.
        let group = from_err_ptr(unsafe {
            kmemcg_group_create(name.as_ptr().cast(), Self::as_raw(parent))
        })?;
        // INVARIANT: Just made.
        Ok(Self(NonNull::new(group).ok_or(ENOMEM)?))
    }

    /// The online group of that name: of a cgroup its path, with the slash in front. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: not a name. `ENOENT`.
    pub(crate) fn get(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a string of C.
        let group = from_err_ptr(unsafe { kmemcg_group_get(name.as_ptr().cast()) })?;
        // INVARIANT: To be given back, says `kmemcg_group_get()`.
        Ok(Self(NonNull::new(group).ok_or(ENOENT)?))
    }

    /// Takes it offline: its caches go when they are empty. Context: any but NMI; on PREEMPT_RT one that may
    /// sleep. Waits for nothing; the time it takes grows with the number of its caches.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is offline.
    pub(crate) fn offline(&self) -> Result {
        // SAFETY: A group, by the type invariants.
        to_result(unsafe { kmemcg_group_offline(self.0.as_ptr()) })
    }

    fn as_raw(group: Option<&Group>) -> *mut RawGroup {
        group.map_or(ptr::null_mut(), |group| group.0.as_ptr())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: To be given back, by the type invariants; not used again.
        unsafe { kmemcg_group_put(self.0.as_ptr()) };
    }
}

/// `Flags` as C has them.
fn gfp(flags: Flags) -> u32 {
    // SAFETY: `Flags` is a struct of one `u32`, which is `gfp_t`; the compiler checks the size.
    unsafe { core::mem::transmute::<Flags, u32>(flags) }
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
        Self::with_flags(name, 0)
    }

    /// The same; the memory cgroup of the group pays for objects, see `KMEMCG_ACCOUNT` in `rust_kmemcg.h`.
    ///
    /// # Errors
    ///
    /// As [`Root::new`].
    pub(crate) fn new_account(name: &CStr) -> Result<Self> {
        Self::with_flags(name, ACCOUNT)
    }

    fn with_flags(name: &CStr, flags: u32) -> Result<Self> {
        // SAFETY: The name is a string of C, and is copied.
        let root = from_err_ptr(unsafe {
            kmemcg_root_create(name.as_ptr().cast(), size_of::<T>(), align_of::<T>(), flags)
        })?;
        // INVARIANT: Made for `T`s.
        Ok(Self(NonNull::new(root).ok_or(ENOMEM)?, PhantomData))
    }

    /// A `T` in the cache of `group`, or in the root's own. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; also where the root was destroyed or closed by debugfs.
    pub(crate) fn alloc(&self, group: Option<&Group>, value: T, flags: Flags) -> Result<Object<T>> {
        // SAFETY: A root, by the type invariants, and `NULL` or a group, by those of `Group`.
        let memory = unsafe { kmemcg_alloc(self.0.as_ptr(), Group::as_raw(group), gfp(flags)) };
        // SAFETY: From this root.
        unsafe { Self::object(memory, value) }
    }

    /// A `T` in the cache of the current task's cgroup. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// As [`Root::alloc`].
    pub(crate) fn alloc_current(&self, value: T, flags: Flags) -> Result<Object<T>> {
        // SAFETY: A root, by the type invariants.
        let memory = unsafe { kmemcg_alloc_current(self.0.as_ptr(), gfp(flags)) };
        // SAFETY: From this root.
        unsafe { Self::object(memory, value) }
    }

    /// # Safety
    ///
    /// `memory` is `NULL`, or an object of a root of `T`s that nobody else has.
    unsafe fn object(memory: *mut c_void, value: T) -> Result<Object<T>> {
        let memory = NonNull::new(memory.cast::<T>()).ok_or(ENOMEM)?;
        // SAFETY: Large and aligned enough, by the type invariants, and ours.
        unsafe { memory.write(value) };
        // INVARIANT: Just made.
        Ok(Object(memory))
    }

    /// Destroys it, and the caches of all groups in it. Context: may sleep; waits for grace periods.
    ///
    /// # Errors
    ///
    /// `EBUSY`: objects live, or somebody is destroying it by debugfs. The root comes back as it was.
    pub(crate) fn destroy(self) -> Result<(), (Self, Error)> {
        let root = ManuallyDrop::new(self);
        // SAFETY: A root, by the type invariants; not used again where this returns 0.
        match to_result(unsafe { kmemcg_root_destroy(root.0.as_ptr()) }) {
            Ok(()) => Ok(()),
            Err(error) => Err((ManuallyDrop::into_inner(root), error)),
        }
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
/// `kmem_cache_free()` and the destructor of `T` are legal, hard interrupts included; never waits.
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

impl<T> DerefMut for Object<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: Valid and this value's own, by the type invariants.
        unsafe { self.0.as_mut() }
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
