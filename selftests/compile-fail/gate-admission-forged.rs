// SPDX-License-Identifier: GPL-2.0

//! An admission comes only from the gate.
//@ inside: protocol/mod.rs

use super::gate::{Admission, Gate, Inside, Queues};

#[cfg(not(fixed))]
fn example<'a, C>(inside: &'a mut Inside<C>, queues: &'a Queues) -> Admission<'a, C> {
    Admission {
        inside, //~ ERROR E0451 field `inside` of struct `Admission` is private
        queues, //~ ERROR E0451 field `queues` of struct `Admission` is private
    }
}
#[cfg(fixed)]
fn example<C>(gate: &Gate<C>, _inside: &Inside<C>, _queues: &Queues) {
    let _: Option<Admission<'_, C>> = gate.enter().admit().ok();
}
