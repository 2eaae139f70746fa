// SPDX-License-Identifier: GPL-2.0

//! RCU.

use crate::{c::rcu, context};

/// A read-side critical section.
pub struct Guard(crate::types::NotThreadSafe);

pub fn read_lock() -> Guard {
    context::rcu_read_lock();
    Guard(crate::types::NotThreadSafe)
}

impl Drop for Guard {
    fn drop(&mut self) {
        context::rcu_read_unlock();
    }
}

pub fn synchronize_rcu() {
    rcu::synchronize_rcu();
}

pub fn rcu_barrier() {
    rcu::rcu_barrier();
}
