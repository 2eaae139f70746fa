// SPDX-License-Identifier: GPL-2.0

//! The evidence that the code runs in a callback is valid in the thread that runs it only: it is
//! not `Send`.

use rust_kmemcg::abstractions::sync::rcu::call_rcu::InCallback;

#[cfg(not(fixed))]
fn take(_: impl Send) {}
#[cfg(fixed)]
fn take<T>(_: T) {}

pub fn example(cx: InCallback<'_>) {
    take(cx); //~ ERROR E0277 cannot be sent between threads safely
}
