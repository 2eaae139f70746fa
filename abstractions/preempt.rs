// SPDX-License-Identifier: GPL-2.0

//! Code that is not preempted, which makes it an RCU reader.
//!
//! RCU grace periods wait for regions with preemption disabled as they wait for `rcu_read_lock()`.
//! Where readers can be preempted (`CONFIG_PREEMPT_RCU`) that is two calls, and this two
//! instructions; where they cannot, both are nothing. So it is for the few instructions of a
//! lookup.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{preempt, rcu_slot::RcuSlot};
//!
//! fn answer(slot: &RcuSlot<u64>) -> Option<u64> {
//!     let guard = preempt::disable();
//!     slot.load(&guard).copied()
//! }
//! # assert_eq!(answer(&RcuSlot::new()), None);
//! ```
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use crate::abstractions::{helpers, rcu_slot::Reader};
use kernel::types::NotThreadSafe;

/// Preemption is disabled until this is dropped. The code must not sleep.
///
/// # Invariants
///
/// Stands for one `preempt_disable()` of this task.
#[must_use = "dropping it enables preemption"]
pub struct Guard(NotThreadSafe);

/// Disables preemption. Context: any.
#[inline]
pub fn disable() -> Guard {
    // SAFETY: May be called anywhere; the guard, which does not leave this task, undoes it.
    unsafe { helpers::rust_kmemcg_preempt_disable() };
    // INVARIANT: That was it.
    Guard(NotThreadSafe)
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Undoes the one that the guard stands for.
        unsafe { helpers::rust_kmemcg_preempt_enable() };
    }
}

// SAFETY: A grace period waits for regions with preemption disabled, on every kernel: its flavours
// are one.
unsafe impl Reader for Guard {}
