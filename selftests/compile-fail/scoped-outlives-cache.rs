// SPDX-License-Identifier: GPL-2.0

//! An object must not outlive the cache that it borrows: its memory would be freed to a cache that
//! was destroyed.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, Options};

pub fn example() -> Result {
    let _outer;
    {
        let cache = KmemCache::<u64>::new(c"example", Options::new())?;
        let object = cache.alloc(1, GFP_KERNEL)?; //~ ERROR E0597 `cache` does not live long enough
        #[cfg(not(fixed))]
        {
            _outer = object;
        }
        #[cfg(fixed)]
        {
            _outer = *object;
        }
    }
    Ok(())
}
