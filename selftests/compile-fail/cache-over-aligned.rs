// SPDX-License-Identifier: GPL-2.0

//! No slab is aligned to more than a page: a reference to such an object would be misaligned.
//@ codegen

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{KmemCache, Options};

#[cfg_attr(not(fixed), repr(align(8192)))] //~? ERROR E0080 aligned to more than a page
#[cfg_attr(fixed, repr(align(4096)))]
pub struct Value(pub u64);

pub fn example() -> Result {
    KmemCache::<Value>::new(c"example", Options::new())?;
    Ok(())
}
