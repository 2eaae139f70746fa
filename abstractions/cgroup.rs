// SPDX-License-Identifier: GPL-2.0

//! Control groups: the unified hierarchy (cgroup v2).
//!
//! [`CgroupRef`] holds a cgroup, [`Cgroup::all`] walks over those that are online, [`Watcher`] tells
//! of those that come and go, and [`Memcg`] has allocations charged to one.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::cgroup::*;
//!
//! fn example() -> Result {
//!     let mut buffer = [0; MAX_PATH];
//!     for cgroup in Cgroup::all() {
//!         pr_info!("{} is {:?}\n", cgroup.id(), cgroup.path(&mut buffer)?);
//!     }
//!     let root = Cgroup::all().next().ok_or(ENOENT)?;
//!     if let Some(memcg) = root.memcg() {
//!         memcg.charge(|| { /* What is allocated here is charged to it. */ });
//!     }
//!     Ok(())
//! }
//! ```
//!
//! C header: [`include/linux/cgroup.h`](srctree/include/linux/cgroup.h)

use super::{helpers, rcu_slot::Reader, tracepoint::Probe, unload};
use core::{
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{c_char, c_void},
    prelude::*,
    str::CStr,
    sync::{Arc, ArcBorrow},
    types::Opaque,
};

/// The longest path that is told in full, in bytes with its NUL (`TRACE_CGROUP_PATH_LEN`).
pub const MAX_PATH: usize = 1024;

/// A `struct cgroup`.
///
/// # Invariants
///
/// As long as there is a reference to it, the cgroup is not freed; its parents neither, as each holds
/// a reference on its own.
#[repr(transparent)]
pub struct Cgroup(Opaque<bindings::cgroup>);

// SAFETY: A cgroup may be looked at from any CPU.
unsafe impl Send for Cgroup {}
// SAFETY: As above.
unsafe impl Sync for Cgroup {}

impl Cgroup {
    /// All cgroups of the unified hierarchy that are online, parents before their children, the root
    /// first. Those that come meanwhile may be among them. Context: any.
    pub fn all() -> All {
        All {
            at: None,
            ended: false,
        }
    }

    /// The id of the cgroup of the current task, or 0 where no task asks: in an interrupt. Context:
    /// any.
    #[inline]
    pub fn current_id(_reader: &impl Reader) -> u64 {
        // SAFETY: `_reader` keeps the cgroup that it looks at from being freed.
        unsafe { helpers::rust_kmemcg_current_cgroup_id() }
    }

    /// The cgroup with this id, in the cgroup namespace of the current task.
    ///
    /// Stands on `cgroup_get_from_id()`. Context: a task, interrupts enabled.
    ///
    /// # Errors
    ///
    /// `ENOENT` and what else C says.
    pub fn from_id(id: u64) -> Result<CgroupRef> {
        // SAFETY: May be called with any number.
        let cgroup = from_err_ptr(unsafe { bindings::cgroup_get_from_id(id) })?;
        // INVARIANT: With a reference, which is ours.
        Ok(CgroupRef(NonNull::new(cgroup.cast()).ok_or(ENOENT)?))
    }

    fn as_ptr(&self) -> *mut bindings::cgroup {
        self.0.get()
    }

