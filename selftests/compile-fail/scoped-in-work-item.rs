// SPDX-License-Identifier: GPL-2.0

//! A work item runs later: it must not own an object that borrows a cache on this stack.

use kernel::prelude::*;
use rust_kmemcg::abstractions::{
    slab::{
        KmemCache,
        Options, //
    },
    workqueue::OwnedQueue, //
};

pub fn example(queue: &OwnedQueue) -> Result {
    let cache = KmemCache::<u64>::new(c"example", Options::new())?;
    let object = cache.alloc(1, GFP_KERNEL)?; //~ ERROR E0597 argument requires that `cache` is borrowed for `'static`
    #[cfg(not(fixed))]
    queue.try_spawn(GFP_KERNEL, move || drop(object))?;
    #[cfg(fixed)]
    {
        let value = *object;
        queue.try_spawn(GFP_KERNEL, move || drop(value))?;
    }
    Ok(())
}
