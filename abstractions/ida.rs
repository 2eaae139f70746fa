// SPDX-License-Identifier: GPL-2.0

//! Allocation of small numbers.
//!
//! The in-tree `IdPool` is one bitmap: it copies all of it to grow, with the lock of its user held,
//! and finds a free number by a search from the start. An IDA is a tree of small bitmaps, with a
//! lock of its own: it takes the time of the height of the tree, and a bitmap without a number in
//! use is freed.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::ida::Ida;
//!
//! fn example() -> Result {
//!     let ida = KBox::pin_init(Ida::new(), GFP_KERNEL)?;
//!     assert_eq!(ida.alloc_max(1, GFP_KERNEL), Ok(0));
//!     assert_eq!(ida.alloc_max(1, GFP_KERNEL), Ok(1));
//!     assert_eq!(ida.alloc_max(1, GFP_KERNEL), Err(ENOSPC));
//!     ida.free(0);
//!     assert_eq!(ida.alloc_max(1, GFP_KERNEL), Ok(0));
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```
//!
//! C header: [`include/linux/idr.h`](srctree/include/linux/idr.h)

use super::{gfp, helpers};
use kernel::{alloc::Flags, bindings, error::to_result, prelude::*, types::Opaque};

/// A set of numbers in use.
///
/// # Invariants
///
/// `inner` is initialised, and used with its own lock held only.
#[pin_data(PinnedDrop)]
pub struct Ida {
    #[pin]
    inner: Opaque<bindings::ida>,
}

// SAFETY: An IDA may be used and destroyed on any CPU.
unsafe impl Send for Ida {}
// SAFETY: It has a lock of its own.
unsafe impl Sync for Ida {}

impl Ida {
    /// Makes an empty set.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writing an `ida`, which will not move.
                unsafe { helpers::rust_kmemcg_ida_init(slot) }
            }),
        })
    }

    /// Takes the smallest number that is not in use, up to `max`, which is at most `i32::MAX`.
    ///
    /// Wraps `ida_alloc_max()`. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: all are in use. `ENOMEM`.
    pub fn alloc_max(&self, max: u32, flags: Flags) -> Result<u32> {
        // SAFETY: Initialised, by the type invariants.
        let id = unsafe { bindings::ida_alloc_range(self.inner.get(), 0, max, gfp::raw(flags)) };
        to_result(id)?;
        Ok(id as u32)
    }

    /// Gives a number back. C warns if it is not in use.
    ///
    /// Wraps `ida_free()`. Context: any but NMI.
    pub fn free(&self, id: u32) {
        // SAFETY: Initialised, by the type invariants.
        unsafe { bindings::ida_free(self.inner.get(), id) };
    }
}

#[pinned_drop]
impl PinnedDrop for Ida {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised, by the type invariants, and not used again.
        unsafe { bindings::ida_destroy(self.inner.get()) };
    }
}
