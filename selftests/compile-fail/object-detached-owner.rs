// SPDX-License-Identifier: GPL-2.0

//! The owner of a split object cannot be moved out: dropping it would put the reference on the
//! cache while the memory is still in use.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{CountedCache, Object};

pub fn example(cache: &CountedCache<u64>) -> Result {
    let (ptr, owner) = cache.alloc(1, GFP_KERNEL)?.into_raw();
    #[cfg(not(fixed))]
    drop(owner.0); //~ ERROR E0616 field `0` of struct `Detached` is private

    // SAFETY: Both came from the one `into_raw()` above.
    drop(unsafe { Object::from_raw(ptr, owner) });
    Ok(())
}
