// SPDX-License-Identifier: GPL-2.0

//! Groups that are real cgroups: what is left of that on a kernel without `CONFIG_CGROUPS`.

use crate::{
    abstractions::{rcu_slot::Reader, unload},
    protocol::{FindGroup, Group, Kmemcg, Root},
};
use core::convert::Infallible;
use kernel::{prelude::*, sync::Arc};

/// The binding of groups to cgroups, of which there are none.
pub struct Cgroups {}

/// What there is to tell of an attachment.
pub struct Status {
    /// How many cgroups are followed.
    pub followed: usize,
    /// How many could not be.
    pub missed: u64,
    /// How many walks there were.
    pub walks: u64,
}

/// Who pays: nobody.
pub struct Memcg(Infallible);

impl Memcg {
    /// Is never called.
    pub fn charge<R>(&self, _f: impl FnOnce() -> R) -> R {
        match self.0 {}
    }
}

impl Cgroups {
    /// Binds nothing.
    pub fn new(_kmemcg: &Arc<Kmemcg>, _module: &unload::Handle) -> impl PinInit<Self> {
        pin_init::init!(Self {})
    }

    /// # Errors
    ///
    /// `EOPNOTSUPP`, always.
    pub fn attach(&self) -> Result {
        pr_err!("the kernel is built without CONFIG_CGROUPS: there is nothing to attach to\n");
        Err(EOPNOTSUPP)
    }

    /// # Errors
    ///
    /// `EBUSY`, always: it is not attached.
    pub fn detach(&self) -> Result {
        Err(EBUSY)
    }

    /// None: it is not attached.
    pub fn status(&self) -> Option<Status> {
        None
    }

    /// None.
    pub fn payer(_root: &Root, _group: &Group) -> Option<Memcg> {
        None
    }
}

impl FindGroup for Cgroups {
    fn find_group<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        None
    }
}
