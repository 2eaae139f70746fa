// SPDX-License-Identifier: GPL-2.0

//! The memory of a box that is freed after a grace period is not dropped: what it owns would leak.
//@ codegen

use kernel::{alloc::Box, prelude::*};
use rust_kmemcg::{abstractions::slab::*, impl_has_kfree_rcu_head, kmem_cache};

pub struct Entry {
    #[cfg(not(fixed))]
    pub owned: KBox<u64>, //~? ERROR E0080 nobody would drop it
    pub rcu: KfreeRcuHead,
}

impl_has_kfree_rcu_head! { impl HasKfreeRcuHead for Entry { self.rcu } }

kmem_cache! { pub struct Entries { type: Entry, name: c"example_entries", options: Options::new() } }

pub fn example(entry: Box<Entry, Entries>) {
    Entries::free_rcu(entry);
}
