// SPDX-License-Identifier: GPL-2.0

//! A guard that is forgotten leaves preemption disabled. The kernel counts the nesting in eight
//! bits, and the bits of the softirqs follow.

use rust_kmemcg::abstractions::preempt;

pub fn example() {
    for _ in 0..256 {
        #[cfg(not(fixed))]
        core::mem::forget(preempt::disable()); //~ ERROR E0603 function `disable` is private
        #[cfg(fixed)]
        preempt::with(|guard| core::mem::forget(guard));
    }
}
