// SPDX-License-Identifier: GPL-2.0

//! An ordered queue runs one item at a time, with the priority of any: what C ignores for it, or
//! refuses, cannot be asked for.

use rust_kmemcg::abstractions::workqueue::{Options, Ordered};

#[cfg(not(fixed))]
pub const MANY: Options<Ordered> = Options::ordered().max_active(4); //~ ERROR E0599 its trait bounds were not satisfied
#[cfg(not(fixed))]
pub const HIGH: Options<Ordered> = Options::ordered().highpri(); //~ ERROR E0599 its trait bounds were not satisfied
#[cfg(fixed)]
pub const SAFE: Options<Ordered> = Options::ordered().mem_reclaim();
