// SPDX-License-Identifier: GPL-2.0

//! What is loaded may be freed after the read-side critical section.

use rust_kmemcg::abstractions::sync::rcu::slot::{self, RcuSlot};

pub fn example(slot: &RcuSlot<u64>) -> Option<u64> {
    #[cfg(not(fixed))]
    let value = *slot::read(|reader| slot.load(reader))?; //~ ERROR - lifetime may not live long enough
    #[cfg(fixed)]
    let value = slot::read(|reader| slot.load(reader).copied())?;
    Some(value)
}
