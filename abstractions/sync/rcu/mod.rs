// SPDX-License-Identifier: GPL-2.0

//! RCU: what `kernel::sync::rcu` lacks.
//!
//! Readers ([`slot::Reader`]) load what an [`RcuSlot`](slot::RcuSlot), an
//! [`RcuArray`](array::RcuArray) or an [`RcuHash`](hash::RcuHash) leads to. An updater takes it out
//! and waits for a grace period, or leaves the rest to a callback ([`call_rcu`]).
//!
//! # Examples
//!
//! ```
//! use kernel::{prelude::*, sync::Arc};
//! use rust_kmemcg::abstractions::{sync::rcu::{call_rcu::*, slot::{self, RcuSlot}}, unload};
//! use rust_kmemcg::impl_has_rcu_head;
//!
//! #[pin_data]
//! struct Session {
//!     number: u64,
//!     #[pin]
//!     rcu: RcuHead<Session>,
//! }
//!
//! impl_has_rcu_head! { impl HasRcuHead for Session { self.rcu } }
//!
//! impl RcuCallback for Session {
//!     type Pointer = Arc<Self>;
//!
//!     fn run(_this: Arc<Self>, _cx: InCallback<'_>) {} // No reader is left. Must not sleep.
//! }
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let slot = RcuSlot::new();
//!     let session = pin_init!(Session { number: 42, rcu <- RcuHead::new() });
//!     slot.publish(Arc::pin_init(session, GFP_KERNEL)?).map_err(|_| EEXIST)?;
//!     assert_eq!(slot::read(|reader| slot.load(reader).map(|found| found.number)), Some(42));
//!     let retired = slot.take().ok_or(ENOENT)?;
//!     Callbacks::new(module).call_retired(retired).map_err(|_| EBUSY) // Does not wait.
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```

pub mod array;
pub mod call_rcu;
pub mod hash;
pub mod slot;
