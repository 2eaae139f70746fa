// SPDX-License-Identifier: GPL-2.0

//! An `RcuArc` has the head of its value alone, so that its drop cannot fail: there are not two of a
//! value. Other references are plain ones.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{abstractions::sync::rcu::call_rcu::*, impl_has_rcu_head};

#[pin_data]
pub struct Entry {
    #[pin]
    rcu: RcuHead<Entry>,
}

impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

pub fn example(entry: RcuArc<Entry>) -> Arc<Entry> {
    #[cfg(not(fixed))]
    drop(entry.clone()); //~ ERROR E0599 no method named `clone` found
    entry.as_arc().clone()
}
