// SPDX-License-Identifier: GPL-2.0

//! The destroy of a queue does not wait for the timers of delayed items: an item that is not
//! counted must not be queued through the in-tree queue.

use kernel::{prelude::*, workqueue::Queue};
use rust_kmemcg::abstractions::workqueue::OwnedQueue;

pub fn example(queue: &OwnedQueue) -> Result {
    #[cfg(not(fixed))]
    let queue: &Queue = queue; //~ ERROR E0308 expected `&Queue`, found `&OwnedQueue`
    #[cfg(fixed)]
    let _: Option<&Queue> = None;
    queue.try_spawn(GFP_KERNEL, || ())?;
    Ok(())
}
