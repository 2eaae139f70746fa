// SPDX-License-Identifier: GPL-2.0

//! The stage of a child is read and changed only with the gate of its root held.
//@ inside: protocol/mod.rs

use super::{child::Child, Stage};

fn example(child: &Child) -> Option<Stage> {
    #[cfg(not(fixed))]
    return Some(child.stage()); //~ ERROR E0061 argument #1 of type `&Inside<Child>` is missing
    #[cfg(fixed)]
    Some(child.stage(&child.root().gate.enter()))
}
