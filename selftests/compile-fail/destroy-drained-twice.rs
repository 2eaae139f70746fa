// SPDX-License-Identifier: GPL-2.0

//! A dying root is drained once: the first drain consumes the proof that it is dying.
//@ inside: protocol/destroy.rs

use super::Dying;

fn example(dying: Dying<'_>) {
    let _drained = dying.drain();
    #[cfg(not(fixed))]
    let _again = dying.drain(); //~ ERROR E0382 use of moved value: `dying`
}
