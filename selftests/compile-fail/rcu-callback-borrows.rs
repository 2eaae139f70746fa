// SPDX-License-Identifier: GPL-2.0

//! A callback runs later: it must not borrow from the stack of the function that queues it.

use kernel::prelude::*;
use rust_kmemcg::{abstractions::sync::rcu::call_rcu::*, impl_has_rcu_head};

#[cfg(not(fixed))]
type Borrow<'a> = &'a u64;
#[cfg(fixed)]
type Borrow<'a> = core::marker::PhantomData<fn(&'a u64)>;

#[pin_data]
pub struct Entry<'a> {
    #[pin]
    rcu: RcuHead<Entry<'a>>,
    borrow: Borrow<'a>,
}

impl_has_rcu_head! { impl{'a} HasRcuHead for Entry<'a> { self.rcu } }

#[cfg(not(fixed))]
//~v ERROR E0478 lifetime bound not satisfied
impl<'a> RcuCallback for Entry<'a> {
    //~^ ERROR E0495 the lifetime must be valid for the static lifetime
    type Pointer = Pin<KBox<Self>>; //~ ERROR E0477 does not fulfill the required lifetime

    fn run(_this: Pin<KBox<Self>>, _cx: InCallback<'_>) {}
}

#[cfg(fixed)]
impl RcuCallback for Entry<'static> {
    type Pointer = Pin<KBox<Self>>;

    fn run(_this: Pin<KBox<Self>>, _cx: InCallback<'_>) {}
}
