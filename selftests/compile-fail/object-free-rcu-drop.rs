// SPDX-License-Identifier: GPL-2.0

//! `free_rcu()` frees the memory after a grace period and runs no destructor: what a value owns
//! would be leaked.
//@ codegen

use kernel::prelude::*;
use rust_kmemcg::{abstractions::slab::*, impl_has_kfree_rcu_head};

pub struct Entry {
    pub rcu: KfreeRcuHead,
    #[cfg(not(fixed))]
    pub owned: KBox<u64>, //~? ERROR E0080 nobody would drop it
}

impl_has_kfree_rcu_head! { impl HasKfreeRcuHead for Entry { self.rcu } }

pub fn example(object: ScopedObject<'_, Entry>) {
    object.free_rcu();
}
