// SPDX-License-Identifier: GPL-2.0

//! A type may deref to another cache each time: the cache of the objects is a field.

use kernel::prelude::*;
use rust_kmemcg::{abstractions::slab::RawCache, impl_has_cache};

pub struct Store {
    #[cfg(not(fixed))]
    cache: KBox<RawCache>,
    #[cfg(fixed)]
    cache: RawCache,
}

impl_has_cache! { impl HasCache for Store { self.cache } } //~ ERROR E0308 expected `*const RawCache`, found `*const Box<RawCache, Kmalloc>`
