// SPDX-License-Identifier: GPL-2.0

//! A cache must not be destroyed while one of its objects is allocated.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, Options};

pub fn example() -> Result {
    let cache = KmemCache::<u64>::new(c"example", Options::new())?;
    let object = cache.alloc(1, GFP_KERNEL)?;
    #[cfg(not(fixed))]
    drop(cache); //~ ERROR E0505 cannot move out of `cache` because it is borrowed
    drop(object);
    #[cfg(fixed)]
    drop(cache);
    Ok(())
}
