// SPDX-License-Identifier: GPL-2.0

//! Allocation flags and NUMA nodes: conversions from and to C, and flags that the `kernel` crate
//! lacks.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::gfp::GFP_KERNEL_MAYFAIL;
//!
//! fn example() -> Result<KBox<u64>> {
//!     Ok(KBox::new(42, GFP_KERNEL_MAYFAIL)?)
//! }
//! ```
//!
//! In the tree `raw()` is `Flags::as_raw()`, and `raw_node()` is a field; both are private to the
//! `kernel` crate.
//!
//! C header: [`include/linux/gfp_types.h`](srctree/include/linux/gfp_types.h)

use kernel::{
    alloc::{
        flags::GFP_KERNEL,
        Flags,
        NumaNode, //
    },
    bindings::{
        self,
        gfp_t, //
    },
    ffi::c_int, //
};

/// `GFP_KERNEL | __GFP_RETRY_MAYFAIL`: tries hard, but fails before the OOM killer is called, for
/// callers that can do without the memory.
pub const GFP_KERNEL_MAYFAIL: Flags =
    from_raw(raw(GFP_KERNEL) | 1 << bindings::___GFP_RETRY_MAYFAIL_BIT);

/// Allocates from the NUMA node that is asked for, or fails.
///
/// This is normally or'd with other flags.
pub const __GFP_THISNODE: Flags = from_raw(1 << bindings::___GFP_THISNODE_BIT);

/// The `gfp_t` of `flags`.
#[inline]
pub(super) const fn raw(flags: Flags) -> gfp_t {
    // SAFETY: `Flags` is a struct of one `u32`, as `gfp_t` is; the compiler checks the size.
    unsafe { core::mem::transmute::<Flags, gfp_t>(flags) }
}

/// The number of a node, or `NUMA_NO_NODE`.
#[inline]
pub(super) const fn raw_node(node: NumaNode) -> c_int {
    // SAFETY: `NumaNode` is a struct of one `i32`, as `c_int` is; the compiler checks the size.
    unsafe { core::mem::transmute::<NumaNode, c_int>(node) }
}

/// The [`Flags`] of a `gfp_t`.
#[inline]
pub const fn from_raw(flags: gfp_t) -> Flags {
    // SAFETY: `Flags` is a struct of one `u32`, of which every value is valid; `gfp_t` is a `u32`.
    unsafe { core::mem::transmute::<gfp_t, Flags>(flags) }
}
