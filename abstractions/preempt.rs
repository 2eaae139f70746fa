// SPDX-License-Identifier: GPL-2.0

//! Code that is not preempted, which makes it an RCU reader.
//!
//! RCU grace periods wait for regions with preemption disabled as they wait for `rcu_read_lock()`.
//! Where readers can be preempted (`CONFIG_PREEMPT_RCU`) that is two calls, and this two
//! instructions; where they cannot, both are nothing. So it is for the few instructions of a
//! lookup.
//!
//! The region is a closure. A guard for the caller to drop could be forgotten instead: preemption
//! would stay disabled, and with enough forgotten guards the count of them would overflow into that
//! of the softirqs; and a reference on a forgotten guard would pass for a read-side critical
//! section that never ends.
//!
//! The closure must not sleep, and no type says so. If it sleeps, the scheduler reports "scheduling
//! while atomic" (on every kernel that counts; on the others `CONFIG_DEBUG_ATOMIC_SLEEP` does), and
//! the region has ended for RCU: what was loaded before may be freed.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{preempt, sync::rcu::slot::RcuSlot};
//!
//! fn answer(slot: &RcuSlot<u64>) -> Option<u64> {
//!     preempt::with(|guard| slot.load(guard).copied())
//! }
//! # assert_eq!(answer(&RcuSlot::new()), None);
//! ```
//!
//! C header: [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use crate::abstractions::{helpers, sync::rcu::slot::Reader};
use kernel::types::NotThreadSafe;

/// Evidence that preemption is disabled.
///
/// # Invariants
///
/// Stands for one `preempt_disable()` of this task.
#[must_use = "dropping it enables preemption"]
pub struct Guard(NotThreadSafe);

/// Calls `f` with preemption disabled. Context: any; `f` must not sleep.
///
/// Equivalent to `guard(preempt)()` in C.
#[inline(always)]
pub fn with<R>(f: impl FnOnce(&Guard) -> R) -> R {
    f(&disable())
}

/// As [`with`], for a search. Context: any; `f` must not sleep.
///
/// Preemption is enabled on each of the two ways out, so that the caller's test of the result costs
/// nothing: `f` has tested it.
#[inline(always)]
pub fn find<R>(f: impl FnOnce(&Guard) -> Option<R>) -> Option<R> {
    let guard = disable();
    match f(&guard) {
        Some(found) => {
            drop(guard);
            Some(found)
        }
        None => {
            // No instruction, but without it the compiler makes one of the two ways, and tests the
            // result behind it.
            core::hint::black_box(());
            drop(guard);
            None
        }
    }
}

/// Disables preemption, for callers that do not give the guard away.
#[inline(always)]
pub(super) fn disable() -> Guard {
    // SAFETY: `preempt_disable()` may be called in any context. It is undone in this task, by the
    // drop of the guard, which is not `Send`.
    unsafe { helpers::rust_kmemcg_preempt_disable() };
    // INVARIANT: That was the call.
    Guard(NotThreadSafe)
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: `preempt_enable()` pairs with the `preempt_disable()` of the type invariants.
        unsafe { helpers::rust_kmemcg_preempt_enable() };
    }
}

// SAFETY: `synchronize_rcu()` and `call_rcu()` wait for regions with preemption disabled, on every
// kernel (the flavours of RCU were consolidated). Code outside of `abstractions/` has a guard by
// reference only, for as long as a closure runs.
unsafe impl Reader for Guard {}
