// SPDX-License-Identifier: GPL-2.0

//! The functions that other modules call. `include/rust_kmemcg.h` documents them.
//!
//! A pointer to a root or a group is an [`Arc`] that was converted by [`Arc::into_raw`], a pointer to
//! an object a [`Foreign`]. A C caller guarantees that a pointer came from one of these functions and
//! was not given back; the safety requirements of the functions state no more than that. `NULL` and an
//! `ERR_PTR`, which a function returns after an error, are *no pointers*: they are refused.
//!
//! The module loader does not unload this module before those that call it. If one of them leaked a
//! root or an object, the unload of this module waits for ever, see
//! [`unload`](crate::abstractions::unload).

use crate::{
    abstractions::{
        gfp,
        slab::{
            foreign_layout,
            Foreign,
            Options, //
        },
        sync::rcu::slot::{
            self,
            RcuSlot,
            Reader, //
        }, //
    },
    cgroup::Cgroups,
    protocol::{
        self,
        ChildObject,
        FindGroup,
        Group,
        Kmemcg,
        Phase,
        Root, //
    }, //
};
use core::{
    alloc::Layout,
    ffi::{c_char, c_int, c_uint, c_void},
    mem::ManuallyDrop,
    ptr, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc,
    task::might_sleep, //
};

/// What the functions operate on.
struct Shared {
    kmemcg: Arc<Kmemcg>,
    cgroups: Arc<Cgroups>,
}

/// Filled while there is an [`Exports`].
static SHARED: RcuSlot<Shared> = RcuSlot::new();

/// Lets the functions operate on the roots, groups and cgroups that [`new`](Self::new) was given.
///
/// Before it exists, and after it was dropped, those that create, find, destroy or attach something, or take a group
/// offline, fail with `ENODEV`. Context of the drop: may sleep; waits for a grace period.
pub struct Exports(());

impl Exports {
    /// Publishes `kmemcg` and `cgroups` to the functions. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there is an [`Exports`] already. `ENOMEM`.
    pub fn new(kmemcg: &Arc<Kmemcg>, cgroups: &Arc<Cgroups>) -> Result<Self> {
        let shared = Shared {
            kmemcg: kmemcg.clone(),
            cgroups: cgroups.clone(),
        };
        SHARED
            .publish(Arc::new(shared, GFP_KERNEL)?)
            .map_err(|_| EBUSY)?;
        Ok(Self(()))
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        // Waits for readers of the slot.
        drop(SHARED.take());
    }
}

/// Another reference on a field of [`SHARED`]; `ENODEV` while that is empty.
fn shared<T>(field: fn(&Shared) -> &Arc<T>) -> Result<Arc<T>> {
    slot::read(|reader| Ok(field(SHARED.load(reader).ok_or(ENODEV)?).clone()))
}

fn kmemcg() -> Result<Arc<Kmemcg>> {
    shared(|shared| &shared.kmemcg)
}

/// Finds the group of the current task's cgroup, through [`SHARED`].
struct CurrentCgroup;

impl FindGroup for CurrentCgroup {
    #[inline]
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        SHARED.load(reader)?.cgroups.find_group(reader)
    }
}

/// Equivalent to `IS_ERR_OR_NULL()`: the last `MAX_ERRNO` addresses and `NULL`.
#[inline]
fn is_err_or_null<T>(ptr: *const T) -> bool {
    const MAX_ERRNO: usize = 4095;
    ptr.addr().wrapping_add(MAX_ERRNO) <= MAX_ERRNO
}

/// Borrows the `Arc` that C has a pointer to. C keeps its reference.
///
/// # Errors
///
/// `EINVAL`: it is no pointer.
///
/// # Safety
///
/// `ptr` is no pointer; or [`into_ptr`] returned it, and [`from_ptr`] is not called with it while the
/// returned value is used.
#[inline]
unsafe fn borrow<T>(ptr: *const T) -> Result<ManuallyDrop<Arc<T>>> {
    if is_err_or_null(ptr) {
        return Err(EINVAL);
    }
    // SAFETY: By the safety requirement. `ManuallyDrop` leaves the reference with C.
    Ok(ManuallyDrop::new(unsafe { Arc::from_raw(ptr) }))
}

/// Takes the reference of C back.
///
/// # Safety
///
/// [`into_ptr`] returned `ptr`, and it is not used again.
unsafe fn from_ptr<T>(ptr: *const T) -> Arc<T> {
    // SAFETY: By the safety requirement.
    unsafe { Arc::from_raw(ptr) }
}

