// SPDX-License-Identifier: GPL-2.0

//! A box of one static cache is not a box of another one: its memory would be freed to a cache that it
//! did not come from.

use kernel::{alloc::Box, prelude::*};
use rust_kmemcg::{abstractions::slab::Options, kmem_cache};

kmem_cache! { struct One { type: u64, name: c"example_one", options: Options::new() } }
kmem_cache! { struct Two { type: u64, name: c"example_two", options: Options::new() } }

pub fn example() -> Result {
    #[cfg(not(fixed))]
    let value: Box<u64, Two> = Box::<u64, One>::new(1, GFP_KERNEL)?; //~ ERROR E0308 expected `Box<u64, Two>`, found `Box<u64, One>`
    #[cfg(fixed)]
    let value: Box<u64, Two> = Box::<u64, Two>::new(1, GFP_KERNEL)?;
    drop(value);
    drop(Box::<u64, One>::new(1, GFP_KERNEL)?);
    Ok(())
}
