// SPDX-License-Identifier: GPL-2.0

//! An admission that is stored would still be valid after the unlock.
//@ inside: protocol/gate.rs

use super::{Admission, Entered, Gate};

#[cfg(not(fixed))]
fn example<C>(gate: &Gate<C>) -> Option<Admission<'_, C>> {
    gate.enter().admit().ok() //~ ERROR E0515 returns a value referencing data owned by the current function
}
#[cfg(fixed)]
fn example<'a, C>(entered: &'a mut Entered<'_, C>, _gate: &Gate<C>) -> Option<Admission<'a, C>> {
    entered.admit().ok()
}
