// SPDX-License-Identifier: GPL-2.0

//! Dropping a published object empties its slot: the slot must still exist.

use kernel::prelude::*;
use rust_kmemcg::abstractions::{slab::*, sync::rcu::slot};

pub struct Entry(pub u64);

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self(0)
    }
}

pub fn example(cache: &TypesafeCache<Entry>) -> Result {
    let slot = TypesafeSlot::new();
    let published = cache
        .alloc(GFP_KERNEL)?
        .publish(&slot)
        .map_err(|_| EEXIST)?;
    slot::read(|reader| slot.load(reader).is_some());
    #[cfg(not(fixed))]
    drop(slot); //~ ERROR E0505 cannot move out of `slot` because it is borrowed
    drop(published);
    Ok(())
}
