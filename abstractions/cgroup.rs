// SPDX-License-Identifier: GPL-2.0

//! Control groups: the unified hierarchy (cgroup v2).
//!
//! [`CgroupRef`] is a reference on a cgroup, [`Cgroup::all`] walks over those that are online,
//! [`Watcher`] reports those that are made and removed, and [`Memcg`] charges allocations to one.
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

use super::{context::Context, helpers, sync::rcu::slot::Reader, tracepoint::Probe, unload};
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
    task::might_sleep,
    types::Opaque,
};

/// The longest path that the tracepoints report, in bytes with its NUL (`TRACE_CGROUP_PATH_LEN`).
pub const MAX_PATH: usize = 1024;

/// A `struct cgroup`.
///
/// # Invariants
///
/// As long as there is a reference to it, the cgroup is not freed; nor are its parents, as each
/// cgroup holds a reference on its own parent.
#[repr(transparent)]
pub struct Cgroup(Opaque<bindings::cgroup>);

// SAFETY: A `struct cgroup` is not bound to a thread.
unsafe impl Send for Cgroup {}
// SAFETY: The fields that `&Cgroup` reads are constant, or may be read concurrently.
unsafe impl Sync for Cgroup {}

impl Cgroup {
    /// All cgroups of the unified hierarchy that are online, parents before their children, the
    /// root first. Those that are made meanwhile may be among them.
    ///
    /// Wraps `css_next_descendant_pre()`. Context: any.
    pub fn all() -> All {
        All {
            at: None,
            ended: false,
        }
    }

    /// The id of the cgroup of the current task; 0, which is no id, in an interrupt. Context: any.
    #[inline]
    pub fn current_id(_reader: &impl Reader) -> u64 {
        // SAFETY: `task_dfl_cgroup()` requires an RCU reader, which `_reader` is the evidence of.
        unsafe { helpers::rust_kmemcg_current_cgroup_id() }
    }

    /// The cgroup with this id, in the cgroup namespace of the current task.
    ///
    /// Wraps `cgroup_get_from_id()`. Context: a task, interrupts enabled.
    ///
    /// # Errors
    ///
    /// `ENOENT`, and those of `cgroup_get_from_id()`.
    pub fn from_id(id: u64) -> Result<CgroupRef> {
        // SAFETY: `cgroup_get_from_id()` may be called with any number.
        let cgroup = from_err_ptr(unsafe { bindings::cgroup_get_from_id(id) })?;
        // INVARIANT: C returns it with a reference.
        Ok(CgroupRef(NonNull::new(cgroup.cast()).ok_or(ENOENT)?))
    }

    fn as_ptr(&self) -> *mut bindings::cgroup {
        self.0.get()
    }

