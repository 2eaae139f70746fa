// SPDX-License-Identifier: GPL-2.0

//! Readers on all CPUs share the object: its type must be `Sync`.

use core::cell::Cell;
use kernel::prelude::*;
use rust_kmemcg::abstractions::slab::Typesafe;

#[cfg(not(fixed))]
pub struct Entry(Cell<u64>);
#[cfg(fixed)]
pub struct Entry(u64);

//~v ERROR E0277 `Cell<u64>` cannot be shared between threads safely
impl Typesafe for Entry {
    #[cfg(not(fixed))]
    fn new() -> impl PinInit<Self> {
        Self(Cell::new(0))
    }
    #[cfg(fixed)]
    fn new() -> impl PinInit<Self> {
        Self(0)
    }
}
