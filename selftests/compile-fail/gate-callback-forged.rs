// SPDX-License-Identifier: GPL-2.0

//! Only an RCU callback may queue work without an admission: the destroyer waits for callbacks
//! first and for work then, which covers no other caller.
//@ inside: protocol/mod.rs

use super::{
    child::{Child, SHUTDOWN},
    gate::Gate,
};
use crate::abstractions::sync::rcu::call_rcu::InCallback;
use kernel::sync::Arc;

fn example(gate: &Gate<Child>, child: Arc<Child>, _cx: InCallback<'_>) {
    #[cfg(not(fixed))]
    let _ = gate.queue_from_callback::<_, SHUTDOWN>(child); //~ ERROR E0061 argument #2 of type `InCallback<'_>` is missing
    #[cfg(fixed)]
    let _ = gate.queue_from_callback::<_, SHUTDOWN>(child, _cx);
}