    /// Its id, the inode number of its folder in cgroupfs, which is unique while it exists.
    ///
    /// Wraps `cgroup_id()`. Context: any.
    pub fn id(&self) -> u64 {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_id(self.as_ptr()) }
    }

    /// Its parent; the root has none.
    ///
    /// Wraps `cgroup_parent()`. Context: any.
    pub fn parent(&self) -> Option<&Cgroup> {
        // SAFETY: Alive, by the type invariants, and so is the parent, as long as `self`.
        unsafe {
            helpers::rust_kmemcg_cgroup_parent(self.as_ptr())
                .cast::<Self>()
                .as_ref()
        }
    }

    /// Is it not removed yet?
    ///
    /// Wraps `css_is_online()`. Context: any.
    pub fn is_online(&self) -> bool {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_is_online(self.as_ptr()) }
    }

    /// Is it in the unified hierarchy? Context: any.
    fn is_unified(&self) -> bool {
        // SAFETY: Alive, by the type invariants.
        unsafe { helpers::rust_kmemcg_cgroup_on_dfl(self.as_ptr()) }
    }

    /// Its path from the root, cut where the buffer ends.
    ///
    /// Wraps `cgroup_path()`. Context: any.
    ///
    /// # Errors
    ///
    /// `EINVAL`, and those of `cgroup_path()`.
    pub fn path<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a CStr> {
        // C writes a NUL before it looks at the size.
        if buffer.is_empty() {
            return Err(EINVAL);
        }
        // SAFETY: Alive, by the type invariants. `cgroup_path()` writes no more bytes than the
        // buffer has, and at least one: it is not empty.
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

    /// The memory cgroup that its memory is charged to: its own, or that of the nearest parent
    /// which has one and is online. `None` if nothing is charged, or if the memory controller is
    /// not in the unified hierarchy.
    ///
    /// Wraps `cgroup_get_e_css()`. Context: any.
    pub fn memcg(&self) -> Option<Memcg> {
        #[cfg(CONFIG_MEMCG)]
        {
            // SAFETY: Alive, by the type invariants.
            let memcg = unsafe { helpers::rust_kmemcg_cgroup_memcg(self.as_ptr()) };
            // INVARIANT: C returns it with a reference.
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
#[must_use = "dropping it puts the reference"]
pub struct CgroupRef(NonNull<Cgroup>);

// SAFETY: `cgroup_put()` may be called on any CPU, in any context.
unsafe impl Send for CgroupRef {}
// SAFETY: `&CgroupRef` gives out a `&Cgroup`, which is `Sync`, and more references, which are
// `Send`.
unsafe impl Sync for CgroupRef {}

impl Deref for CgroupRef {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        // SAFETY: Not freed, by the type invariants.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for CgroupRef {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: `cgroup_get()` requires that the caller has a reference: `self` owns one.
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
    /// The cgroup that was returned last.
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
        // INVARIANT: C returns it with a reference.
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

// SAFETY: `mem_cgroup_put()` may be called on any CPU, in any context.
unsafe impl Send for Memcg {}
// SAFETY: `&Memcg` allows nothing but to charge to it, which may be done concurrently.
unsafe impl Sync for Memcg {}

impl Memcg {
    /// Calls `f`. Its allocations with accounting (from a cache with
    /// [`account`](super::slab::Options::account), or by `GFP_KERNEL_ACCOUNT`) are charged to this
    /// memory cgroup, and not to that of the current task.
    ///
    /// In an interrupt on PREEMPT_RT it only calls `f`, and nothing is charged: softirqs preempt
    /// each other there, and the memory cgroup of all interrupts of a CPU is in one variable.
    ///
    /// Wraps `set_active_memcg()`. Context: any but NMI.
    pub fn charge<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(CONFIG_MEMCG)]
        {
            if cfg!(CONFIG_PREEMPT_RT) && Context::current() != Context::Task {
                return f();
            }
            let memcg = self.0.as_ptr();
            // SAFETY: `self` keeps it alive until it is replaced below. In between, only code on
            // top of this stack sees the variable: `f`, and interrupts, which restore it before
            // they return.
            let outer = unsafe { helpers::rust_kmemcg_set_active_memcg(memcg) };
            let result = f();
            // SAFETY: Null, or the memory cgroup of a `charge()` further down this stack, which
            // keeps it alive until it has returned.
            unsafe { helpers::rust_kmemcg_set_active_memcg(outer) };
            result
        }
        #[cfg(not(CONFIG_MEMCG))]
        f()
    }

    /// Returns whether the caller is in the `f` of a [`charge`](Self::charge) to this memory
    /// cgroup: in the innermost, if there are several. Context: any but NMI.
    #[inline]
    pub fn is_charged(&self) -> bool {
        #[cfg(CONFIG_MEMCG)]
        {
            // SAFETY: Compares the pointer with what `set_active_memcg()` has stored for this task,
            // or for the interrupts of this CPU.
            unsafe { helpers::rust_kmemcg_memcg_is_active(self.0.as_ptr()) }
        }
        #[cfg(not(CONFIG_MEMCG))]
        false
    }
}

#[cfg(CONFIG_MEMCG)]
impl Drop for Memcg {
    fn drop(&mut self) {
        // SAFETY: Puts our reference; `self` is not used again.
        unsafe { helpers::rust_kmemcg_memcg_put(self.0.as_ptr()) };
    }
}

/// Callbacks for cgroups that are made and removed.
///
/// Context of all three: with locks of the cgroup core held, among them a spinlock with interrupts
/// disabled. So they must not sleep, and must not call anything that makes or removes a cgroup.
pub trait Watch: Send + Sync + 'static {
    /// A cgroup was made. [`Cgroup::all`] may have returned it before. Its [`rmdir`](Self::rmdir)
    /// will be reported, too, unless the watcher is stopped before.
    fn mkdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup, path: &CStr);

    /// A cgroup was removed: it is offline.
    fn rmdir(this: ArcBorrow<'_, Self>, cgroup: &Cgroup);

    /// The last reference on a cgroup was put. It is freed after a grace period. A cgroup whose
    /// creation failed is released without [`rmdir`](Self::rmdir).
    fn release(this: ArcBorrow<'_, Self>, cgroup: &Cgroup);
}

/// Calls a [`Watch`] for the cgroups of the unified hierarchy that are made and removed.
///
/// Dropping it waits for callbacks that are running. Context of the drop: may sleep. A watcher that
/// is never dropped keeps its module for ever: `rmmod` waits.
#[must_use = "dropping it ends the watch, and waits"]
pub struct Watcher<T: Watch> {
    /// Dropped before the other fields, which they use; in the opposite order of their
    /// registration.
    _probes: [Probe; 3],
    watch: Arc<T>,
    _hold: unload::Hold,
}

impl<T: Watch> Watcher<T> {
    /// Starts watching: probes of the tracepoints `cgroup_mkdir`, `cgroup_rmdir` and
    /// `cgroup_release`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the kernel does not have these tracepoints. `EEXIST`: there is a watcher for this
    /// `watch`. `ENOMEM`. `ENODEV`: the module is being unloaded.
    pub fn new(watch: Arc<T>, module: &impl unload::Source) -> Result<Self> {
        might_sleep();
        let hold = module.take_hold(unload::Abstraction::new())?;
        let data = Arc::as_ptr(&watch).cast_mut().cast::<c_void>();
        // Register mkdir last, so that no cgroup is reported whose removal could be missed.
        // SAFETY: The functions have the arguments of these tracepoints, which have the same three;
        // `data` lives as long as the probes. They do what `Watch` may do in this context. The
        // hold is dropped after them, so their code is there.
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
    /// Stops watching, and waits for callbacks that are running. Context: may sleep.
    pub fn stop(self) -> Arc<T> {
        might_sleep();
        self.watch.clone()
    }
}

impl<T: Watch> Drop for Watcher<T> {
    fn drop(&mut self) {
        might_sleep();
    }
}

impl<T: Watch> Deref for Watcher<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.watch
    }
}

/// The arguments of a tracepoint, if they are about the unified hierarchy.
///
/// # Safety
///
/// `data` is that of [`Watcher::new`], which is alive; `cgroup` is not freed for as long as `'a`.
unsafe fn subject<'a, T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
) -> Option<(ArcBorrow<'a, T>, &'a Cgroup)> {
    // SAFETY: The caller guarantees that it is that of a watcher, which has an `Arc` of it.
    let watch = unsafe { ArcBorrow::from_raw(data.cast_const().cast::<T>()) };
    // SAFETY: `Cgroup` is a transparent wrapper; the caller guarantees that it is not freed.
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
    // SAFETY: The caller is the tracepoint `cgroup_mkdir`, which passes the `data` of its probe,
    // and a cgroup that is not freed during the call.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        // SAFETY: The tracepoint passes a C string, which is valid during the call.
        T::mkdir(watch, cgroup, unsafe { CStr::from_char_ptr(path) });
    }
}

/// # Safety
///
/// Called by the tracepoint only, with its arguments, by a [`Watcher<T>`].
unsafe extern "C" fn rmdir<T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
    _path: *const c_char,
) {
    // SAFETY: The caller is the tracepoint `cgroup_rmdir`, which passes the `data` of its probe,
    // and a cgroup that is not freed during the call.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        T::rmdir(watch, cgroup);
    }
}

/// # Safety
///
/// Called by the tracepoint only, with its arguments, by a [`Watcher<T>`].
unsafe extern "C" fn release<T: Watch>(
    data: *mut c_void,
    cgroup: *mut bindings::cgroup,
    _path: *const c_char,
) {
    // SAFETY: The caller is the tracepoint `cgroup_release`, which passes the `data` of its probe,
    // and a cgroup that is freed after a grace period which begins later.
    if let Some((watch, cgroup)) = unsafe { subject::<T>(data, cgroup) } {
        T::release(watch, cgroup);
    }
}
