// SPDX-License-Identifier: GPL-2.0

//! `cancel_work()` spins while the timer of a delayed item is pending: for ever, where interrupts are
//! disabled. Only plain items can be cancelled, and a delayed one has no plain work to show.

use kernel::{prelude::*, sync::Arc, workqueue::*};
use rust_kmemcg::abstractions::workqueue::*;

#[pin_data]
pub struct Item {
    #[cfg(not(fixed))]
    #[pin]
    work: DelayedWork<Item>,
    #[cfg(fixed)]
    #[pin]
    work: Work<Item>,
}

#[cfg(not(fixed))]
impl_has_delayed_work! { impl HasDelayedWork<Self> for Item { self.work } }
#[cfg(fixed)]
impl_has_work! { impl HasWork<Self> for Item { self.work } }

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(_this: Arc<Self>) {}
}

impl HasPlainWork for Item {
    fn plain_work(&self) -> &Work<Self> {
        &self.work //~ ERROR E0308 expected `&Work<Item>`, found `&DelayedWork<Item>`
    }
}

pub fn example(item: &Arc<Item>) {
    drop(cancel(item));
}
