// SPDX-License-Identifier: GPL-2.0

//! An object of a counted cache has an unbounded lifetime: it cannot hold a borrow.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{CountedCache, Options, Reaper};

pub fn example(reaper: &Reaper) -> Result {
    #[cfg(not(fixed))]
    let local = 42;
    #[cfg(fixed)]
    static LOCAL: i32 = 42;
    #[cfg(fixed)]
    let local = LOCAL;
    let cache = CountedCache::new(c"example", Options::new(), reaper)?;
    #[cfg(not(fixed))]
    let object = cache.alloc(&local, GFP_KERNEL)?; //~ ERROR E0597 requires that `local` is borrowed for `'static`
    #[cfg(fixed)]
    let object = cache.alloc(local, GFP_KERNEL)?;
    drop(object);
    Ok(())
}
