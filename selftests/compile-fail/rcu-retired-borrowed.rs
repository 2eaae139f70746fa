// SPDX-License-Identifier: GPL-2.0

//! What a slot gave up can be dropped once it was turned into an `Arc`: nobody may still borrow it
//! from before.

use kernel::prelude::*;
use rust_kmemcg::abstractions::rcu_slot::RcuSlot;

pub fn example(slot: &RcuSlot<u64>) -> Option<u64> {
    let retired = slot.take()?;
    let value = &*retired;
    #[cfg(fixed)]
    let value = &value.clone();
    drop(retired.into_arc()); //~ ERROR E0505 cannot move out of `retired` because it is borrowed
    Some(*value)
}
