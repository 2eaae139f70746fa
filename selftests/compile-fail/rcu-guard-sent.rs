// SPDX-License-Identifier: GPL-2.0

//! A read-side critical section belongs to a CPU or a task: its guard is not `Send`.

use kernel::{prelude::*, sync::rcu};
use rust_kmemcg::abstractions::{context::Context, exec};

pub fn example() -> Result {
    let guard = rcu::read_lock();
    #[cfg(not(fixed))]
    let value = guard;
    #[cfg(fixed)]
    let value = {
        drop(guard);
    };
    exec::run(Context::SoftIrq, value, drop).map_err(|(error, _)| error) //~ ERROR E0277 cannot be sent between threads safely
}
