// SPDX-License-Identifier: GPL-2.0

//! A work item runs later: it must not borrow from the stack of the function that queues it.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use rust_kmemcg::abstractions::workqueue::OwnedQueue;

pub fn example(queue: &OwnedQueue) -> Result {
    #[cfg(not(fixed))]
    let done = Atomic::new(0u32);
    #[cfg(fixed)]
    static DONE: Atomic<u32> = Atomic::new(0);
    #[cfg(fixed)]
    let done = &DONE;
    #[cfg(not(fixed))]
    let done = &done; //~ ERROR E0597 argument requires that `done` is borrowed for `'static`
    queue.try_spawn(GFP_KERNEL, move || done.store(1, Relaxed))?;
    Ok(())
}
