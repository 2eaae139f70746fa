// SPDX-License-Identifier: GPL-2.0

//! A retired value that is taken out of its wrapper could be dropped before the grace period is
//! over.

use core::mem::ManuallyDrop;
use kernel::sync::Arc;
use rust_kmemcg::abstractions::sync::rcu::slot::Retired;

pub fn example(retired: Retired<u64>) -> Arc<u64> {
    #[cfg(not(fixed))]
    return ManuallyDrop::into_inner(retired.arc); //~ ERROR E0616 field `arc` of struct `Retired` is private
    #[cfg(fixed)]
    retired.into_arc()
}