/// Gives a reference to C, as a pointer; an error as an `ERR_PTR`.
fn into_ptr<T>(result: Result<Arc<T>>) -> *const T {
    match result {
        Ok(arc) => Arc::into_raw(arc),
        Err(error) => error.to_ptr::<T>(),
    }
}

/// Borrows a C string; `EINVAL` if it is no pointer, or not UTF-8.
///
/// # Safety
///
/// `name` is no pointer, or points to a C string that is valid for `'a`.
unsafe fn string<'a>(name: *const c_char) -> Result<&'a str> {
    if is_err_or_null(name) {
        return Err(EINVAL);
    }
    // SAFETY: By the safety requirement.
    let name = unsafe { CStr::from_char_ptr(name.cast()) };
    name.to_str().map_err(|_| EINVAL)
}

/// 0, or a negative errno.
fn to_errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// `KMEMCG_ACCOUNT`.
const ACCOUNT: c_uint = 1 << 0;

/// Checks the arguments of `kmemcg_root_create()`, and creates the root.
fn create_root(name: &str, size: usize, align: usize, flags: c_uint) -> Result<Arc<Root>> {
    let name = protocol::name(name)?;
    if size == 0 || flags & !ACCOUNT != 0 {
        return Err(EINVAL);
    }
    let align = if align == 0 {
        size_of::<usize>()
    } else {
        align
    };
    let layout = Layout::from_size_align(size, align).map_err(|_| EINVAL)?;
    let options = match flags & ACCOUNT {
        0 => Options::new(),
        _ => Options::new().account(),
    };
    kmemcg()?.create_root(name, foreign_layout(layout)?, options)
}

/// # Safety
///
/// `name` is no pointer or points to a C string.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_create(
    name: *const c_char,
    size: usize,
    align: usize,
    flags: c_uint,
) -> *const Root {
    might_sleep();
    // SAFETY: By the safety requirement.
    into_ptr(unsafe { string(name) }.and_then(|name| create_root(name, size, align, flags)))
}

/// As [`Kmemcg::close_root`], but succeeds if the root is closing or destroyed already, by debugfs.
fn close_root(kmemcg: &Kmemcg, root: &Arc<Root>) -> Result {
    match kmemcg.close_root(root) {
        Err(EBUSY) if matches!(root.phase(), Phase::Closing | Phase::Destroyed) => Ok(()),
        result => result,
    }
}

/// Calls `destroy`, and drops the reference of C unless that fails.
///
/// # Safety
///
/// `root` is no pointer or a root, and is not used again if this returns 0.
unsafe fn destroy_and_put(root: *const Root, destroy: fn(&Kmemcg, &Arc<Root>) -> Result) -> c_int {
    might_sleep();
    // SAFETY: By the safety requirement.
    let borrowed = unsafe { borrow(root) };
    match borrowed.and_then(|root| destroy(&*kmemcg()?, &root)) {
        // ENOENT: debugfs has destroyed it already.
        Ok(()) | Err(ENOENT) => {
            // SAFETY: By the safety requirement. It is a pointer: borrow() has accepted it.
            drop(unsafe { from_ptr(root) });
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// `root` is no pointer or a root, and is not used again if this returns 0.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_destroy(root: *const Root) -> c_int {
    // SAFETY: By the safety requirement.
    unsafe { destroy_and_put(root, Kmemcg::destroy_root) }
}

/// # Safety
///
/// As [`kmemcg_root_destroy`].
#[no_mangle]
unsafe extern "C" fn kmemcg_root_close(root: *const Root) -> c_int {
    // SAFETY: By the safety requirement.
    unsafe { destroy_and_put(root, close_root) }
}

/// `struct kmemcg_stats`.
#[repr(C)]
#[derive(Default)]
struct RawStats {
    caches: u64,
    objects: u64,
    allocations_root: u64,
    requests: u64,
    creations: u64,
    aborts: u64,
    deactivations: u64,
    shutdowns: u64,
}

fn raw_stats(root: &Root) -> RawStats {
    let mut objects = 0;
    root.for_each_child(|child| objects += child.objects() as u64);
    let stats = root.stats();
    RawStats {
        // A cache that is being destroyed is not listed, but counts.
        caches: root.caches() as u64,
        objects,
        allocations_root: stats.allocations_root.get(),
        requests: stats.requests.get(),
        creations: stats.creations.get(),
        aborts: stats.aborts.get(),
        deactivations: stats.deactivations.get(),
        shutdowns: stats.shutdowns.get(),
    }
}

/// # Safety
///
/// `root` is no pointer or a root, and `out` is valid for writes.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_stats(root: *const Root, out: *mut RawStats) {
    // SAFETY: By the safety requirement.
    let root = unsafe { borrow(root) };
    let stats = root.map_or_else(|_| RawStats::default(), |root| raw_stats(&root));
    // SAFETY: By the safety requirement.
    unsafe { out.write(stats) };
}

#[no_mangle]
extern "C" fn kmemcg_attach_cgroups() -> c_int {
    might_sleep();
    match shared(|shared| &shared.cgroups).and_then(|cgroups| cgroups.attach()) {
        // Attached already.
        Err(EBUSY) => 0,
        result => to_errno(result),
    }
}

/// # Safety
///
/// `name` is no pointer or points to a C string, and `parent` is no pointer or a group.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_create(
    name: *const c_char,
    parent: *const Group,
) -> *const Group {
    might_sleep();
    let parent = (!parent.is_null()).then(|| {
        // SAFETY: By the safety requirement.
        unsafe { borrow(parent) }
    });
    // SAFETY: By the safety requirement.
    let name = unsafe { string(name) };
    let create =
        |name, parent: Option<&Group>| kmemcg()?.create_group(protocol::name(name)?, parent);
    into_ptr(match (name, parent.transpose()) {
        (Ok(name), Ok(parent)) => create(name, parent.as_deref().map(|group| &**group)),
        _ => Err(EINVAL),
    })
}

