// SPDX-License-Identifier: GPL-2.0

//! The last reference on a counted cache may be put by any thread, and so may its objects be
//! dropped: their type must be `Send`.

use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::{CountedCache, Options, Reaper};

#[cfg(not(fixed))]
type Value = *mut u64;
#[cfg(fixed)]
type Value = u64;

pub fn example(reaper: &Reaper) -> Result {
    //~v ERROR E0599 `*mut u64: Send`
    CountedCache::<Value>::new(c"example", Options::new(), reaper)?; //~ ERROR E0277 `*mut u64` cannot be sent between threads safely
    Ok(())
}
