// SPDX-License-Identifier: GPL-2.0

//! A root that is dying is drained once; there is nobody left who could do it again.
//@ inside: protocol/destroy.rs

use super::Dying;

fn example(dying: Dying<'_>) {
    let _drained = dying.drain();
    #[cfg(not(fixed))]
    let _again = dying.drain(); //~ ERROR E0382 use of moved value: `dying`
}
