// SPDX-License-Identifier: GPL-2.0

//! The kernel finds the beginning of a large object by aligning the address of the head down to a
//! page, so the head must be in the first page.
//@ codegen

use rust_kmemcg::{abstractions::slab::*, impl_has_kfree_rcu_head};

#[repr(C)]
pub struct Entry<const N: usize> {
    pub before: [u8; N],
    pub rcu: KfreeRcuHead,
}

impl_has_kfree_rcu_head! { impl{const N: usize} HasKfreeRcuHead for Entry<N> { self.rcu } }

#[cfg(not(fixed))]
type Far = Entry<5000>; //~? ERROR E0080 too far into the object
#[cfg(fixed)]
type Far = Entry<4000>;

pub fn example(object: ScopedObject<'_, Far>) {
    object.free_rcu();
}
