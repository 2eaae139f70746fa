// SPDX-License-Identifier: GPL-2.0

//! Per-group slab caches with asynchronous release.
//!
//! The layers, from the bottom:
//!
//! - [`abstractions`]: safe abstractions of kernel C APIs;
//! - [`protocol`]: roots, groups and children, and the release protocol. Its documentation explains how
//!   it works and why it is right;
//! - [`cgroup`]: binds groups to cgroups;
//! - [`control`]: the files in debugfs;
//! - [`api`]: the functions that other modules call.
//!
//! A layer uses only those before it.

#![deny(
    missing_docs,
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks
)]

// From the bottom to the top: scripts/test/arrows reads the order here.

pub mod abstractions;

pub mod protocol;

#[cfg_attr(not(CONFIG_CGROUPS), path = "cgroup/none.rs")]
pub mod cgroup;

pub mod control;

pub mod api;

use abstractions::unload;
use cgroup::Cgroups;
use kernel::{prelude::*, sync::Arc};
use protocol::Kmemcg;

crate::anchored_module! {
    type: RustKmemcg,
    name: "rust_kmemcg",
    authors: ["The rust_kmemcg developers"],
    description: "Per-group slab caches with asynchronous release",
    license: "GPL v2",
}

/// The module. The fields are dropped in this order, so each layer before those that it uses.
#[pin_data]
struct RustKmemcg {
    api: api::Exports,
    control: control::Plane,
    cgroups: Arc<Cgroups>,
    kmemcg: Arc<Kmemcg>,
}

impl unload::Module for RustKmemcg {
    fn init(module: &unload::Handle) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            kmemcg: Arc::pin_init(Kmemcg::new(module), GFP_KERNEL)?,
            cgroups: Arc::pin_init(Cgroups::new(kmemcg, module), GFP_KERNEL)?,
            control: control::Plane::new::<Self>(kmemcg, cgroups, module)?,
            api: api::Exports::new(kmemcg, cgroups)?,
        })
    }
}
