// SPDX-License-Identifier: GPL-2.0

//! The proof that a root is drained comes only from draining it.
//@ inside: protocol/mod.rs

use super::child::Root;
#[cfg(not(fixed))]
use super::destroy::Drained; //~ ERROR E0603 struct `Drained` is private
use kernel::prelude::*;

#[cfg(not(fixed))]
fn example(root: &Root) -> Result {
    Drained(root).destroy().map_err(|_| EBUSY)
}
#[cfg(fixed)]
fn example(root: &Root) -> Result {
    super::destroy::destroy(root)
}
