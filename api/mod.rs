// SPDX-License-Identifier: GPL-2.0

//! What other modules call: the functions of `include/rust_kmemcg.h`, which documents them.
//!
//! This is a boundary to C, so each function trusts its caller as C does: a root or a group is a pointer that
//! one of these functions has returned and that was not given back, an object likewise. That is all that the
//! SAFETY comments here say; what they lead to is safe. `NULL` and an `ERR_PTR`, which is what these functions
//! return when they fail, are no pointers, and refused.
//!
//! Behind the pointers are an [`Arc`] of a [`Root`] and of a [`Group`]. The module loader does not unload
//! this module before those that call it; its exit waits for roots and objects that they have forgotten, see [`unload`](crate::abstractions::unload).

use crate::{
    abstractions::{
        gfp,
        kmem_cache::{foreign_layout, Foreign, Options},
        rcu_slot::{RcuSlot, Reader},
    },
    cgroup::Cgroups,
    protocol::{self, ChildObject, FindGroup, Group, Kmemcg, Phase, Root},
};
use core::{
    alloc::Layout,
    ffi::{c_char, c_int, c_uint, c_void},
    mem::ManuallyDrop,
    ptr,
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::{rcu, Arc},
    task::might_sleep,
};

/// What the functions work on, as long as this module is loaded.
struct Shared {
    kmemcg: Arc<Kmemcg>,
    cgroups: Arc<Cgroups>,
}

static SHARED: RcuSlot<Shared> = RcuSlot::new();

/// While this exists other modules are served.
pub struct Exports(());

impl Exports {
    /// Serves them from `kmemcg` and `cgroups`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there are such already. `ENOMEM`.
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
        // Waits for readers.
        drop(SHARED.take());
    }
}

/// A part of what is shared; `ENODEV` where that is gone.
fn shared<T>(part: fn(&Shared) -> &Arc<T>) -> Result<Arc<T>> {
    let guard = rcu::read_lock();
    Ok(part(SHARED.load(&guard).ok_or(ENODEV)?).clone())
}

fn kmemcg() -> Result<Arc<Kmemcg>> {
    shared(|shared| &shared.kmemcg)
}

/// The group of the current task's cgroup.
struct Current;

impl FindGroup for Current {
    #[inline]
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        SHARED.load(reader)?.cgroups.find_group(reader)
    }
}

/// Is it `NULL` or an `ERR_PTR`?
#[inline]
fn is_err_or_null<T>(ptr: *const T) -> bool {
    const MAX_ERRNO: usize = 4095;
    ptr.addr().wrapping_add(MAX_ERRNO) <= MAX_ERRNO
}

/// An `Arc` behind a pointer of C, which keeps its reference; `EINVAL` for what is no pointer.
///
/// # Safety
///
/// `ptr` is no pointer, or came from [`give`] and was not [`taken`](take).
#[inline]
unsafe fn borrow<T>(ptr: *const T) -> Result<ManuallyDrop<Arc<T>>> {
    if is_err_or_null(ptr) {
        return Err(EINVAL);
    }
    // SAFETY: By the safety requirement; the reference stays C's.
    Ok(ManuallyDrop::new(unsafe { Arc::from_raw(ptr) }))
}

/// # Safety
///
/// `ptr` came from [`give`], and is not used again.
unsafe fn take<T>(ptr: *const T) -> Arc<T> {
    // SAFETY: By the safety requirement.
    unsafe { Arc::from_raw(ptr) }
}

/// A pointer for C, or its way to tell an error.
fn give<T>(result: Result<Arc<T>>) -> *const T {
    match result {
        Ok(arc) => Arc::into_raw(arc),
        Err(error) => error.to_ptr::<T>(),
    }
}

/// # Safety
///
/// `name` is no pointer, or a string of C for as long as the returned one is used.
unsafe fn string<'a>(name: *const c_char) -> Result<&'a str> {
    if is_err_or_null(name) {
        return Err(EINVAL);
    }
    // SAFETY: By the safety requirement.
    let name = unsafe { CStr::from_char_ptr(name.cast()) };
    name.to_str().map_err(|_| EINVAL)
}

