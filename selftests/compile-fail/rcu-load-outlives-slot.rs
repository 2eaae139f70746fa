// SPDX-License-Identifier: GPL-2.0

//! Dropping a slot drops its value at once: no reference that was loaded from it may exist.

use kernel::{prelude::*, sync::Arc};
use rust_kmemcg::abstractions::sync::rcu::slot::{read, RcuSlot};

pub fn example(arc: Arc<u64>) -> Result<u64> {
    let slot = RcuSlot::new();
    slot.publish(arc).map_err(|_| EEXIST)?;
    read(|reader| {
        let value = slot.load(reader).ok_or(ENOENT)?;
        #[cfg(not(fixed))]
        drop(slot); //~ ERROR E0505 cannot move out of `slot` because it is borrowed
        Ok(*value)
    })
}
