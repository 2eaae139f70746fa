// SPDX-License-Identifier: GPL-2.0

//! What is handed back is drained: the flag is cleared by whoever is alone with the root.
//@ inside: protocol/destroy.rs

use super::{Dying, Root};
use kernel::{prelude::*, sync::Arc};

fn example(root: &Arc<Root>) -> Result {
    let dying = Dying::begin(root)?;
    #[cfg(fixed)]
    let dying = dying.drain();
    dying.hand_back(); //~ ERROR E0599 no method named `hand_back` found for struct `Dying`
    Ok(())
}
