// SPDX-License-Identifier: GPL-2.0

//! An object gives no access to the count of its child: a user could start the count anew without
//! the gate, and nothing would kill it again.

use rust_kmemcg::protocol::ChildObject;

pub fn example(object: &ChildObject) -> u64 {
    #[cfg(not(fixed))]
    let number = object.owner().number(); //~ ERROR E0599 no method named `owner` found for reference
    #[cfg(fixed)]
    let number = object.child();
    number
}
