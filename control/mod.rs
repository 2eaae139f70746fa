// SPDX-License-Identifier: GPL-2.0

//! The control plane: the files in `/sys/kernel/debug/rust_kmemcg/`.
//!
//! Each write is one command. A read returns one record (`key=value ...`) a line. A write that fails
//! changes nothing; `docs/knobs.md` says what each errno means.

mod cgroups;
mod command;
mod groups;
mod objects;
mod roots;
mod test_knobs;

use crate::{
    abstractions::{
        debugfs::{File, Folder},
        unload, //
    },
    cgroup::Cgroups,
    protocol::Kmemcg,
};
use kernel::{
    prelude::*,
    sync::{Arc, Mutex},
    ModuleMetadata, //
};

static FILES: [File<Control>; 8] = [
    roots::FILE,
    groups::FILE,
    roots::CHILDREN,
    roots::STATS,
    objects::FILE,
    cgroups::FILE,
    test_knobs::GRACE_PERIOD,
    test_knobs::WORKQUEUE,
];

/// What the files show and change. The fields are dropped in this order: objects before the roots that
/// they were allocated from.
#[pin_data]
struct Control {
    #[pin]
    objects: Mutex<KVec<objects::NamedObjects>>,
    #[pin]
    test_knobs: Mutex<test_knobs::TestKnobs>,
    cgroups: Arc<Cgroups>,
    kmemcg: Arc<Kmemcg>,
}

/// The files. Dropping it removes them, waits for reads and writes in progress, and frees the objects
/// that were allocated through them. Context of the drop: may sleep.
pub struct Plane {
    _folder: Folder<Control>,
}

impl Plane {
    /// Creates the files for `kmemcg` and `cgroups`, with the module `M` as their owner. Context: may
    /// sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`, `EPERM`: debugfs is disabled.
    pub fn new<M: ModuleMetadata + 'static>(
        kmemcg: &Arc<Kmemcg>,
        cgroups: &Arc<Cgroups>,
        module: &unload::Handle,
    ) -> Result<Self> {
        let control = Arc::pin_init(
            try_pin_init!(Control {
                objects <- kernel::new_mutex!(KVec::new(), "rust_kmemcg::objects"),
                test_knobs <- kernel::new_mutex!(
                    test_knobs::TestKnobs::new(module)?,
                    "rust_kmemcg::test_knobs"
                ),
                cgroups: cgroups.clone(),
                kmemcg: kmemcg.clone(),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _folder: Folder::new::<M>(c"rust_kmemcg", control, &FILES, module)?,
        })
    }
}
