// SPDX-License-Identifier: GPL-2.0

//! Cancelling a delayed item gives its closure back, once.

use rust_kmemcg::abstractions::workqueue::DelayedItem;

pub fn example(item: DelayedItem<fn()>) {
    drop(item.cancel());
    #[cfg(not(fixed))]
    drop(item.cancel()); //~ ERROR E0382 use of moved value: `item`
}
