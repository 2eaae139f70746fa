// SPDX-License-Identifier: GPL-2.0

//! What `into_raw()` has split is put together again by unsafe code, which guarantees that both
//! halves belong to each other: two objects of the same memory would free it twice.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, Object};

pub fn example(cache: &KmemCache<u64>) -> Result {
    let (ptr, owner) = cache.alloc(1, GFP_KERNEL)?.into_raw();
    #[cfg(not(fixed))]
    let object = Object::from_raw(ptr, owner); //~ ERROR E0133 call to unsafe function
    #[cfg(fixed)]
    // SAFETY: Both came from the one `into_raw()` above.
    let object = unsafe { Object::from_raw(ptr, owner) };
    drop(object);
    Ok(())
}
