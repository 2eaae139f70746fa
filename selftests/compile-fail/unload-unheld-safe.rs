// SPDX-License-Identifier: GPL-2.0

//! A value that was made without a hold must not be forgotten, which safe code cannot promise.

use kernel::prelude::*;
use rust_kmemcg::abstractions::{
    unload,
    workqueue::{Builder, OwnedQueue},
};

pub fn example(_module: &unload::Handle) -> Result<OwnedQueue> {
    #[cfg(not(fixed))]
    let module = unload::Unheld::new(); //~ ERROR E0133 call to unsafe function
    #[cfg(not(fixed))]
    let module = &module;
    #[cfg(fixed)]
    let module = _module;
    Builder::unbound().build(c"example", module)
}
