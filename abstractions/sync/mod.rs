// SPDX-License-Identifier: GPL-2.0

//! Synchronisation.

pub mod percpu_ref;
pub mod rcu;
pub mod wait_group;
