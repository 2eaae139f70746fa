// SPDX-License-Identifier: GPL-2.0

//! Readers may look at the object at any time, even right after it was allocated: its owner has
//! shared access only.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use rust_kmemcg::abstractions::slab::{Typesafe, TypesafeCache};

pub struct Entry {
    pub key: u64,
    pub value: Atomic<u64>,
}

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self {
            key: 0,
            value: Atomic::new(0),
        }
    }
}

pub fn example(cache: &TypesafeCache<Entry>) -> Result {
    #[allow(unused_mut)]
    let mut entry = cache.alloc(GFP_KERNEL)?;
    #[cfg(not(fixed))]
    {
        entry.key = 1; //~ ERROR E0594 trait `DerefMut` is required to modify through a dereference
    }
    entry.value.store(1, Relaxed);
    Ok(())
}
