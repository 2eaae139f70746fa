// SPDX-License-Identifier: GPL-2.0

//! The item of a scope ends with it: nothing that was borrowed is used afterwards.

use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};
use rust_kmemcg::{
    abstractions::workqueue::{OwnedQueue, ScopedWork},
    work_class,
};

pub fn example(queue: &OwnedQueue) -> Result {
    let runs = Atomic::new(0u32);
    let run = || {
        runs.add(1, Relaxed);
        None
    };
    let escaped = ScopedWork::scope(queue, work_class!("example"), run, GFP_KERNEL, |work| {
        #[cfg(not(fixed))]
        return work; //~ ERROR - returning this value requires that `'1` must outlive `'2`
        #[cfg(fixed)]
        return work.enqueue();
    })?;
    let _ = escaped;
    Ok(())
}