    /// Its id, that of its folder in cgroupfs: not used again while it exists. Context: any.
    pub fn id(&self) -> u64 {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_id(self.as_ptr()) }
    }

    /// Its parent; the root has none. Context: any.
    pub fn parent(&self) -> Option<&Cgroup> {
        // SAFETY: Alive, by the type invariants, and so is the parent, as long as `self`.
        unsafe {
            helpers::rust_kmemcg_cgroup_parent(self.as_ptr())
                .cast::<Self>()
                .as_ref()
        }
    }

    /// Was it not removed yet? Context: any.
    pub fn is_online(&self) -> bool {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_is_online(self.as_ptr()) }
    }

    /// Is it of the unified hierarchy? Context: any.
    fn is_unified(&self) -> bool {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_on_dfl(self.as_ptr()) }
    }

    /// Its path from the root, cut where the buffer ends. Stands on `cgroup_path()`. Context: any.
    ///
    /// # Errors
    ///
    /// `EINVAL` and what else C says.
    pub fn path<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a CStr> {
        // C writes a NUL first, and looks at the size then.
        if buffer.is_empty() {
            return Err(EINVAL);
        }
        // SAFETY: Alive, by the type invariants; writes no more than the buffer, which is not empty.
        let length = unsafe {
            helpers::rust_kmemcg_cgroup_path(
                self.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        kernel::error::to_result(length)?;
        CStr::from_bytes_until_nul(buffer).map_err(|_| EINVAL)
    }

    /// What its memory is charged to: its own memory cgroup, or that of the nearest parent which has
    /// one and is online. None where nothing is charged.
    ///
    /// Stands on `cgroup_get_e_css()`. Context: any.
    pub fn memcg(&self) -> Option<Memcg> {
        #[cfg(CONFIG_MEMCG)]
        {
            // SAFETY: Alive, by the type invariants.
            let memcg = unsafe { helpers::rust_kmemcg_cgroup_memcg(self.as_ptr()) };
            // INVARIANT: With a reference, which is ours.
            NonNull::new(memcg).map(Memcg)
        }
        #[cfg(not(CONFIG_MEMCG))]
        None
    }
}

/// A reference on a cgroup: keeps it from being freed, but not from being removed.
///
/// # Invariants
///
/// Owns a reference on the cgroup.
pub struct CgroupRef(NonNull<Cgroup>);

// SAFETY: A reference may be used and put on any CPU.
unsafe impl Send for CgroupRef {}
// SAFETY: As above.
unsafe impl Sync for CgroupRef {}

impl Deref for CgroupRef {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        // SAFETY: Not freed, by the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for CgroupRef {
    fn clone(&self) -> Self {
        // SAFETY: Alive; we have a reference, so there may be another.
        unsafe { helpers::rust_kmemcg_cgroup_get(self.as_ptr()) };
        // INVARIANT: This is the reference.
        Self(self.0)
    }
}

impl Drop for CgroupRef {
    fn drop(&mut self) {
        // SAFETY: Puts our reference; `self` is not used again.
        unsafe { helpers::rust_kmemcg_cgroup_put(self.as_ptr()) };
    }
}

/// The iterator of [`Cgroup::all`].
pub struct All {
    /// The one that it is at.
    at: Option<CgroupRef>,
    ended: bool,
}

impl Iterator for All {
    type Item = CgroupRef;

    fn next(&mut self) -> Option<CgroupRef> {
        if self.ended {
            return None;
        }
        let at = self.at.as_ref().map_or(ptr::null_mut(), |at| at.as_ptr());
        // SAFETY: Null, or a cgroup of this hierarchy that `self.at` keeps alive.
        let next = unsafe { helpers::rust_kmemcg_cgroup_next(at) };
        // INVARIANT: With a reference, which is ours.
        self.at = NonNull::new(next.cast()).map(CgroupRef);
        self.ended = self.at.is_none();
        self.at.clone()
    }
}

/// A `struct mem_cgroup`, with a reference on it.
///
/// # Invariants
///
/// Owns a reference on the memory cgroup.
#[cfg_attr(not(CONFIG_MEMCG), allow(dead_code))]
pub struct Memcg(NonNull<bindings::mem_cgroup>);

// SAFETY: A reference may be used and put on any CPU.
unsafe impl Send for Memcg {}
// SAFETY: As above.
unsafe impl Sync for Memcg {}

impl Memcg {
    /// Calls `f`, in which what is allocated with accounting (from a cache with
    /// [`account`](super::kmem_cache::Options::account), or by `GFP_KERNEL_ACCOUNT`) is charged to this
    /// memory cgroup, whoever the current task is.
    ///
    /// Stands on `set_active_memcg()`. Context: any but NMI.
    pub fn charge<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(CONFIG_MEMCG)]
        {
            let memcg = self.0.as_ptr();
            // SAFETY: Our reference keeps it alive until it is replaced below, in the same context.
            let outer = unsafe { helpers::rust_kmemcg_set_active_memcg(memcg) };
            let result = f();
            // SAFETY: What was there before, whose owner is further up this very stack.
            unsafe { helpers::rust_kmemcg_set_active_memcg(outer) };
            result
        }
        #[cfg(not(CONFIG_MEMCG))]
        f()
    }
}

#[cfg(CONFIG_MEMCG)]
impl Drop for Memcg {
    fn drop(&mut self) {
        // SAFETY: Puts our reference; `self` is not used again.
        unsafe { helpers::rust_kmemcg_memcg_put(self.0.as_ptr()) };
    }
}

