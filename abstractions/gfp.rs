// SPDX-License-Identifier: GPL-2.0

//! Allocation flags, as C takes them.
//!
//! In the tree this is `Flags::as_raw()`, which is private to the `kernel` crate.

use kernel::{alloc::Flags, bindings::gfp_t};

/// The `gfp_t` of `flags`.
pub(super) fn raw(flags: Flags) -> gfp_t {
    // SAFETY: `Flags` is a struct of one `u32`, which is `gfp_t`; the compiler checks the size.
    unsafe { core::mem::transmute::<Flags, gfp_t>(flags) }
}
