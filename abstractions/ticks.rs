// SPDX-License-Identifier: GPL-2.0

//! Time in jiffies: one load, where an exact clock takes a hundred instructions.
//!
//! # Examples
//!
//! ```
//! use rust_kmemcg::abstractions::ticks::Ticks;
//!
//! fn example() -> u64 {
//!     let begin = Ticks::now();
//!     Ticks::now().since(begin).as_micros()
//! }
//! ```
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use super::helpers;
use kernel::ffi::c_ulong;

/// A point in time, or a length of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(c_ulong);

impl Ticks {
    /// The current time. Context: any.
    #[inline]
    pub fn now() -> Self {
        // SAFETY: Reads a variable of the kernel, and requires nothing.
        Self(unsafe { helpers::rust_kmemcg_jiffies() })
    }

    /// The time from `earlier` to this.
    #[inline]
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.wrapping_sub(earlier.0))
    }

    /// A length of time as a number, for [`from_raw`](Self::from_raw).
    pub fn as_raw(self) -> u64 {
        self.0 as u64
    }

    /// A length of time from a number.
    pub fn from_raw(ticks: u64) -> Self {
        Self(ticks as c_ulong)
    }

    /// A length of time in microseconds.
    pub fn as_micros(self) -> u64 {
        // SAFETY: Converts a number, and requires nothing.
        unsafe { helpers::rust_kmemcg_jiffies_to_usecs(self.0) }
    }
}
