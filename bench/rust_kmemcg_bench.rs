// SPDX-License-Identifier: GPL-2.0

//! What the protocol costs.
//!
//! In debugfs, the folder `rust_kmemcg_bench`: a measurement that is written to `run`, with its
//! argument, is carried out; `result` has what came out, a name and a value on each line. Times are in
//! thousandths of a nanosecond for one operation: in a machine whose clock counts instructions
//! (`scripts/vm --icount`), thousandths of an instruction.
//!
//! | measurement | what |
//! |---|---|
//! | `cost SIZE` | allocate and free: `handle`, `lookup` (by a group), `current` (the task's cgroup), in bulk |
//! | `groups N` | `lookup` and the last free with so many groups |
//! | `offline N` | group offline with so many children |
//! | `destroy N` | so many plain caches destroyed one after the other |
//! | `release N` | so many caches released, and destroyed one after the other |
//! | `parallel N` | alloc and free on both CPUs, N pairs each |
//! | `keep groups N`, `keep children N`, `keep caches N`, `keep nothing` | for who measures memory |
//!
//! `scripts/bench` does all that and compares.

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
mod parallel;
mod release;
mod world;

use abstractions::{
    debugfs::{File, Folder},
    unload,
};
use kernel::{
    prelude::*,
    seq_print,
    str::CString,
    sync::{new_mutex, Arc, Mutex},
};
use world::{Kept, World};

module! {
    type: RustKmemcgBench,
    name: "rust_kmemcg_bench",
    authors: ["The rust_kmemcg developers"],
    description: "What rust_kmemcg costs",
    license: "GPL v2",
}

/// What was measured: names and values.
pub(crate) struct Results(KVec<(CString, u64)>);

impl Results {
    pub(crate) fn add(&mut self, name: kernel::fmt::Arguments<'_>, value: u64) -> Result {
        Ok(self
            .0
            .push((CString::try_from_fmt(name)?, value), GFP_KERNEL)?)
    }
}

/// The fields are dropped in this order.
#[pin_data]
struct Control {
    #[pin]
    results: Mutex<Results>,
    #[pin]
    kept: Mutex<Option<Kept>>,
    #[pin]
    world: World,
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

fn run(control: &Control, command: &str) -> Result {
    let mut words = command.split(' ');
    let what = words.next().ok_or(EINVAL)?;
    let results = &mut *control.results.lock();
    let world = &control.world;
    results.0.clear();
    if what == "keep" {
        let kind = words.next().ok_or(EINVAL)?;
        let number = words.next().map_or(Ok(0), str::parse).map_err(|_| EINVAL)?;
        let mut kept = control.kept.lock();
        if let Some(kept) = kept.take() {
            kept.end(world)?;
        }
        *kept = Some(Kept::new(world, kind, number)?);
        return Ok(());
    }
    let number: u32 = words.next().ok_or(EINVAL)?.parse().map_err(|_| EINVAL)?;
    match what {
        "cost" => cost::cost(world, number, results),
        "groups" => cost::groups(world, number, results),
        "offline" => release::offline(world, number, results),
        "destroy" => release::destroy(world, number, results),
        "release" => release::release(world, number, results),
        "parallel" => parallel::parallel(world, number, results),
        _ => Err(EINVAL),
    }
}

/// The fields are dropped in this order.
#[pin_data]
struct RustKmemcgBench {
    control: Folder<Control>,
    twin: ffi::Twin,
    #[pin]
    anchor: unload::Anchor<Self>,
}

impl kernel::InPlaceModule for RustKmemcgBench {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            anchor <- unload::Anchor::new(),
            twin: ffi::Twin::new()?,
            control: {
                let module = anchor.handle();
                let control = Arc::pin_init(
                    try_pin_init!(Control {
                        results <- new_mutex!(Results(KVec::new())),
                        kept <- new_mutex!(None),
                        world <- World::new(module),
                    }),
                    GFP_KERNEL,
                )?;
                Folder::new::<Self>(c"rust_kmemcg_bench", control, &FILES, module)?
            },
        })
    }
}
