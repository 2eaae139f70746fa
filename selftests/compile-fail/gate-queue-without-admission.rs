// SPDX-License-Identifier: GPL-2.0

//! Who reaches the workqueue or the callbacks beside the gate can queue for a root that is dying,
//! whose destroyer has done its waiting already.
//@ inside: protocol/mod.rs

use super::{child::Child, gate::Releases};
use crate::abstractions::rcu_slot::Retired;
use kernel::sync::Arc;

fn example(releases: &Releases, child: Arc<Child>, retired: Retired<Child>) {
    #[cfg(not(fixed))]
    let _ = releases.queue.enqueue(child); //~ ERROR E0616 field `queue` of struct `Releases` is private
    #[cfg(not(fixed))]
    let _ = releases.callbacks.call_retired(retired); //~ ERROR E0616 field `callbacks` of struct `Releases` is private
    #[cfg(fixed)]
    {
        let _ = (releases, retired);
        let gate = child.root().gate();
        gate.enter().release(child.clone());
    }
}
