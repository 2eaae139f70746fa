// SPDX-License-Identifier: GPL-2.0

//! A read-side critical section belongs to the task that began it. If its guard could be forgotten,
//! a reference on it could have any lifetime, and so could what is loaded by it, in other tasks,
//! too.

use kernel::{prelude::*, sync::rcu};
use rust_kmemcg::abstractions::{
    sync::rcu::slot::{
        read,
        RcuSlot, //
    },
    workqueue::OwnedQueue, //
};

pub fn example(slot: &'static RcuSlot<u64>, queue: &OwnedQueue) -> Result {
    #[cfg(not(fixed))]
    let value = {
        let guard: &'static rcu::Guard = KBox::leak(KBox::new(rcu::read_lock(), GFP_KERNEL)?);
        slot.load(guard).ok_or(ENOENT)? //~ ERROR E0277 Reader` is not implemented for `kernel::sync::rcu::Guard`
    };
    #[cfg(fixed)]
    let value = read(|reader| slot.load(reader).copied()).ok_or(ENOENT)?;
    drop(rcu::read_lock());
    queue.try_spawn(GFP_KERNEL, move || pr_info!("{value}\n"))?;
    Ok(())
}

const __LOG_PREFIX: &[u8] = b"example\0";
