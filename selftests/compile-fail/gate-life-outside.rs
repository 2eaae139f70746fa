// SPDX-License-Identifier: GPL-2.0

//! How far a child has come is read and changed by whoever holds the gate of its root.
//@ inside: protocol/mod.rs

use super::child::{Child, Stage};

fn example(child: &Child) -> Option<Stage> {
    #[cfg(not(fixed))]
    return Some(child.stage()); //~ ERROR E0061 argument #1 of type `&Inside` is missing
    #[cfg(fixed)]
    Some(child.root().gate().enter().stage_of(child))
}
