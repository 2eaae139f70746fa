// SPDX-License-Identifier: GPL-2.0

//! A count whose release runs code of the module has a hold on it. Only the module's anchor, which
//! waits for them, gives out holds.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{
    abstractions::{percpu_ref::*, unload, wait_group::WaitGroup},
    impl_has_percpu_ref,
};

#[pin_data]
pub struct Session {
    #[pin]
    refs: PercpuRef<Session>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: Arc<Self>) {}
}

pub fn example(session: &Arc<Session>, module: &unload::Handle) -> Result {
    let group = WaitGroup::new()?;
    #[cfg(not(fixed))]
    let hold = unload::Hold(group.join()); //~ ERROR E0603 tuple struct constructor `Hold` is private
    #[cfg(fixed)]
    let (_, hold) = (group, module.hold()?);
    PercpuRef::start(session, hold)
}
