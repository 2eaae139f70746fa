// SPDX-License-Identifier: GPL-2.0

//! As long as somebody has an admission, the dying flag cannot be set, not even by him.
//@ inside: protocol/gate.rs

use super::{Child, Gate};
use kernel::{prelude::*, sync::Arc};

fn example(gate: &Gate, child: Arc<Child>) -> Result {
    let mut entered = gate.enter();
    let admission = entered.admit().map_err(|_| ENODEV)?;
    #[cfg(not(fixed))]
    entered.set_dying()?; //~ ERROR E0499 cannot borrow `entered` as mutable more than once at a time
    admission.shut_down(child);
    entered.set_dying()
}
