// SPDX-License-Identifier: GPL-2.0

//! No slab is aligned to more than a page: an allocation of such a type from a static cache would be
//! misaligned.
//@ codegen

use kernel::{alloc::Box, prelude::*};
use rust_kmemcg::{abstractions::slab::Options, kmem_cache};

#[cfg_attr(not(fixed), repr(align(8192)))] //~? ERROR E0080 aligned to more than a page
#[cfg_attr(fixed, repr(align(4096)))]
pub struct Value(pub u64);

kmem_cache! { struct Values { type: Value, name: c"example_values", options: Options::new() } }

pub fn example() -> Result {
    drop(Box::<Value, Values>::new(Value(1), GFP_KERNEL)?);
    Ok(())
}
