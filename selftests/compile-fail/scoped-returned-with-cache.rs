// SPDX-License-Identifier: GPL-2.0

//! A cache and its object cannot be returned together: the object borrows the cache at its old
//! address.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, Options, ScopedObject};

pub struct Both<'a> {
    pub object: Option<ScopedObject<'a, u64>>,
    pub cache: KmemCache<u64>,
}

pub fn example<'a>() -> Result<Both<'a>> {
    let cache = KmemCache::<u64>::new(c"example", Options::new())?;
    #[cfg(not(fixed))]
    let object = Some(cache.alloc(1, GFP_KERNEL)?);
    #[cfg(fixed)]
    let object = None;
    //~v ERROR E0505 move out of `cache` occurs here
    Ok(Both { object, cache }) //~ ERROR E0515 returns a value referencing data owned by the current function
}
