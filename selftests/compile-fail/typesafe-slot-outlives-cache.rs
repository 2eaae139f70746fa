// SPDX-License-Identifier: GPL-2.0

//! Readers find memory of a cache through a slot: the slot must not outlive the cache, published or
//! not.

use kernel::prelude::*;
use rust_kmemcg::abstractions::{slab::*, sync::rcu::slot};

pub struct Entry(pub u64);

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self(0)
    }
}

pub fn example() -> Result {
    let cache = TypesafeCache::<Entry>::new(c"example", Options::new())?;
    let slot = TypesafeSlot::new();
    let published = cache
        .alloc(GFP_KERNEL)?
        .publish(&slot)
        .map_err(|_| EEXIST)?;
    drop(published);
    #[cfg(not(fixed))]
    drop(cache); //~ ERROR E0505 cannot move out of `cache` because it is borrowed
    slot::read(|reader| slot.load(reader).is_some());
    Ok(())
}
