// SPDX-License-Identifier: GPL-2.0

//! A count owns an `Arc` of its structure from the start, so it is started by one. It is resurrected
//! with a guard only: without a reference it could be released meanwhile. A kill is confirmed only
//! to a type that has the callback.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{
    abstractions::{
        sync::percpu_ref::*,
        unload::Handle, //
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

#[cfg(fixed)]
impl Confirm for Session {
    fn confirmed(&self) {}
}

pub fn start(session: &Arc<Session>, module: &Handle) -> Result {
    #[cfg(not(fixed))]
    let session: &Session = session;
    PercpuRef::start(session, module) //~ ERROR E0308 expected `&Arc<_>`, found `&Session`
}

pub fn resurrect(guard: &Guard<Session>) -> Result {
    #[cfg(not(fixed))]
    let guard: &Session = guard;
    PercpuRef::resurrect(guard) //~ ERROR E0308 expected `&Guard<_>`, found `&Session`
}

pub fn kill(session: &Session) -> bool {
    session.refs.kill_and_confirm() //~ ERROR E0277 the trait bound `Session: Confirm` is not satisfied
}
