// SPDX-License-Identifier: GPL-2.0

//! While an admission exists, the dying flag cannot be set, not even by its owner.
//@ inside: protocol/steps.rs

use super::{start_shutdown, Child, Phase};
use kernel::{prelude::*, sync::Arc};

fn example(child: Arc<Child>) -> Result {
    let root = child.root().clone();
    let mut entered = root.gate.enter();
    let admission = entered.admit().map_err(|_| ENODEV)?;
    #[cfg(not(fixed))]
    entered.set_phase(Phase::Dying); //~ ERROR E0499 cannot borrow `entered` as mutable more than once at a time
    start_shutdown(child.into(), admission);
    entered.set_phase(Phase::Dying);
    Ok(())
}
