// SPDX-License-Identifier: GPL-2.0

//! The evidence that the code runs in a callback is passed to the callback, and has no constructor.

use core::marker::PhantomData;
use kernel::types::NotThreadSafe;
use rust_kmemcg::abstractions::sync::rcu::call_rcu::InCallback;

pub fn example(_given: InCallback<'_>) {
    #[cfg(not(fixed))]
    let _cx = InCallback(PhantomData, NotThreadSafe); //~ ERROR E0423 cannot initialize a tuple struct which contains private fields
    #[cfg(fixed)]
    let (_cx, _) = (_given, (PhantomData::<u8>, NotThreadSafe));
}
