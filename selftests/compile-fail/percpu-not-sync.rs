// SPDX-License-Identifier: GPL-2.0

//! References are taken and put on all CPUs: what is counted must be of a type that bears that.

use core::cell::Cell;
use kernel::prelude::*;
use rust_kmemcg::{abstractions::percpu_ref::*, impl_has_percpu_ref};

#[cfg(not(fixed))]
type Value = Cell<u64>;
#[cfg(fixed)]
type Value = u64;

#[pin_data]
pub struct Session {
    #[pin]
    refs: PercpuRef<Session>,
    value: Value,
}

impl_has_percpu_ref! { impl HasPercpuRef for Session { self.refs } } //~ ERROR E0277 `Cell<u64>` cannot be shared between threads safely
