// SPDX-License-Identifier: GPL-2.0

//! The owner of an object cannot be cloned to allocate another one from a cache that was dropped:
//! the cache would never be destroyed.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{CountedCache, Hold, Memory, Object};

pub fn example(cache: CountedCache<u64>) -> Result {
    let first = cache.alloc(1, GFP_KERNEL)?;
    #[cfg(not(fixed))]
    drop(cache);
    #[cfg(not(fixed))]
    let _second = Object::<Memory, Hold<u64>>::memory(first.owner().clone(), GFP_KERNEL)?; //~ ERROR E0308 expected `Hold<u64>`, found `&Hold<u64>`
    #[cfg(fixed)]
    let _second = cache.alloc(2, GFP_KERNEL)?;
    drop(first);
    Ok(())
}
