// SPDX-License-Identifier: GPL-2.0

//! What is loaded may be freed after the read-side critical section.

use kernel::sync::rcu;
use rust_kmemcg::abstractions::rcu_slot::RcuSlot;

pub fn example(slot: &RcuSlot<u64>) -> Option<u64> {
    let guard = rcu::read_lock();
    let value = slot.load(&guard)?;
    #[cfg(not(fixed))]
    drop(guard); //~ ERROR E0505 cannot move out of `guard` because it is borrowed
    Some(*value)
}
