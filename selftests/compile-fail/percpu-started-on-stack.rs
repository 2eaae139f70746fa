// SPDX-License-Identifier: GPL-2.0

//! The count owns an `Arc` of what it counts; what lies elsewhere cannot be counted.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{
    abstractions::{percpu_ref::*, unload::Handle},
    impl_has_percpu_ref,
};

#[pin_data]
pub struct Session {
    #[pin]
    refs: PercpuRef<Session>,
    id: u64,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: Arc<Self>) {}
}

pub fn example(session: &Arc<Session>, module: &Handle) -> Result {
    #[cfg(not(fixed))]
    let session: &Session = session;
    PercpuRef::start(session, module) //~ ERROR E0308 expected `&Arc<_>`, found `&Session`
}
