// SPDX-License-Identifier: GPL-2.0

//! A root that was destroyed cannot be handed back: its children are freed.
//@ inside: protocol/destroy.rs

use super::Drained;
use kernel::prelude::*;

fn example(drained: Drained<'_>) {
    match drained.destroy() {
        #[cfg(not(fixed))]
        Ok(()) => drained.hand_back(), //~ ERROR E0382 use of moved value: `drained`
        #[cfg(fixed)]
        Ok(()) => (),
        Err(drained) => drained.hand_back(),
    }
}
