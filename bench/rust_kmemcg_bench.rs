// SPDX-License-Identifier: GPL-2.0

//! Measures what the protocol costs.
//!
//! The folder `rust_kmemcg_bench` in debugfs has two files. Writing a measurement and its argument to
//! `run` carries it out; reading `result` returns its results, a name and a value on each line. Times
//! are in thousandths of a nanosecond for one operation; in a machine whose clock counts instructions
//! (`scripts/vm/vm --icount`) that is thousandths of an instruction.
//!
//! | measurement | what is measured |
//! |---|---|
//! | `cost SIZE` | allocate and free: `handle`, `lookup` (by a group), `current` (the task's cgroup), in bulk |
//! | `groups N` | `lookup` and the last free with N groups |
//! | `offline N` | offline of a group with N children |
//! | `inherited N` | offline of a group with 10 children that has inherited N more |
//! | `names N` | find, and create, find and offline, a group by its name, and the offline of one with a subgroup, with N groups |
//! | `destroy N` | N plain caches destroyed one after the other |
//! | `release N` | N children released, and N plain caches destroyed one after the other |
//! | `parallel N` | N pairs of allocate and free on one CPU, and on each of two |
//! | `keep groups N`, `keep children N`, `keep caches N`, `keep nothing` | nothing: each keeps what it names, for `guest.sh` to measure the memory |
//!
//! `scripts/test/bench` runs all of them and compares the results.

#![allow(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[path = "../abstractions/mod.rs"]
#[allow(dead_code)]
pub mod abstractions;
#[cfg_attr(CONFIG_CGROUPS, path = "../cgroup/mod.rs")]
#[cfg_attr(not(CONFIG_CGROUPS), path = "../cgroup/none.rs")]
#[allow(dead_code)]
pub mod cgroup;
#[path = "../protocol/mod.rs"]
#[allow(dead_code)]
pub mod protocol;

mod cost;
mod ffi;
mod fixture;
mod parallel;
mod release;

use abstractions::{
    debugfs::{File, Folder},
    unload,
};
use fixture::{Fixture, Kept};
use kernel::{
    prelude::*,
    seq_print,
    str::CString,
    sync::{new_mutex, Arc, Mutex},
};

crate::anchored_module! {
    type: RustKmemcgBench,
    name: "rust_kmemcg_bench",
    authors: ["The rust_kmemcg developers"],
    description: "Benchmark of rust_kmemcg",
    license: "GPL v2",
}

/// The results of the last measurement: names and values.
pub(crate) struct Results(KVec<(CString, u64)>);

impl Results {
    pub(crate) fn add(&mut self, name: kernel::fmt::Arguments<'_>, value: u64) -> Result {
        Ok(self
            .0
            .push((CString::try_from_fmt(name)?, value), GFP_KERNEL)?)
    }
}

/// What the files show and change.
#[pin_data]
struct Control {
    #[pin]
    results: Mutex<Results>,
    #[pin]
    kept: Mutex<Option<Kept>>,
    #[pin]
    fixture: Fixture,
}

static FILES: [File<Control>; 2] = [
    File {
        name: c"result",
        show: Some(|control, seq| {
            for (name, value) in control.results.lock().0.iter() {
                seq_print!(seq, "{} {}\n", &**name, value);
            }
        }),
        store: None,
    },
    File {
        name: c"run",
        show: None,
        store: Some(run),
    },
];

/// Carries out a measurement. `EINVAL` if there is none of that name, or its argument is malformed.
fn run(control: &Control, command: &str) -> Result {
    let mut words = command.split(' ');
    let what = words.next().ok_or(EINVAL)?;
    let results = &mut *control.results.lock();
    let fixture = &control.fixture;
    results.0.clear();
    if what == "keep" {
        let kind = words.next().ok_or(EINVAL)?;
        let number = words.next().map_or(Ok(0), str::parse).map_err(|_| EINVAL)?;
        let mut kept = control.kept.lock();
        if let Some(kept) = kept.take() {
            kept.teardown(fixture)?;
        }
        *kept = Some(Kept::new(fixture, kind, number)?);
        return Ok(());
    }
    let number: u32 = words.next().ok_or(EINVAL)?.parse().map_err(|_| EINVAL)?;
    match what {
        "cost" => cost::cost(fixture, number, results),
        "groups" => cost::groups(fixture, number, results),
        "offline" => release::offline(fixture, number, results),
        "inherited" => release::inherited(fixture, number, results),
        "names" => release::names(fixture, number, results),
        "destroy" => release::destroy(fixture, number, results),
        "release" => release::release(fixture, number, results),
        "parallel" => parallel::parallel(fixture, number, results),
        _ => Err(EINVAL),
    }
}

/// The module. The fields are dropped in this order.
#[pin_data]
struct RustKmemcgBench {
    control: Folder<Control>,
    twin: ffi::TwinQueue,
}

impl unload::Module for RustKmemcgBench {
    fn init(module: &unload::Handle) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            twin: ffi::TwinQueue::new()?,
            control: {
                let control = Arc::pin_init(
                    try_pin_init!(Control {
                        results <- new_mutex!(Results(KVec::new())),
                        kept <- new_mutex!(None),
                        fixture <- Fixture::new(module),
                    }),
                    GFP_KERNEL,
                )?;
                Folder::new::<Self>(c"rust_kmemcg_bench", control, &FILES, module)?
            },
        })
    }
}
