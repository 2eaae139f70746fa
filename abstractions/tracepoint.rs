// SPDX-License-Identifier: GPL-2.0

//! Hooks on the kernel's tracepoints, found by name.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)
//!
//! # Examples
//!
//! ```
//! use kernel::{ffi::c_void, prelude::*};
//! use rust_kmemcg::abstractions::tracepoint::Probe;
//!
//! unsafe extern "C" fn on_event(_data: *mut c_void) {}
//!
//! fn example() -> Result {
//!     // SAFETY: The probe uses none of the arguments.
//!     let probe = unsafe { Probe::new(c"cgroup_release", on_event as *mut c_void, 0 as _) }?;
//!     drop(probe); // No probe is running any more.
//!     Ok(())
//! }
//! ```

use super::helpers;
use core::ptr::{self, NonNull};
use kernel::{bindings, error::to_result, ffi::c_void, prelude::*, str::CStr};

/// A function that is called when a tracepoint fires.
///
/// Dropping it removes the function and waits until nobody is in it. Context of the drop: may sleep.
///
/// # Invariants
///
/// `function` with `data` is registered at `tracepoint`, which is the kernel's own and stays.
pub struct Probe {
    tracepoint: NonNull<bindings::tracepoint>,
    function: *mut c_void,
    data: *mut c_void,
}

// SAFETY: May be removed from any thread.
unsafe impl Send for Probe {}
// SAFETY: Gives out nothing.
unsafe impl Sync for Probe {}

struct Search<'a> {
    name: &'a CStr,
    found: *mut bindings::tracepoint,
}

/// # Safety
///
/// Called by `for_each_kernel_tracepoint()` in [`find`] only.
unsafe extern "C" fn compare(tracepoint: *mut bindings::tracepoint, search: *mut c_void) {
    // SAFETY: `find()` passes a `Search`, and nothing else uses it meanwhile.
    let search = unsafe { &mut *search.cast::<Search<'_>>() };
    // SAFETY: A tracepoint has a name, a C string that lives as long as it does.
    let name = unsafe { CStr::from_char_ptr((*tracepoint).name) };
    if name == search.name {
        search.found = tracepoint;
    }
}

/// The kernel's own tracepoint of that name. Context: may sleep.
///
/// # Errors
///
/// `ENOENT`: the kernel has none; or none that is built in.
fn find(name: &CStr) -> Result<NonNull<bindings::tracepoint>> {
    let mut search = Search {
        name,
        found: ptr::null_mut(),
    };
    // SAFETY: `compare()` is called with `search`, which lives until this returns.
    unsafe {
        bindings::for_each_kernel_tracepoint(
            Some(compare),
            ptr::from_mut(&mut search).cast::<c_void>(),
        )
    };
    NonNull::new(search.found).ok_or(ENOENT)
}

impl Probe {
    /// Calls `function` with `data` and the arguments of the tracepoint whenever that fires.
    ///
    /// Stands on `tracepoint_probe_register()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such tracepoint. `EEXIST`: `function` with `data` is there already.
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `function` is a C function that takes `data` and the arguments of this very tracepoint, and
    /// may be called with them in every context that the tracepoint fires in, until the probe is
    /// dropped; the probe is dropped, not forgotten, before the code of `function` goes.
    pub unsafe fn new(name: &CStr, function: *mut c_void, data: *mut c_void) -> Result<Self> {
        let tracepoint = find(name)?;
        // SAFETY: The tracepoint is the kernel's; the rest is the caller's.
        to_result(unsafe {
            helpers::rust_kmemcg_tracepoint_probe_register_may_exist(
                tracepoint.as_ptr(),
                function,
                data,
            )
        })?;
        // INVARIANT: Registered.
        Ok(Self {
            tracepoint,
            function,
            data,
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: Registered, by the type invariants. It fails for want of memory only, and then
        // replaces the function by one that does nothing.
        unsafe {
            bindings::tracepoint_probe_unregister(
                self.tracepoint.as_ptr(),
                self.function,
                self.data,
            )
        };
        // Probes run in SRCU or RCU-tasks-trace read-side critical sections of the tracepoint core,
        // which `synchronize_rcu()` does not wait for.
        // SAFETY: May sleep here, by contract; nothing else is to be upheld.
        unsafe { helpers::rust_kmemcg_tracepoint_synchronize_unregister() };
    }
}
