// SPDX-License-Identifier: GPL-2.0

//! A kill is confirmed to a type that says what then happens.

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

#[cfg(fixed)]
impl Confirm for Session {
    fn confirmed(&self) {}
}

pub fn example(session: &Session) -> bool {
    session.refs.kill_and_confirm() //~ ERROR E0277 the trait bound `Session: Confirm` is not satisfied
}
