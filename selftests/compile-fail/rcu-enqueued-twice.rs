// SPDX-License-Identifier: GPL-2.0

//! A head that is queued twice would corrupt the list of callbacks. Queuing an entry consumes it.

use kernel::prelude::*;
use rust_kmemcg::{abstractions::sync::rcu::call_rcu::*, impl_has_rcu_head};

#[pin_data]
pub struct Entry {
    #[pin]
    rcu: RcuHead<Entry>,
}

impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

impl RcuCallback for Entry {
    type Pointer = Pin<KBox<Self>>;

    fn run(_this: Pin<KBox<Self>>, _cx: InCallback<'_>) {}
}

pub fn example(callbacks: &Callbacks, entry: Pin<KBox<Entry>>) -> Result {
    callbacks.call(entry).map_err(|_| EBUSY)?;
    #[cfg(not(fixed))]
    callbacks.call(entry).map_err(|_| EBUSY)?; //~ ERROR E0382 value used here after move
    Ok(())
}