fn status(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

const ACCOUNT: c_uint = 1 << 0;

fn create(name: &str, size: usize, align: usize, flags: c_uint) -> Result<Arc<Root>> {
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
/// `name` is no pointer or a string of C.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_create(
    name: *const c_char,
    size: usize,
    align: usize,
    flags: c_uint,
) -> *const Root {
    might_sleep();
    // SAFETY: By the safety requirement.
    give(unsafe { string(name) }.and_then(|name| create(name, size, align, flags)))
}

/// As [`Kmemcg::close_root`]; it has been done where somebody else closed the root, by debugfs.
fn close(kmemcg: &Kmemcg, root: &Arc<Root>) -> Result {
    match kmemcg.close_root(root) {
        Err(EBUSY) if matches!(root.phase(), Phase::Closing | Phase::Destroyed) => Ok(()),
        result => result,
    }
}

/// Ends a root by `end`; C's reference goes with it, unless somebody else is at it.
///
/// # Safety
///
/// `root` is no pointer or a root, and is not used again where this returns zero.
unsafe fn end(root: *const Root, end: fn(&Kmemcg, &Arc<Root>) -> Result) -> c_int {
    might_sleep();
    // SAFETY: By the safety requirement.
    let borrowed = unsafe { borrow(root) };
    match borrowed.and_then(|root| end(&*kmemcg()?, &root)) {
        // Somebody was faster, by debugfs.
        Ok(()) | Err(ENOENT) => {
            // SAFETY: By the safety requirement, and it is a pointer, as somebody was at it.
            drop(unsafe { take(root) });
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// `root` is no pointer or a root, and is not used again where this returns zero.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_destroy(root: *const Root) -> c_int {
    // SAFETY: By the safety requirement.
    unsafe { end(root, Kmemcg::destroy_root) }
}

/// # Safety
///
/// As [`kmemcg_root_destroy`].
#[no_mangle]
unsafe extern "C" fn kmemcg_root_close(root: *const Root) -> c_int {
    // SAFETY: By the safety requirement.
    unsafe { end(root, close) }
}

/// `struct kmemcg_stats`.
#[repr(C)]
#[derive(Default)]
struct Statistics {
    caches: u64,
    objects: u64,
    allocations_root: u64,
    requests: u64,
    creations: u64,
    aborts: u64,
    deactivations: u64,
    shutdowns: u64,
}

fn statistics(root: &Root) -> Statistics {
    let (mut caches, mut objects) = (0, 0);
    root.for_each_child(|child| {
        caches += 1;
        objects += child.objects() as u64;
    });
    let stats = root.stats();
    Statistics {
        caches,
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
/// `root` is no pointer or a root, and `out` may be written.
#[no_mangle]
unsafe extern "C" fn kmemcg_root_stats(root: *const Root, out: *mut Statistics) {
    // SAFETY: By the safety requirement.
    let root = unsafe { borrow(root) };
    let statistics = root.map_or_else(|_| Statistics::default(), |root| statistics(&root));
    // SAFETY: By the safety requirement.
    unsafe { out.write(statistics) };
}

#[no_mangle]
extern "C" fn kmemcg_attach_cgroups() -> c_int {
    might_sleep();
    match shared(|shared| &shared.cgroups).and_then(|cgroups| cgroups.attach()) {
        Err(EBUSY) => 0,
        result => status(result),
    }
}

/// # Safety
///
/// `name` is no pointer or a string of C, and `parent` is no pointer or a group.
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
    give(match (name, parent.transpose()) {
        (Ok(name), Ok(parent)) => create(name, parent.as_deref().map(|group| &**group)),
        _ => Err(EINVAL),
    })
}

/// # Safety
///
/// `name` is no pointer or a string of C.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_get(name: *const c_char) -> *const Group {
    might_sleep();
    // SAFETY: By the safety requirement.
    give(unsafe { string(name) }.and_then(|name| kmemcg()?.group(name)))
}

/// # Safety
///
/// `group` is no pointer or a group.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_offline(group: *const Group) -> c_int {
    // SAFETY: By the safety requirement.
    let group = unsafe { borrow(group) };
    status(group.and_then(|group| kmemcg()?.offline_group(&group)))
}

/// # Safety
///
/// `group` is no pointer, or a group that is not used again.
#[no_mangle]
unsafe extern "C" fn kmemcg_group_put(group: *const Group) {
    if !is_err_or_null(group) {
        // SAFETY: By the safety requirement.
        drop(unsafe { take(group) });
    }
}

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
        Some(payer) => payer.charge(alloc),
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
        Ok(root) => object(root.alloc_for(&Current, gfp::from_raw(flags))),
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
