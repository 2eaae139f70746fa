// SPDX-License-Identifier: GPL-2.0

//! Without the read-side critical section the memory could go back to the page allocator, and be
//! anything: what was found is not to be used after it.

use kernel::{prelude::*, sync::rcu};
use rust_kmemcg::abstractions::kmem_cache::*;

pub struct Entry(pub u64);

impl Typesafe for Entry {
    const NEW: Self = Self(0);
}

pub fn example(slot: &TypesafeSlot<'_, Entry>) -> Option<u64> {
    let guard = rcu::read_lock();
    let found = slot.load(&guard)?;
    #[cfg(not(fixed))]
    drop(guard); //~ ERROR E0505 cannot move out of `guard` because it is borrowed
    Some(found.0)
}
