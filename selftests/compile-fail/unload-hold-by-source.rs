// SPDX-License-Identifier: GPL-2.0

//! The hold of a source goes to the count that is started with it only: no other code can take it
//! and drop it at an unknown place.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::abstractions::{sync::percpu_ref::*, unload, workqueue::OwnedQueue};

pub fn example<T: Release>(count: &Arc<T>, queue: &OwnedQueue) -> Result {
    #[cfg(not(fixed))]
    //~? ERROR E0603 `Abstraction` is private
    //~v ERROR E0624 associated function `new` is private
    let _hold = unload::Source::take_hold(queue, unload::Abstraction::new())?;
    PercpuRef::start(count, queue)
}
