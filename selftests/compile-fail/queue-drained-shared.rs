// SPDX-License-Identifier: GPL-2.0

//! While a queue is being drained nobody may queue anything to it, and so nobody may share it.

use rust_kmemcg::abstractions::workqueue::OwnedQueue;

#[cfg(not(fixed))]
pub fn example(queue: &OwnedQueue) {
    queue.drain(); //~ ERROR E0596 cannot borrow `*queue` as mutable
}
#[cfg(fixed)]
pub fn example(queue: &mut OwnedQueue) {
    queue.drain();
}
