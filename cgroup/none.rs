// SPDX-License-Identifier: GPL-2.0

//! Replaces `cgroup/mod.rs` on a kernel without `CONFIG_CGROUPS`: the same functions, always detached.

use crate::{
    abstractions::{
        sync::rcu::slot::Reader,
        unload, //
    },
    protocol::{
        FindGroup,
        Group,
        Kmemcg,
        Root, //
    }, //
};
use core::convert::Infallible;
use kernel::{prelude::*, sync::Arc};

/// The binding of groups to cgroups, of which this kernel has none.
pub struct Cgroups {}

/// Counters of an attachment. No value is ever created.
pub struct Status {
    /// Number of cgroups that are groups.
    pub followed: usize,
    /// Number of cgroups that are no groups.
    pub missed: usize,
    /// Number of walks over all cgroups.
    pub walks: u64,
}

/// A memory cgroup. No value is ever created.
pub struct Memcg(Infallible);

impl Memcg {
    /// Cannot be called: there is no value.
    pub fn charge<R>(&self, _f: impl FnOnce() -> R) -> R {
        match self.0 {}
    }
}

impl Cgroups {
    /// Creates a detached binding.
    pub fn new(_kmemcg: &Arc<Kmemcg>, _module: &unload::Handle) -> impl PinInit<Self> {
        pin_init::init!(Self {})
    }

    /// Fails: this kernel has no cgroups.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, always.
    pub fn attach(&self) -> Result {
        pr_err!("the kernel is built without CONFIG_CGROUPS: there is nothing to attach to\n");
        Err(EOPNOTSUPP)
    }

    /// Fails: it is never attached.
    ///
    /// # Errors
    ///
    /// `EBUSY`, always.
    pub fn detach(&self) -> Result {
        Err(EBUSY)
    }

    /// Returns none: it is never attached.
    pub fn status(&self) -> Option<Status> {
        None
    }

    /// Returns none: there is no memory cgroup to charge.
    pub fn charge_target(_root: &Root, _group: &Group) -> Option<Memcg> {
        None
    }
}

/// Finds no group.
impl FindGroup for Cgroups {
    fn find_group<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        None
    }
}
