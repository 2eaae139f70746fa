// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers of kernel C APIs that the in-tree `kernel` crate lacks.
//!
//! Nothing here knows the protocol. The general modules have the names that they would have in
//! `rust/kernel/`, and could move there as they are. All `unsafe` of the module is in this folder,
//! and at the boundary to C in `api/`: with these trusted, the rest can be read as ordinary Rust.
//!
//! Spinlocks are not here: the in-tree `SpinLockIrq` does all that the protocol's gate needs. Its
//! `lock()` may be called in any context, a hard interrupt too, since it counts how often
//! interrupts were disabled and enables them with the last guard only; so nothing has to keep the
//! state that they were in. Each lock has a lockdep class of its own, from the place where it is
//! made.
//!
//! On PREEMPT_RT such a lock sleeps, and no memory is freed in a hard interrupt: "any context"
//! leaves that one out there.
//!
//! What callers can see is tested from a module of its own (`selftests/abstractions`), and by the
//! examples. Unit tests (`#[kunit_tests]`) are for what they cannot see. They are compiled where
//! these files are part of the kernel, as `make upstream` makes them: KUnit would run those of a
//! module each time it is loaded, and taint the kernel.

// Safe code can raise some counts without bound, by forgetting the guards: that of a percpu_ref,
// which is a `long`. With 64 bits they do not wrap.
kernel::static_assert!(kernel::ffi::c_ulong::BITS == 64, "the counts need 64 bits");

// For the kernel crate: what it lacks, under the names that it would have there.
pub mod any_cstring;
pub mod context;
mod field;
pub mod ida;
pub mod name_hash;
pub mod preempt;
pub mod slab;
pub mod sync;
pub mod unload;
pub mod workqueue;

// For this module: what it needs of a subsystem, and what the kernel crate has in another form.
#[cfg(CONFIG_CGROUPS)]
pub mod cgroup;
pub mod debugfs;
pub mod exec;
pub mod gfp;
pub mod ticks;
pub mod tracepoint;

/// Declarations of `include/helpers.h`, made by bindgen when the module is built.
///
/// Visible to the crate for what [`tracepoint::trace_events!`] expands to. All other code outside
/// of this folder goes without ("make lint" checks that).
#[allow(missing_docs, improper_ctypes, clippy::all, unreachable_pub)]
pub(crate) mod helpers {
    use kernel::{bindings::*, ffi};
    include!(env!("RUST_KMEMCG_BINDINGS"));
}
