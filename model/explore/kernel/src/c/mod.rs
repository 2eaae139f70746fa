// SPDX-License-Identifier: GPL-2.0

//! The C functions.

mod percpu_ref;
pub(crate) mod rcu;
mod slab;
mod workqueue;

pub use slab::{caches, shrunk};

/// Begins an execution.
pub(crate) fn begin() {
    rcu::begin();
    slab::begin();
    percpu_ref::begin();
    workqueue::begin();
}

use core::ffi::{c_int, c_uint, c_ulong, c_void};

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    clippy::missing_safety_doc
)]
pub mod bindings {
    use super::{c_int, c_uint, c_void};

    pub use super::{percpu_ref::*, rcu::*, slab::*, workqueue::*};

    pub type gfp_t = c_uint;
    pub const ___GFP_RETRY_MAYFAIL_BIT: u32 = 20;
    pub const ___GFP_THISNODE_BIT: u32 = 21;

    pub struct lock_class_key;
    pub struct module;
    pub struct task_struct;

    /// Numbers, the smallest first.
    pub struct ida(core::cell::RefCell<std::collections::BTreeSet<c_uint>>);

    pub unsafe fn ida_alloc_range(this: *mut ida, min: c_uint, max: c_uint, _: gfp_t) -> c_int {
        crate::check::point();
        if crate::check::fails() {
            return crate::error::code::ENOMEM.to_errno();
        }
        // SAFETY: The caller guarantees it.
        let mut used = unsafe { &*this }.0.borrow_mut();
        match (min..=max).find(|id| used.insert(*id)) {
            Some(id) => id as c_int,
            None => crate::error::code::ENOSPC.to_errno(),
        }
    }

    pub unsafe fn ida_free(this: *mut ida, id: c_uint) {
        // SAFETY: The caller guarantees it.
        assert!(
            unsafe { &*this }.0.borrow_mut().remove(&id),
            "ida_free: not allocated"
        );
    }

    pub unsafe fn ida_destroy(this: *mut ida) {
        // SAFETY: The caller guarantees it.
        unsafe { core::ptr::drop_in_place(this) };
    }

    pub(super) unsafe fn ida_init(this: *mut ida) {
        // SAFETY: The caller guarantees it.
        unsafe { this.write(ida(Default::default())) };
    }

    pub struct siphash_key_t {
        pub key: [u64; 2],
    }

    pub unsafe fn get_random_u64() -> u64 {
        0
    }

    pub unsafe fn __siphash_unaligned(
        data: *const c_void,
        len: usize,
        _: *const siphash_key_t,
    ) -> u64 {
        // SAFETY: The caller guarantees it.
        let bytes = unsafe { core::slice::from_raw_parts(data.cast::<u8>(), len) };
        bytes
            .iter()
            .fold(5381, |hash, byte| hash * 33 ^ u64::from(*byte))
    }
}

/// The functions of `abstractions/helpers.c`.
#[allow(clippy::missing_safety_doc)]
pub mod helpers {
    use super::{bindings, c_int, c_ulong, c_void};
    use crate::context;

    pub use super::{
        percpu_ref::helpers::*, rcu::helpers::*, slab::helpers::*, workqueue::helpers::*,
    };

    pub unsafe fn rust_kmemcg_context() -> c_int {
        context::level() as c_int
    }

    pub unsafe fn rust_kmemcg_in_interrupt() -> bool {
        context::level() > 0
    }

    pub unsafe fn rust_kmemcg_irqs_disabled() -> bool {
        !context::interrupts_enabled()
    }

    pub unsafe fn rust_kmemcg_preempt_disable() {
        context::preempt_disable()
    }

    pub unsafe fn rust_kmemcg_preempt_enable() {
        context::preempt_enable()
    }

    pub unsafe fn rust_kmemcg_jiffies() -> c_ulong {
        0
    }

    pub unsafe fn rust_kmemcg_jiffies_to_usecs(_: c_ulong) -> u64 {
        0
    }

    pub unsafe fn rust_kmemcg_in_module(_: *const c_void, _: *const bindings::module) -> bool {
        true
    }

    pub unsafe fn rust_kmemcg_ida_init(ida: *mut bindings::ida) {
        // SAFETY: The caller guarantees it.
        unsafe { bindings::ida_init(ida) }
    }
}
