// SPDX-License-Identifier: GPL-2.0

//! "Check the flag, unlock, queue": the flag could be set in between, and the destroyer would not
//! wait for what is queued then. This is bug B6.
//@ inside: protocol/steps.rs

use super::{start_shutdown, Child};
use kernel::sync::Arc;

fn example(child: Arc<Child>) {
    let root = child.root().clone();
    let mut entered = root.gate.enter();
    if let Ok(admission) = entered.admit() {
        #[cfg(not(fixed))]
        drop(entered); //~ ERROR E0505 cannot move out of `entered` because it is borrowed
        start_shutdown(child.into(), admission);
    }
}
