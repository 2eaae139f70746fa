// SPDX-License-Identifier: GPL-2.0

//! An anchor in a type that does not drop its content waits for nothing when the module is
//! unloaded. The macro puts it in a field that is dropped.

use kernel::{prelude::*, types::Opaque, ModuleMetadata};
use pin_init::Wrapper;
use rust_kmemcg::abstractions::unload;

#[pin_data]
pub struct MyModule<M: ModuleMetadata> {
    #[pin]
    anchor: Opaque<unload::Anchor<M>>,
}

pub fn example<M: ModuleMetadata>() -> impl PinInit<MyModule<M>, Error> {
    try_pin_init!(MyModule {
        #[cfg(not(fixed))]
        anchor <- Opaque::pin_init(unload::Anchor::new()), //~ ERROR E0133 call to unsafe function
        #[cfg(fixed)]
        // SAFETY: None; but it compiles.
        anchor <- Opaque::pin_init(unsafe { unload::Anchor::new() }),
    })
}
