// SPDX-License-Identifier: GPL-2.0

//! A retired value can be dropped once it was converted to an `Arc`: no borrow from before may
//! exist.

use kernel::prelude::*;
use rust_kmemcg::abstractions::sync::rcu::slot::RcuSlot;

pub fn example(slot: &RcuSlot<u64>) -> Option<u64> {
    let retired = slot.take()?;
    let value = &*retired;
    #[cfg(fixed)]
    let value = &value.clone();
    drop(retired.into_arc()); //~ ERROR E0505 cannot move out of `retired` because it is borrowed
    Some(*value)
}
