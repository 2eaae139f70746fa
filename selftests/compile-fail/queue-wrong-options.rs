// SPDX-License-Identifier: GPL-2.0

//! What C ignores or refuses for a kind of queue cannot be asked for. An ordered queue runs one item at
//! a time, with the priority of any; the items of an unbound one hold no CPU.

#[cfg(not(fixed))]
use rust_kmemcg::abstractions::workqueue::Unbound;
use rust_kmemcg::abstractions::workqueue::{Builder, Ordered, PerCpu};

#[cfg(not(fixed))]
pub const MANY: Builder<Ordered> = Builder::ordered().max_active(4); //~ ERROR E0599 its trait bounds were not satisfied
#[cfg(not(fixed))]
pub const HIGH: Builder<Ordered> = Builder::ordered().highpri(); //~ ERROR E0599 its trait bounds were not satisfied
#[cfg(fixed)]
pub const SAFE: Builder<Ordered> = Builder::ordered().mem_reclaim();

#[cfg(not(fixed))]
pub const HUNGRY: Builder<Unbound> = Builder::unbound().cpu_intensive(); //~ ERROR E0599 no method named `cpu_intensive` found
#[cfg(fixed)]
pub const HUNGRY: Builder<PerCpu> = Builder::per_cpu().cpu_intensive();
#[cfg(not(fixed))]
pub const BOTH: Builder<PerCpu> = Builder::unbound().power_efficient(); //~ ERROR E0599 no method named `power_efficient` found
#[cfg(fixed)]
pub const FRUGAL: Builder<PerCpu> = Builder::per_cpu().power_efficient();
