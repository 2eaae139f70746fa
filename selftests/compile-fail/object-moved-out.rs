// SPDX-License-Identifier: GPL-2.0

//! An object is pinned: a value that may not move can be neither replaced nor taken out.

use core::marker::PhantomPinned;
use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::KmemCache;

#[cfg(not(fixed))]
type Value = PhantomPinned;
#[cfg(fixed)]
type Value = ();

pub fn example(cache: &KmemCache<Value>, other: Value) -> Result {
    let mut object = cache.alloc(Value::default(), GFP_KERNEL)?;
    *object = other; //~ ERROR E0594 trait `DerefMut` is required to modify through a dereference
    Ok(())
}
