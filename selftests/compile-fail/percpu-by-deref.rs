// SPDX-License-Identifier: GPL-2.0

//! The structure is found from its count by an offset: the count must be a field, not behind a
//! pointer in it.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{abstractions::percpu_ref::*, impl_has_percpu_ref};

#[pin_data]
pub struct Session {
    #[cfg(not(fixed))]
    refs: Arc<PercpuRef<Session>>,
    #[cfg(fixed)]
    #[pin]
    refs: PercpuRef<Session>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } } //~ ERROR E0308 mismatched types
