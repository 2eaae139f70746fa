// SPDX-License-Identifier: GPL-2.0

//! An object whose type is not `Send` stays in its thread, scoped or not.

use kernel::{prelude::*, types::NotThreadSafe};
use rust_kmemcg::abstractions::slab::{KmemCache, ScopedObject};

#[cfg(not(fixed))]
type Value = NotThreadSafe;
#[cfg(fixed)]
type Value = u64;

fn send(_: impl Send) {}

pub fn example(_cache: &KmemCache<Value>, object: ScopedObject<'_, Value>) {
    send(object); //~ ERROR E0277 cannot be sent between threads safely
}
