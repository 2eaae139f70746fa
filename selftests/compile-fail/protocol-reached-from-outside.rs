// SPDX-License-Identifier: GPL-2.0

//! The gate is private to the protocol: users have access to roots, groups and objects only.

use kernel::sync::Arc;
use rust_kmemcg::protocol::Root;

pub fn example(root: &Arc<Root>) -> usize {
    #[cfg(not(fixed))]
    let found = core::mem::size_of_val(&root.gate); //~ ERROR E0616 field `gate` of struct `Root` is private
    #[cfg(fixed)]
    let found = root.name().to_bytes().len();
    found
}