/// Who is told of cgroups that come and go.
///
/// Context of all three: with locks of the cgroup core held, among them a spinlock with interrupts
/// disabled. So they must not sleep, and must not call anything that makes or removes a cgroup.
pub trait Watch: Send + Sync + 'static {
    /// A cgroup was made. It may have been seen by [`Cgroup::all`] before. It will be told, too,
    /// that this one was removed, unless the watcher is stopped before.
    fn mkdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup, path: &CStr);

    /// A cgroup was removed: it is offline.
    fn rmdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup);

    /// The last reference on a cgroup is gone. It is freed after a grace period. One that could not
    /// be made in full goes without [`rmdir`](Self::rmdir).
    fn release(this: ArcBorrow<'_, Self>, cgroup: &Cgroup);
}

/// Tells a [`Watch`] of the cgroups of the unified hierarchy that come and go.
///
/// Dropping it waits until nobody is being told. Context of the drop: may sleep. One that is never
/// dropped keeps its module for ever: `rmmod` waits.
pub struct Watcher<T: Watch> {
    /// Dropped before the others, which they use; in the order opposite to that of their making.
    _probes: [Probe; 3],
    watch: Arc<T>,
    _hold: unload::Hold,
}

impl<T: Watch> Watcher<T> {
    /// Starts watching. Stands on the tracepoints `cgroup_mkdir`, `cgroup_rmdir` and
    /// `cgroup_release`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the kernel has not got these tracepoints. `ENOMEM`. `ENODEV`: the module is being
    /// unloaded.
    pub fn new(watch: Arc<T>, module: &unload::Handle) -> Result<Self> {
        let hold = module.hold()?;
        let data = Arc::as_ptr(&watch).cast_mut().cast::<c_void>();
        // SAFETY: The functions have the arguments of these tracepoints, which have the same three;
        // `data` lives as long as the probes. They do what `Watch` may do in this context. The
        // hold is dropped after them, so their code is there. `mkdir` comes last: who is told that a
        // cgroup comes must not miss that it goes.
        let (release, rmdir, mkdir) = unsafe {
            (
                Probe::new(c"cgroup_release", release::<T> as *mut c_void, data)?,
                Probe::new(c"cgroup_rmdir", rmdir::<T> as *mut c_void, data)?,
                Probe::new(c"cgroup_mkdir", mkdir::<T> as *mut c_void, data)?,
            )
        };
        Ok(Self {
            _probes: [mkdir, rmdir, release],
            watch,
            _hold: hold,
        })
    }
}

impl<T: Watch> Watcher<T> {
    /// Stops watching, and waits until nobody is being told. Context: may sleep.
    pub fn stop(self) -> Arc<T> {
        self.watch.clone()
    }
}

impl<T: Watch> Deref for Watcher<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.watch
    }
}

/// What a tracepoint was called with, where it is about the unified hierarchy.
///
/// # Safety
///
/// `data` is that of [`Watcher::new`], which is alive; `cgroup` is not freed for as long as `'a`.
unsafe fn subject<'a, T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
) -> Option<(ArcBorrow<'a, T>, &'a Cgroup)> {
    // SAFETY: The watcher has this `Arc`, says the caller.
    let watch = unsafe { ArcBorrow::from_raw(data.cast_const().cast::<T>()) };
    // SAFETY: Not freed, says the caller.
    let cgroup = unsafe { &*cgroup.cast::<Cgroup>() };
    cgroup.is_unified().then_some((watch, cgroup))
}

/// # Safety
///
/// Called by the tracepoint only, with its arguments, by a [`Watcher<T>`].
unsafe extern "C" fn mkdir<T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
    path: *const c_char,
) {
    // SAFETY: The tracepoint passes a cgroup that its caller holds, by the caller's word.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        // SAFETY: The tracepoint passes a C string, which stays during this call.
        T::mkdir(watch, cgroup, unsafe { CStr::from_char_ptr(path) });
    }
}

/// # Safety
///
/// As for [`mkdir`].
unsafe extern "C" fn rmdir<T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
    _path: *const c_char,
) {
    // SAFETY: As in `mkdir()`.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        T::rmdir(watch, cgroup);
    }
}

/// # Safety
///
/// As for [`mkdir`].
unsafe extern "C" fn release<T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
    _path: *const c_char,
) {
    // SAFETY: As in `mkdir()`; a cgroup that is being released is freed after a grace period that
    // begins later.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        T::release(watch, cgroup);
    }
}
