// SPDX-License-Identifier: GPL-2.0

//! The callback may run on another CPU and in another thread: the type of the entry must be `Send`.

use kernel::prelude::*;
use rust_kmemcg::{abstractions::sync::rcu::call_rcu::*, impl_has_rcu_head};

#[cfg(not(fixed))]
type Value = *mut u64;
#[cfg(fixed)]
type Value = u64;

#[pin_data]
pub struct Entry {
    #[pin]
    rcu: RcuHead<Entry>,
    value: Value,
}

impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

//~v ERROR E0277 `*mut u64` cannot be sent between threads safely
impl RcuCallback for Entry {
    //~^ ERROR E0277 `*mut u64` cannot be shared between threads safely
    type Pointer = Pin<KBox<Self>>; //~ ERROR E0277 required by a bound in `rust_kmemcg::abstractions::sync::rcu::call_rcu::RcuCallback::Pointer`

    fn run(_this: Pin<KBox<Self>>, _cx: InCallback<'_>) {}
}
