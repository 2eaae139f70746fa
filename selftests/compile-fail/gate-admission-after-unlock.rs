// SPDX-License-Identifier: GPL-2.0

//! "Check the flag, unlock, queue": the flag could be set between, and the destroyer would not wait
//! for what comes. This is the bug of the mail in seeds/.
//@ inside: protocol/gate.rs

use super::{Child, Gate};
use kernel::sync::Arc;

fn example(gate: &Gate, child: Arc<Child>) {
    let mut entered = gate.enter();
    if let Ok(admission) = entered.admit() {
        #[cfg(not(fixed))]
        drop(entered); //~ ERROR E0505 cannot move out of `entered` because it is borrowed
        admission.shut_down(child);
    }
}
