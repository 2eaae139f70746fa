// SPDX-License-Identifier: GPL-2.0

//! Memory that keeps its type is reused without being initialised anew: nothing would drop what a
//! value owns.
//@ codegen

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{Options, Typesafe, TypesafeCache};

#[cfg(not(fixed))]
pub struct Entry(Option<KBox<u64>>); //~? ERROR E0080 nobody would drop it
#[cfg(fixed)]
pub struct Entry(Option<u64>);

impl Typesafe for Entry {
    fn new() -> impl PinInit<Self> {
        Self(None)
    }
}

pub fn example() -> Result {
    TypesafeCache::<Entry>::new(c"example", Options::new())?;
    Ok(())
}
