// SPDX-License-Identifier: GPL-2.0

//! After the read-side critical section the memory may be returned to the page allocator and reused
//! as anything: what was found must not be used then.

use kernel::prelude::*;
use rust_kmemcg::abstractions::{slab::*, sync::rcu::slot};

pub struct Entry(pub u64);

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self(0)
    }
}

pub fn example(slot: &TypesafeSlot<'_, Entry>) -> Option<u64> {
    #[cfg(not(fixed))]
    let found = slot::read(|reader| slot.load(reader))?.0; //~ ERROR - lifetime may not live long enough
    #[cfg(fixed)]
    let found = slot::read(|reader| slot.load(reader).map(|found| found.0))?;
    Some(found)
}
