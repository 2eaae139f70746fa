// SPDX-License-Identifier: GPL-2.0

//! A count that reached zero has been released, and cannot come back: a reference is the proof that
//! it did not.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{abstractions::percpu_ref::*, impl_has_percpu_ref};

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

pub fn example(session: &Session, _guard: &Guard<Session>) -> bool {
    let _ = session;
    #[cfg(not(fixed))]
    return PercpuRef::resurrect(session); //~ ERROR E0308 expected `&Guard<_>`, found `&Session`
    #[cfg(fixed)]
    PercpuRef::resurrect(_guard)
}
