// SPDX-License-Identifier: GPL-2.0

//! An admission that is kept for later would be good after the unlock, too.
//@ inside: protocol/gate.rs

use super::{Admission, Entered, Gate};

#[cfg(not(fixed))]
fn example(gate: &Gate) -> Option<Admission<'_>> {
    gate.enter().admit().ok() //~ ERROR E0515 returns a value referencing data owned by the current function
}
#[cfg(fixed)]
fn example<'a>(entered: &'a mut Entered<'_>, _gate: &Gate) -> Option<Admission<'a>> {
    entered.admit().ok()
}
