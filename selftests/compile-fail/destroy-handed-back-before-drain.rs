// SPDX-License-Identifier: GPL-2.0

//! Only a drained root is handed back: no work or callback of it is pending, so its destroyer may
//! clear the flag.
//@ inside: protocol/destroy.rs

use super::{Dying, Root};
use kernel::prelude::*;

fn example(root: &Root) -> Result {
    let dying = Dying::begin(root)?;
    #[cfg(fixed)]
    let dying = dying.drain();
    dying.hand_back(); //~ ERROR E0599 no method named `hand_back` found for struct `Dying`
    Ok(())
}
