// SPDX-License-Identifier: GPL-2.0

//! The evidence that the code runs in a callback does not outlive the callback.

use kernel::prelude::*;
use rust_kmemcg::{abstractions::sync::rcu::call_rcu::*, impl_has_rcu_head};

#[pin_data]
pub struct Entry {
    #[pin]
    rcu: RcuHead<Entry>,
}

impl_has_rcu_head! { impl HasRcuHead for Entry { self.rcu } }

#[cfg(not(fixed))]
fn keep(_cx: InCallback<'static>) {}
#[cfg(fixed)]
fn keep(_cx: InCallback<'_>) {}

impl RcuCallback for Entry {
    type Pointer = Pin<KBox<Self>>;

    fn run(_this: Pin<KBox<Self>>, cx: InCallback<'_>) {
        keep(cx); //~ ERROR E0521 borrowed data escapes outside of associated function
    }
}
