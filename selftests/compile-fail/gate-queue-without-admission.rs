// SPDX-License-Identifier: GPL-2.0

//! Work or a callback that is queued without an admission could be queued for a dying root, after
//! its destroyer has waited.
//@ inside: protocol/mod.rs

use super::{
    child::{Child, DEACTIVATION, SHUTDOWN},
    gate::Queues,
};
use crate::abstractions::sync::rcu::slot::Retired;
use kernel::sync::Arc;

fn example(queues: &Queues, child: Arc<Child>, retired: Retired<Child>) {
    #[cfg(not(fixed))]
    let _ = queues.enqueue::<_, SHUTDOWN>(child); //~ ERROR E0624 method `enqueue` is private
    #[cfg(not(fixed))]
    let _ = queues.call_retired::<_, DEACTIVATION>(retired); //~ ERROR E0624 method `call_retired` is private
    #[cfg(fixed)]
    {
        let _ = (queues, retired);
        let mut gate = child.root().gate.enter();
        if let Ok(admission) = gate.admit() {
            let _ = admission.call::<SHUTDOWN>(child.clone().into());
        }
    }
}
