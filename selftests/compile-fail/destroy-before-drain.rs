// SPDX-License-Identifier: GPL-2.0

//! A root is destroyed by whoever has waited for all that was admitted before the flag was set.
//@ inside: protocol/destroy.rs

use super::{Dying, Root};
use kernel::{prelude::*, sync::Arc};

fn example(root: &Arc<Root>) -> Result {
    let dying = Dying::begin(root)?;
    #[cfg(fixed)]
    let dying = dying.drain();
    dying.destroy().map_err(|_| EBUSY) //~ ERROR E0599 no method named `destroy` found for struct `Dying`
}
