// SPDX-License-Identifier: GPL-2.0

//! The structure is found from its count by an offset, so the count is a field and not behind a
//! pointer. References are taken and put on all CPUs, so the structure is shared between threads.

use core::cell::Cell;
use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::{abstractions::sync::percpu_ref::*, impl_has_percpu_ref};

#[pin_data]
pub struct Far {
    #[cfg(not(fixed))]
    refs: Arc<PercpuRef<Far>>,
    #[cfg(fixed)]
    #[pin]
    refs: PercpuRef<Far>,
}

impl_has_percpu_ref! { impl HasPercpuRef for Far { self.refs } } //~ ERROR E0308 found `*const Arc<PercpuRef<Far>>`
                                                                 //~^ ERROR E0308 found `*mut Arc<PercpuRef<Far>>`

#[cfg(not(fixed))]
type Value = Cell<u64>;
#[cfg(fixed)]
type Value = u64;

#[pin_data]
pub struct Local {
    #[pin]
    refs: PercpuRef<Local>,
    value: Value,
}

impl_has_percpu_ref! { impl HasPercpuRef for Local { self.refs } } //~ ERROR E0277 `Cell<u64>` cannot be shared between threads safely
