// SPDX-License-Identifier: GPL-2.0

//! A count whose release runs code of the module holds the module. Holds come only from the
//! module's anchor, which waits for them.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{
    abstractions::{
        sync::{
            percpu_ref::*,
            wait_group::WaitGroup, //
        },
        unload, //
    },
    impl_has_percpu_ref, //
};

#[pin_data]
pub struct Session {
    #[pin]
    refs: PercpuRef<Session>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: Released<Self>) {}
}

#[cfg(not(fixed))]
pub struct Forged(WaitGroup);

#[cfg(not(fixed))]
impl unload::Source for Forged {
    //~? ERROR E0603 `Hold` is private
    //~v ERROR E0603 `Abstraction` is private
    fn take_hold(&self, _: unload::Abstraction) -> Result<unload::Hold> {
        Ok(unload::Hold(Some(self.0.join()))) //~ ERROR E0603 tuple struct constructor `Hold` is private
    }
}

pub fn example(session: &Arc<Session>, module: &unload::Handle) -> Result {
    let _ = WaitGroup::new()?;
    #[cfg(not(fixed))]
    let module = &Forged(WaitGroup::new()?);
    PercpuRef::start(session, module)
}
