// SPDX-License-Identifier: GPL-2.0

//! The allocation path, and the objects that it returns.
//!
//! It takes no lock and reads no flag: a lookup under RCU, and a reference on the child's count.

use super::{
    child::{Child, Group, Root},
    create, //
};
use crate::{
    abstractions::{
        preempt,
        slab::{
            self,
            Bulk,
            Memory,
            Reference, //
        },
        sync::{
            percpu_ref::{
                Guard,
                PercpuRef, //
            },
            rcu::slot::{
                self,
                Reader, //
            }, //
        }, //
    },
    impl_foreign, //
};
use core::{mem::MaybeUninit, ptr::NonNull};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::Arc, //
};

/// Memory for an object: from a child, or from the root's own cache.
///
/// Dropping it frees it. Context of the drop: where `kmem_cache_free()` is legal.
pub struct ChildObject(slab::Object<Memory, Reference<Child>>);

impl_foreign! { impl Foreign for ChildObject { self.0 } }

impl ChildObject {
    #[inline(always)]
    fn new(reference: Guard<Child>, flags: Flags) -> Result<Self> {
        Ok(Self(slab::Object::memory(reference.into(), flags)?))
    }

    /// The memory.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }

    /// The root.
    pub fn root(&self) -> &Arc<Root> {
        self.0.owner().root()
    }

    /// Number of the child; 0 is the root's own cache.
    pub fn child(&self) -> u64 {
        self.0.owner().number()
    }

    /// Is the count of the child's objects exact, so that the last free releases it? Not while it
    /// serves allocations, nor in the grace period after that.
    pub fn is_exact(&self) -> bool {
        self.0.owner().is_exact()
    }
}

/// Memory for several objects of a child.
pub struct ChildObjects<'a>(Bulk<'a, Reference<Child>>);

impl ChildObjects<'_> {
    /// The memory of each object.
    pub fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        self.0.iter()
    }
}

/// Finds the group that an object is allocated for.
pub trait FindGroup {
    /// The group; none where the root's own cache is to serve. Context: that of the allocation, as an RCU
    /// reader; must not sleep.
    ///
    /// A group is freed no earlier than a grace period after it was last found: so its index in the lookup
    /// is its own for as long as `reader` lives.
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>>;
}

impl FindGroup for Option<&Arc<Group>> {
    #[inline]
    fn find_group<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
        *self
    }
}

impl Root {
    /// Allocates an object for a group, or for none.
    ///
    /// The group and the root are of the same [`Kmemcg`](super::Kmemcg): the index of any other group
    /// leads to a child of some group.
    ///
    /// The first objects of a group come from the root's own cache, until a worker has made the
    /// group's child. Takes no lock where there is a child. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the root is being destroyed, or was.
    #[inline(always)]
    pub fn alloc(
        self: &Arc<Self>,
        group: Option<&Arc<Group>>,
        flags: Flags,
    ) -> Result<ChildObject> {
        self.alloc_for(&group, flags)
    }

    /// As [`alloc`](Self::alloc), for the group that is found under RCU.
    #[inline(always)]
    pub fn alloc_for(
        self: &Arc<Self>,
        whose: &impl FindGroup,
        flags: Flags,
    ) -> Result<ChildObject> {
        match self.lookup(whose) {
            // The reference keeps the child alive: the allocation may sleep.
            Some(reference) => ChildObject::new(reference, flags),
            None => self.alloc_slow(whose, flags),
        }
    }

    /// The child of a group, for many allocations without a lookup; none where the group has no child
    /// that serves. Context: any.
    pub fn child(&self, group: &Arc<Group>) -> Option<HeldChild> {
        self.lookup(&Some(group)).map(HeldChild)
    }

    /// The child, if it is there and its count is per-CPU, as it is while it serves.
    #[inline(always)]
    fn lookup(&self, whose: &impl FindGroup) -> Option<Guard<Child>> {
        preempt::find(|section| {
            let group = whose.find_group(section)?;
            let child = self.slots.load(group.index(), section)?;
            PercpuRef::tryget_percpu(child, section)
        })
    }

    /// Allocates from the root's own cache, where there is no child, and requests one for a group that is
    /// online.
    #[cold]
    fn alloc_slow(self: &Arc<Self>, whose: &impl FindGroup, flags: Flags) -> Result<ChildObject> {
        let mut childless = None;
        let (reference, is_own) = slot::read(|reader| {
            if let Some(group) = whose.find_group(reader) {
                match self.slots.load(group.index(), reader) {
                    Some(child) => {
                        if let Some(reference) = PercpuRef::tryget_live(child) {
                            return Ok((reference, false));
                        }
                    }
                    None if group.is_online() => childless = Some(group.clone()),
                    None => (),
                }
            }
            let own = self.own.load(reader).ok_or(ENODEV)?;
            let reference = PercpuRef::tryget_live(own).ok_or(ENODEV)?;
            Ok::<_, Error>((reference, true))
        })?;
        if !is_own {
            return ChildObject::new(reference, flags);
        }
        // If the allocation failed, do not request a child.
        let object = ChildObject::new(reference, flags)?;
        self.stats.allocations_root.count();
        if let Some(group) = childless {
            create::request(self, &group);
        }
        Ok(object)
    }
}

/// A reference on a child: like an object, it keeps the child from being released.
pub struct HeldChild(Guard<Child>);

impl HeldChild {
    /// Allocates an object. Takes no lock. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the group of the child is offline, or its root is being destroyed.
    #[inline]
    pub fn alloc(&self, flags: Flags) -> Result<ChildObject> {
        let reference = PercpuRef::tryget_live(&*self.0).ok_or(ENODEV)?;
        ChildObject::new(reference, flags)
    }

    /// Allocates as many objects as `space` has room for, or none. They share one reference on the child.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    #[inline]
    pub fn alloc_bulk<'a>(
        &self,
        space: &'a mut [MaybeUninit<*mut u8>],
        flags: Flags,
    ) -> Result<ChildObjects<'a>> {
        let reference = PercpuRef::tryget_live(&*self.0).ok_or(ENODEV)?;
        Ok(ChildObjects(Bulk::memory(reference.into(), space, flags)?))
    }
}
