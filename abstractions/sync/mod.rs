// SPDX-License-Identifier: GPL-2.0

//! Synchronisation: what `kernel::sync` lacks.
//!
//! - [`percpu_ref`]: reference counts that are per CPU until they are killed;
//! - [`rcu`]: what readers follow under RCU, and callbacks after a grace period;
//! - [`wait_group`]: waiting until the last user of something has gone.
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::sync::{rcu::slot::RcuSlot, wait_group::WaitGroup};
//!
//! fn example() -> Result {
//!     let users = WaitGroup::new()?;
//!     let slot = RcuSlot::new();
//!     slot.publish(Arc::new(users.join(), GFP_KERNEL)?).map_err(|_| EEXIST)?;
//!     drop(slot.take()); // Waits for the readers of the slot.
//!     users.wait();
//!     Ok(())
//! }
//! # assert_eq!(example(), Ok(()));
//! ```

pub mod percpu_ref;
pub mod rcu;
pub mod wait_group;
