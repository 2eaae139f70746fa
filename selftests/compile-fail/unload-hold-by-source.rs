// SPDX-License-Identifier: GPL-2.0

//! What a count can be started with gives its hold to the count only: nobody else could say where it
//! is dropped.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::abstractions::{percpu_ref::*, unload, workqueue::OwnedQueue};

pub fn example<T: Release>(count: &Arc<T>, queue: &OwnedQueue) -> Result {
    #[cfg(not(fixed))]
    //~? ERROR E0603 `Abstraction` is private
    //~v ERROR E0624 associated function `new` is private
    let _hold = unload::Source::take_hold(queue, unload::Abstraction::new())?;
    PercpuRef::start(count, queue)
}
