// SPDX-License-Identifier: GPL-2.0

//! A hold that is dropped by a closure on a queue of the system keeps the module until that moment,
//! and not for the second that the closure goes on: it would sleep in code that was freed.

use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta},
    workqueue,
};
use rust_kmemcg::abstractions::unload;

pub fn example(module: &unload::Handle) -> Result {
    #[cfg(not(fixed))]
    {
        let hold = module.hold()?; //~ ERROR E0624 method `hold` is private
        workqueue::system().try_spawn(GFP_KERNEL, move || {
            drop(hold);
            fsleep(Delta::from_secs(1));
        })?;
    }
    #[cfg(fixed)]
    module.try_spawn(workqueue::system(), GFP_KERNEL, || {
        fsleep(Delta::from_secs(1));
    })?;
    Ok(())
}
