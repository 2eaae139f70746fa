// SPDX-License-Identifier: GPL-2.0

//! The files of `protocol/`, and the abstractions under them, unchanged, on a `kernel` crate that a
//! checker controls. Only the trace events are others.

#![feature(arbitrary_self_types)]
#![allow(dead_code, unused_imports, unreachable_pub)]

#[path = "../../../abstractions"]
#[macro_use]
pub mod abstractions {
    pub mod any_cstring;
    pub mod context;
    mod field;
    pub mod gfp;
    pub mod ida;
    pub mod name_hash;
    pub mod preempt;
    pub mod slab;
    pub mod sync;
    pub mod ticks;
    #[path = "../model/explore/src/tracepoint.rs"]
    pub mod tracepoint;
    pub mod unload;
    pub mod workqueue;

    pub(crate) use kernel::helpers;
}

#[path = "../../../protocol/mod.rs"]
pub mod protocol;

pub mod bounded;
pub mod scenarios;
pub mod schedule;
pub mod world;
