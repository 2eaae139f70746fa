// SPDX-License-Identifier: GPL-2.0

//! After the call the entry belongs to the callback, which may have freed it.

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
    #[cfg(fixed)]
    let _ = entry.rcu_head();
    callbacks.call(entry).map_err(|_| EBUSY)?;
    #[cfg(not(fixed))]
    let _ = entry.rcu_head(); //~ ERROR E0382 borrow of moved value: `entry`
    Ok(())
}
