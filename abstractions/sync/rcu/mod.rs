// SPDX-License-Identifier: GPL-2.0

//! RCU.

pub mod array;
pub mod call_rcu;
pub mod hash;
pub mod slot;
