// SPDX-License-Identifier: GPL-2.0

//! A reference that was put keeps nothing alive.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{abstractions::sync::percpu_ref::*, impl_has_percpu_ref};

#[pin_data]
pub struct Session {
    #[pin]
    refs: PercpuRef<Session>,
    id: u64,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } }

impl Release for Session {
    fn release(_this: Released<Self>) {}
}

pub fn example(session: &Session) -> Option<u64> {
    let guard = PercpuRef::tryget(session)?;
    let id = &guard.id;
    #[cfg(not(fixed))]
    drop(guard); //~ ERROR E0505 cannot move out of `guard` because it is borrowed
    Some(*id)
}
