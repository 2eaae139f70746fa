// SPDX-License-Identifier: GPL-2.0

//! While a queue is being drained, nothing may be queued to it, so it may not be shared.

use rust_kmemcg::abstractions::workqueue::OwnedQueue;

#[cfg(not(fixed))]
pub fn example(queue: &OwnedQueue) {
    queue.drain(); //~ ERROR E0596 cannot borrow `*queue` as mutable
}
#[cfg(fixed)]
pub fn example(queue: &mut OwnedQueue) {
    queue.drain();
}
