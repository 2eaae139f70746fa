// SPDX-License-Identifier: GPL-2.0

//! A queue in a static is never dropped, so its items could run after the module was unloaded. The
//! queue holds the module, which prevents that.

use kernel::{prelude::*, sync::SetOnce};
use rust_kmemcg::abstractions::{
    unload,
    workqueue::{Builder, OwnedQueue},
};

static QUEUE: SetOnce<OwnedQueue> = SetOnce::new();

pub fn example(module: &unload::Handle) -> Result {
    #[cfg(not(fixed))]
    let queue = Builder::unbound().build(c"example")?; //~ ERROR E0061 argument #2 of type `&_` is missing
    #[cfg(fixed)]
    let queue = Builder::unbound().build(c"example", module)?;
    QUEUE.populate(queue);
    Ok(())
}
