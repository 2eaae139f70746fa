// SPDX-License-Identifier: GPL-2.0

//! The control plane: `/sys/kernel/debug/rust_kmemcg/`.
//!
//! One small command a write, one record (`key=value ...`) a line in a read. A write that is not
//! understood or not possible changes nothing and fails with:
//!
//! | errno | meaning |
//! |---|---|
//! | `EINVAL` | not a command of this file, or a word too many or too few, or a bad name |
//! | `ERANGE` | a number out of its range |
//! | `E2BIG` | longer than 512 bytes |
//! | `ENOENT` | no root, group or handle of that name |
//! | `EEXIST` | the name is in use |
//! | `EBUSY` | objects live; or somebody else is destroying the root; or what is to be done was done already |
//! | `ENODEV` | the root is being destroyed |
//! | `ENOSPC` | too many groups |
//! | `ENOMEM` | no memory |
//! | `EOPNOTSUPP` | a free in a hard interrupt, on PREEMPT_RT; or cgroups that the kernel does not have |

mod cgroups;
mod command;
mod groups;
mod levers;
mod objects;
mod roots;

use crate::{
    abstractions::{
        debugfs::{File, Folder},
        unload,
    },
    cgroup::Cgroups,
    protocol::Kmemcg,
};
use kernel::{
    prelude::*,
    sync::{Arc, Mutex},
    ModuleMetadata,
};

static FILES: [File<Control>; 8] = [
    roots::FILE,
    groups::FILE,
    roots::CHILDREN,
    roots::STATS,
    objects::FILE,
    cgroups::FILE,
    levers::GRACE_PERIOD,
    levers::WORKQUEUE,
];

/// What the files show and change. The fields are dropped in this order: the objects before the
/// caches that they are of.
#[pin_data]
struct Control {
    #[pin]
    objects: Mutex<KVec<objects::Handle>>,
    #[pin]
    levers: Mutex<levers::Levers>,
    cgroups: Arc<Cgroups>,
    kmemcg: Arc<Kmemcg>,
}

/// The control plane, as long as it exists. Dropping it frees the objects that it holds.
pub struct Plane {
    _folder: Folder<Control>,
}

impl Plane {
    /// Makes the files for `kmemcg` and `cgroups`, which belong to the module `M`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENODEV` or `EPERM` where debugfs is switched off.
    pub fn new<M: ModuleMetadata + 'static>(
        kmemcg: &Arc<Kmemcg>,
        cgroups: &Arc<Cgroups>,
        module: &unload::Handle,
    ) -> Result<Self> {
        let control = Arc::pin_init(
            try_pin_init!(Control {
                objects <- kernel::new_mutex!(KVec::new(), "rust_kmemcg::objects"),
                levers <- kernel::new_mutex!(levers::Levers::new(module)?, "rust_kmemcg::levers"),
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
