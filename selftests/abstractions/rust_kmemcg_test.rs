// SPDX-License-Identifier: GPL-2.0

//! Tests of `abstractions/`, run in the kernel.
//!
//! In debugfs, the folder `rust_kmemcg_test`: `list` has the names of the tests, one on a line; a
//! name that is written to `run` runs that test, and the write fails when the test does: with
//! `EINVAL` where something was not as expected, which a line in the kernel's log says, with
//! `EOPNOTSUPP` where the test is not possible here, or with the error that the test ran into.
//! `selftests/abstractions.sh` does all that.

#![allow(missing_docs)]
// What a `Typesafe` is made from is meant to change afterwards.
#![allow(clippy::declare_interior_mutable_const, clippy::type_complexity)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[macro_use]
mod support;

#[path = "../../abstractions/mod.rs"]
#[allow(dead_code)]
pub mod abstractions;

mod any_cstring;
mod call_rcu;
#[cfg(CONFIG_CGROUPS)]
mod cgroup;
mod debugfs;
mod exec;
mod name_hash;
mod node;
mod percpu_ref;
mod percpu_ref_released;
mod percpu_ref_session;
mod percpu_ref_switch;
mod preempt;
mod rcu_array;
mod rcu_hash;
mod rcu_slot;
mod slab;
mod slab_bulk;
mod slab_counted;
mod slab_rcu;
mod slab_reaper;
mod slab_scoped;
mod slab_static;
mod slab_static_memory;
mod slab_typesafe;
mod tracepoint;
mod unload;
mod workqueue;
mod workqueue_cancel;
mod workqueue_item;
mod workqueue_scoped;

use abstractions::{
    debugfs::{
        File,
        Folder, //
    },
    sync::rcu::call_rcu::Callbacks,
    unload::{
        Handle,
        Module, //
    }, //
};
use kernel::{
    prelude::*,
    seq_print,
    sync::{
        atomic::{Acquire, Atomic, Release},
        new_mutex, Arc, Mutex,
    },
};

crate::anchored_module! {
    type: RustKmemcgTest,
    name: "rust_kmemcg_test",
    authors: ["The rust_kmemcg developers"],
    description: "Tests of the abstractions of rust_kmemcg",
    license: "GPL v2",
}

/// All tests.
static TOPICS: &[&[support::Test]] = &[
    slab::TESTS,
    slab_scoped::TESTS,
    slab_bulk::TESTS,
    slab_counted::TESTS,
    slab_reaper::TESTS,
    slab_rcu::TESTS,
    slab_typesafe::TESTS,
    slab_static::TESTS,
    slab_static_memory::TESTS,
    percpu_ref::TESTS,
    percpu_ref_released::TESTS,
    percpu_ref_switch::TESTS,
    any_cstring::TESTS,
    name_hash::TESTS,
    preempt::TESTS,
    call_rcu::TESTS,
    rcu_slot::TESTS,
    rcu_array::TESTS,
    rcu_hash::TESTS,
    workqueue::TESTS,
    workqueue_cancel::TESTS,
    workqueue_scoped::TESTS,
    exec::TESTS,
    debugfs::TESTS,
    tracepoint::TESTS,
    #[cfg(CONFIG_CGROUPS)]
    cgroup::TESTS,
    unload::TESTS,
];

/// One test runs at a time.
#[pin_data]
struct Control {
    #[pin]
    running: Mutex<()>,
}

static FILES: [File<Control>; 2] = [
    File {
        name: c"list",
        show: Some(|_, seq| {
            for test in TOPICS.iter().copied().flatten() {
                seq_print!(seq, "{}\n", test.name);
            }
        }),
        store: None,
    },
    File {
        name: c"run",
        show: None,
        store: Some(|control, name| {
            let mut tests = TOPICS.iter().copied().flatten();
            let test = tests.find(|test| test.name == name).ok_or(ENOENT)?;
            let _running = control.running.lock();
            support::run(test)
        }),
    },
];

/// That of the module's anchor, for the tests; not a clone, which a static would keep for ever.
static HANDLE: Atomic<*mut Handle> = Atomic::new(core::ptr::null_mut());

fn handle() -> Result<&'static Handle> {
    // SAFETY: Null, or pinned in the memory of this module; the file that runs the tests is gone before
    // it is dropped.
    unsafe { HANDLE.load(Acquire).as_ref() }.ok_or(ENODEV)
}

/// What a count of a test is started with.
fn hold() -> Result<&'static Handle> {
    handle()
}

fn callbacks() -> Result<Callbacks> {
    Ok(Callbacks::new(handle()?))
}

/// The fields are dropped in this order.
#[pin_data]
struct RustKmemcgTest {
    control: Folder<Control>,
    files: debugfs::Files,
}

impl Module for RustKmemcgTest {
    fn init(module: &Handle) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _: {
                HANDLE.store(core::ptr::from_ref(module).cast_mut(), Release);
            },
            control: Folder::new::<Self>(
                c"rust_kmemcg_test",
                Arc::pin_init(pin_init!(Control { running <- new_mutex!(()) }), GFP_KERNEL)?,
                &FILES,
                module,
            )?,
            files: debugfs::Files::new::<Self>(module)?,
        })
    }
}
