// SPDX-License-Identifier: GPL-2.0

//! A scoped item that is forgotten goes on running, so its closure must not borrow; in a scope, which
//! forgets nothing, it may.

use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};
use rust_kmemcg::{
    abstractions::workqueue::{OwnedQueue, ScopedWork},
    work_class,
};

pub fn example(queue: &Arc<OwnedQueue>) -> Result {
    let runs = Atomic::new(0u32);
    //~v ERROR E0373 function requires argument type to outlive `'static`
    let run = || {
        runs.add(1, Relaxed);
        None
    };
    #[cfg(not(fixed))]
    core::mem::forget(ScopedWork::new(
        queue.clone(),
        work_class!("example"),
        run,
        GFP_KERNEL,
    )?);
    #[cfg(fixed)]
    ScopedWork::scope(
        queue.clone(),
        work_class!("example"),
        run,
        GFP_KERNEL,
        |work| work.enqueue(),
    )?;
    Ok(())
}
