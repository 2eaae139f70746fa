// SPDX-License-Identifier: GPL-2.0

//! Memory without an owner could outlive its cache: a raw cache hands out none.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, RawCache};

pub fn example(_raw: &RawCache, _cache: &KmemCache<u64>) -> Result {
    #[cfg(not(fixed))]
    let _object = _raw.alloc(GFP_KERNEL)?; //~ ERROR E0624 method `alloc` is private
    #[cfg(fixed)]
    let _object = _cache.alloc(0, GFP_KERNEL)?;
    Ok(())
}
