// SPDX-License-Identifier: GPL-2.0

//! Only a root whose destroyer has waited for everything that was admitted before the flag was set can be
//! destroyed.
//@ inside: protocol/destroy.rs

use super::{Dying, Root};
use kernel::prelude::*;

fn example(root: &Root) -> Result {
    let dying = Dying::begin(root)?;
    #[cfg(fixed)]
    let dying = dying.drain();
    dying.destroy().map_err(|_| EBUSY) //~ ERROR E0599 no method named `destroy` found for struct `Dying`
}
