// SPDX-License-Identifier: GPL-2.0

//! An anchor that is dropped before a queue of the same structure waits for the hold of that queue,
//! and so for ever. The macro makes the anchor the last field.

use kernel::{prelude::*, ModuleMetadata};
use rust_kmemcg::abstractions::{unload, workqueue::*};

#[cfg(not(fixed))]
#[pin_data]
pub struct MyModule<M: ModuleMetadata> {
    #[pin]
    anchor: unload::Anchor<M>,
    queue: OwnedQueue,
}

#[cfg(not(fixed))]
pub fn init<M: ModuleMetadata>() -> impl PinInit<MyModule<M>, Error> {
    try_pin_init!(MyModule {
        anchor <- unload::Anchor::new(), //~ ERROR E0133 call to unsafe function
        queue: Builder::unbound().build(c"example", anchor.handle())?,
    })
}

#[cfg(fixed)]
#[pin_data]
pub struct MyModule {
    pub queue: OwnedQueue,
}

#[cfg(fixed)]
impl unload::Module for MyModule {
    fn init(module: &unload::Handle) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            queue: Builder::unbound().build(c"example", module)?,
        })
    }
}
