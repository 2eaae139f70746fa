// SPDX-License-Identifier: GPL-2.0

//! An object that no slab can hold is refused where it is compiled, not where it is run.
//@ codegen

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{CountedCache, Options, Reaper, MAX_SIZE};

#[cfg(not(fixed))]
const SIZE: usize = MAX_SIZE + 1; //~? ERROR E0080 too large for a slab
#[cfg(fixed)]
const SIZE: usize = MAX_SIZE;

pub fn example(reaper: &Reaper) -> Result {
    CountedCache::<[u8; SIZE]>::new(c"example", Options::new(), reaper)?;
    Ok(())
}
