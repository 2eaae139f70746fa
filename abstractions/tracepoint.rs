// SPDX-License-Identifier: GPL-2.0

//! Hooks on the kernel's tracepoints, found by name; and calls of this module's own trace events.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)
//!
//! # Examples
//!
//! ```
//! use core::ptr;
//! use kernel::{bindings, ffi::{c_char, c_void}, prelude::*};
//! use rust_kmemcg::abstractions::tracepoint::Probe;
//!
//! /// With the types of the `TP_PROTO()` of the event, behind `data`.
//! unsafe extern "C" fn on_release(
//!     _data: *mut c_void,
//!     _cgroup: *mut bindings::cgroup,
//!     _path: *const c_char,
//! ) {
//! }
//!
//! fn example() -> Result {
//!     let function = on_release as *mut c_void;
//!     // SAFETY: The function has the arguments of this tracepoint, and uses none. The probe is
//!     // dropped below.
//!     let probe = unsafe { Probe::new(c"cgroup_release", function, ptr::null_mut()) }?;
//!     drop(probe); // No call of the function is running any more.
//!     Ok(())
//! }
//! ```

use super::helpers;
use core::ptr::{self, NonNull};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_char,
        c_void, //
    },
    prelude::*,
    str::CStr,
    task::might_sleep, //
};

/// A function that is called when a tracepoint fires.
///
/// Dropping it removes the function and waits until no call of it is running. Context of the drop:
/// may sleep.
///
/// # Invariants
///
/// `function` with `data` is registered at `tracepoint`, which is the kernel's own and stays.
#[must_use = "dropping it removes the function, and waits"]
pub struct Probe {
    tracepoint: NonNull<bindings::tracepoint>,
    function: *mut c_void,
    data: *mut c_void,
}

// SAFETY: `tracepoint_probe_unregister()` may be called by any task; the caller of `Probe::new()`
// guarantees that `data` can be used in all contexts of the tracepoint.
unsafe impl Send for Probe {}
// SAFETY: A shared reference gives access to nothing.
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
    /// Wraps `tracepoint_probe_register()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such tracepoint. `EEXIST`: `function` with `data` is there already.
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// - `function` is an `extern "C"` function whose arguments are `data` and all those of the
    ///   tracepoint (`TP_PROTO()`), in number and in type: with `CONFIG_CFI` a call through another
    ///   type traps.
    /// - It may be called with them in every context that the tracepoint fires in, until the probe
    ///   is dropped.
    /// - The probe is dropped, not forgotten, before the code of `function` is freed.
    pub unsafe fn new(name: &CStr, function: *mut c_void, data: *mut c_void) -> Result<Self> {
        might_sleep();
        let tracepoint = find(name)?;
        // SAFETY: The tracepoint is one of the kernel itself, which is not freed; the caller
        // guarantees that `function` can be called by it.
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
        might_sleep();
        // SAFETY: Registered, by the type invariants. If it has no memory for the new list of
        // probes, it replaces the function by one that does nothing.
        unsafe {
            bindings::tracepoint_probe_unregister(
                self.tracepoint.as_ptr(),
                self.function,
                self.data,
            )
        };
        // Probes run in SRCU or RCU-tasks-trace read-side critical sections of the tracepoint core,
        // which `synchronize_rcu()` does not wait for.
        // SAFETY: `tracepoint_synchronize_unregister()` asks for a context that may sleep only.
        unsafe { helpers::rust_kmemcg_tracepoint_synchronize_unregister() };
    }
}

/// An argument of one of this module's own trace events.
///
/// # Safety
///
/// A pointer that [`as_raw`](Self::as_raw) returns is that of a C string, valid as long as `self`.
pub(crate) unsafe trait Argument {
    /// Its type in C.
    type Raw;

    /// The argument as C gets it.
    fn as_raw(&self) -> Self::Raw;
}

// SAFETY: No pointer.
unsafe impl Argument for u64 {
    type Raw = u64;

    #[inline]
    fn as_raw(&self) -> u64 {
        *self
    }
}

// SAFETY: Of a C string.
unsafe impl Argument for &CStr {
    type Raw = *const c_char;

    #[inline]
    fn as_raw(&self) -> *const c_char {
        self.as_char_ptr()
    }
}

/// Defines a function for each of the trace events in a list. The events are this module's own,
/// from `include/rust_kmemcg_events.h`; in front of them are their arguments, with the lifetime
/// `'a` where one is borrowed.
///
/// A function gets a closure that returns the arguments, and calls it only while the event is
/// enabled, which costs no more than a static branch to find out.
///
/// Not [`declare_trace!`](kernel::tracepoint::declare_trace): the events that it knows are those in
/// [`kernel::bindings`], and it evaluates the arguments in any case.
#[allow(unused_macros)] // The tests of abstractions/ have no events.
macro_rules! trace_events {
    ($arguments:tt $($event:ident;)*) => {
        $(trace_events! { @function $arguments $event })*
    };
    (@function ($($argument:ident: $type:ty),*) $event:ident) => {
        ::kernel::macros::paste! {
            #[doc = concat!("The event `", stringify!($event), "`.")]
            #[inline(always)]
            #[allow(clippy::extra_unused_lifetimes)] // Not each event borrows an argument.
            pub(super) fn $event<'a>(arguments: impl FnOnce() -> ($($type,)*)) {
                use $crate::abstractions::{helpers, tracepoint::Argument};

                #[cfg(CONFIG_TRACEPOINTS)]
                // SAFETY: `DEFINE_EVENT()` defines the tracepoint, for each event of that header.
                let is_enabled = unsafe {
                    ::kernel::jump_label::static_branch_unlikely!(
                        helpers::[<__tracepoint_ $event>],
                        ::kernel::bindings::tracepoint,
                        key
                    )
                };
                #[cfg(not(CONFIG_TRACEPOINTS))]
                let is_enabled = false;
                if is_enabled {
                    let ($($argument,)*) = arguments();
                    // SAFETY: A helper of this prefix is the entry point of an event in
                    // `include/rust_kmemcg_events.h`, which guarantees that it may be called in any
                    // context and requires of its arguments only that a name is a C string. So is
                    // each pointer that `Argument` returns, and it is valid during the call.
                    unsafe {
                        helpers::[<rust_kmemcg_trace_ $event>]($(Argument::as_raw(&$argument)),*)
                    }
                }
            }
        }
    };
}
#[allow(unused_imports)]
pub(crate) use trace_events;
