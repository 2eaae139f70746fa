// SPDX-License-Identifier: GPL-2.0

//! Only an RCU callback may queue work without an admission: the destroyer waits for callbacks
//! first and for work then, and nobody else is covered by that.
//@ inside: protocol/mod.rs

use super::{child::Child, gate::Gate};
use crate::abstractions::call_rcu::InCallback;
use kernel::sync::Arc;

fn example(gate: &Gate, child: Arc<Child>, _cx: InCallback<'_>) {
    #[cfg(not(fixed))]
    gate.bounce(child); //~ ERROR E0061 argument #2 of type `InCallback<'_>` is missing
    #[cfg(fixed)]
    gate.bounce(child, _cx);
}