/// # Safety
///
/// `name` is no pointer or points to a C string.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_get(name: *const c_char) -> *const Group {
    might_sleep();
    // SAFETY: By the safety requirement.
    into_ptr(unsafe { string(name) }.and_then(|name| kmemcg()?.group(name)))
}

/// # Safety
///
/// `group` is no pointer or a group.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_offline(group: *const Group) -> c_int {
    // SAFETY: By the safety requirement.
    let group = unsafe { borrow(group) };
    to_errno(group.and_then(|group| kmemcg()?.offline_group(&group)))
}

/// # Safety
///
/// `group` is no pointer, or a group that is not used again.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_put(group: *const Group) {
    if !is_err_or_null(group) {
        // SAFETY: By the safety requirement.
        drop(unsafe { from_ptr(group) });
    }
}

/// Gives an object to C; `NULL` after an error.
#[inline]
fn object(result: Result<ChildObject>) -> *mut c_void {
    result
        .and_then(Foreign::into_foreign)
        .map_or(ptr::null_mut(), |object| object.as_ptr())
}

/// # Safety
///
/// `root` is no pointer or a root, and `group` is no pointer or a group.
#[no_mangle]
unsafe extern "C" fn kmemcg_alloc(
    root: *const Root,
    group: *const Group,
    flags: u32,
) -> *mut c_void {
    // SAFETY: By the safety requirement.
    let Ok(root) = (unsafe { borrow(root) }) else {
        return ptr::null_mut();
    };
    let flags = gfp::from_raw(flags);
    if group.is_null() {
        return object(root.alloc(None, flags));
    }
    // SAFETY: By the safety requirement.
    let Ok(group) = (unsafe { borrow(group) }) else {
        return ptr::null_mut();
    };
    let alloc = || object(root.alloc(Some(&group), flags));
    match Cgroups::charge_target(&root, &group) {
        Some(memcg) => memcg.charge(alloc),
        None => alloc(),
    }
}

/// # Safety
///
/// `root` is no pointer or a root.
#[no_mangle]
unsafe extern "C" fn kmemcg_alloc_current(root: *const Root, flags: u32) -> *mut c_void {
    // SAFETY: By the safety requirement.
    match unsafe { borrow(root) } {
        Ok(root) => object(root.alloc_for(&CurrentCgroup, gfp::from_raw(flags))),
        Err(_) => ptr::null_mut(),
    }
}

/// # Safety
///
/// `ptr` is no pointer, or an object that is not used again.
#[no_mangle]
unsafe extern "C" fn kmemcg_free(ptr: *mut c_void) {
    if is_err_or_null(ptr) {
        return;
    }
    if let Some(object) = ptr::NonNull::new(ptr) {
        // SAFETY: By the safety requirement.
        drop(unsafe { ChildObject::from_foreign(object) });
    }
}
