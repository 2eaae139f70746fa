// SPDX-License-Identifier: GPL-2.0

//! A hold that a closure on a system workqueue drops keeps the module only until then: the closure
//! would sleep for another second in code that was freed.

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
