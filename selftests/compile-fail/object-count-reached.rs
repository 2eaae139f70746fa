// SPDX-License-Identifier: GPL-2.0

//! Who has an object cannot get at the count of the child that it is of: he could start it anew behind
//! the gate's back, and nobody would kill it again.

use rust_kmemcg::protocol::Object;

pub fn example(object: &Object) -> u64 {
    #[cfg(not(fixed))]
    let number = object.owner().number(); //~ ERROR E0599 no method named `owner` found for reference
    #[cfg(fixed)]
    let number = object.child();
    number
}
