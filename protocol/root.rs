// SPDX-License-Identifier: GPL-2.0

//! A root cache, and the allocation path.

use super::{
    child::{Child, Stage},
    create,
    gate::{Gate, Phase, Releases},
    group::{Group, Groups, MAX_GROUPS},
    stats::Stats,
};
use crate::abstractions::{
    kmem_cache::{self, Memory, Options},
    percpu_ref::{Guard, PercpuRef},
    rcu_slot::RcuSlot,
};
use core::alloc::Layout;
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    str::{CStr, CString},
    sync::{atomic::AtomicFlag, rcu, Arc, SetOnce},
};

/// Memory for an object: of a child, or of the root's own cache.
pub type Object = kmem_cache::Object<Memory, Guard<Child>>;

/// Knows for which group something is allocated.
pub trait FindGroup {
    /// The group; none where the root's own cache is to serve. Context: that of the allocation, in an RCU
    /// read-side critical section.
    ///
    /// A group that can be found is freed no earlier than a grace period after it can not be any more: so
    /// its place in the lookup is its own for as long as `guard`.
    fn find_group<'a>(&'a self, guard: &'a rcu::Guard) -> Option<&'a Arc<Group>>;
}

impl FindGroup for Option<&Arc<Group>> {
    #[inline]
    fn find_group<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a Arc<Group>> {
        *self
    }
}

/// A root cache.
#[pin_data]
pub struct Root {
    number: u64,
    name: CString,
    layout: Layout,
    options: Options,
    #[pin]
    gate: Gate,
    /// The root's own cache.
    own: RcuSlot<Child>,
    slots: KBox<Slots>,
    stats: Stats,
    groups: Arc<Groups>,
}

impl Root {
    /// Makes a root with its own cache. Context: may sleep.
    pub(super) fn new(
        number: u64,
        name: &str,
        layout: Layout,
        options: Options,
        groups: &Arc<Groups>,
        releases: &Arc<Releases>,
    ) -> Result<Arc<Self>> {
        let root = Arc::pin_init(
            try_pin_init!(Self {
                number,
                name: CString::try_from_fmt(fmt!("{name}"))?,
                layout,
                options,
                gate <- Gate::new(releases),
                own: RcuSlot::new(),
                slots: KBox::init(Slots::new(), GFP_KERNEL)?,
                stats: Stats::new(),
                groups: groups.clone(),
            }),
            GFP_KERNEL,
        )?;
        let cache_name = CString::try_from_fmt(fmt!("kmemcg:{name}.{number}"))?;
        let own = Child::new(&root, 0, 0, None, &cache_name)?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        // Nothing can fail from here: what is listed is taken apart by a destroy only.
        root.gate.enter().adopt(&own, node)?;
        PercpuRef::start(&own)?;
        root.own.publish(own).map_err(|_| EEXIST)?;
        Ok(root)
    }

    /// Its number: not used twice in the life of the module.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.to_bytes() == name.as_bytes() && self.gate.enter().is_named()
    }

    /// Size and alignment of its objects.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How its caches are made.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Is it being destroyed?
    pub fn phase(&self) -> Phase {
        self.gate.enter().phase()
    }

    /// What it has counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Calls `f` for the root's own cache and each child, with the gate held: `f` must not sleep, and
    /// must not take or put references.
    pub fn for_each_child(&self, mut f: impl FnMut(&Child, Stage)) {
        let mut from = Some(0);
        while let Some(number) = from {
            from = self.gate.enter().walk(number, &mut f);
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Where the lookup leads to this child, if it does.
    pub(super) fn slot_of(&self, child: &Child) -> Option<&RcuSlot<Child>> {
        match child.slot() {
            Some(index) => self.slots.get(index).map(|slot| &slot.child),
            None => Some(&self.own),
        }
    }

    /// Allocates an object for a group, or for none.
    ///
    /// The first objects of a group come from the root's own cache, until a worker has made the
    /// group's child. Takes no lock where there is a child. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the root is being destroyed, or was.
    #[inline]
    pub fn alloc(self: &Arc<Self>, group: Option<&Arc<Group>>, flags: Flags) -> Result<Object> {
        self.alloc_for(&group, flags)
    }

    /// As [`alloc`](Self::alloc), for the group that is found under RCU.
    #[inline]
    pub fn alloc_for(self: &Arc<Self>, whose: &impl FindGroup, flags: Flags) -> Result<Object> {
        let guard = rcu::read_lock();
        if let Some(group) = whose.find_group(&guard) {
            let slot = self.slots.get(group.index());
            match slot.and_then(|slot| slot.child.load(&guard)) {
                Some(child) => {
                    if let Some(reference) = PercpuRef::tryget_live(child) {
                        // It keeps the child alive: the allocation may sleep.
                        drop(guard);
                        return Object::memory(reference, flags);
                    }
                }
                None => {
                    let group = group.clone();
                    drop(guard);
                    create::request(self, &group, flags);
                }
            }
        } else {
            drop(guard);
        }
        let guard = rcu::read_lock();
        let own = self.own.load(&guard).ok_or(ENODEV)?;
        let reference = PercpuRef::tryget_live(own).ok_or(ENODEV)?;
        drop(guard);
        let object = Object::memory(reference, flags)?;
        self.stats.allocations_root.count();
        Ok(object)
    }
}

/// How many slots are allocated together: a page of them.
const CHUNK: usize = 256;

/// The children of a root, by the index of their group: an array in pieces, which are made when
/// they are needed and live as long as the root. A lookup is two loads, however many groups.
pub(super) struct Slots {
    chunks: [SetOnce<KBox<Chunk>>; MAX_GROUPS / CHUNK],
}

struct Chunk {
    slots: [Slot; CHUNK],
}

/// The place of one group's child.
pub(super) struct Slot {
    pub(super) child: RcuSlot<Child>,
    /// Somebody asked for the child, and the worker is not done with it.
    pub(super) requested: AtomicFlag,
}

impl Slots {
    fn new() -> impl Init<Self> {
        init!(Self {
            chunks <- pin_init::init_array_from_fn(|_| SetOnce::new()),
        })
    }

    /// The slot of a group; none where its piece was not made yet.
    pub(super) fn get(&self, index: u32) -> Option<&Slot> {
        let index = index as usize;
        self.chunks
            .get(index / CHUNK)?
            .as_ref()?
            .slots
            .get(index % CHUNK)
    }

    /// The slot of a group; makes its piece. Context: as `flags` say.
    pub(super) fn get_or_make(&self, index: u32, flags: Flags) -> Result<&Slot> {
        if self.get(index).is_none() {
            let chunk = KBox::init(
                init!(Chunk {
                    slots <- pin_init::init_array_from_fn(|_| Slot {
                        child: RcuSlot::new(),
                        requested: AtomicFlag::new(false),
                    }),
                }),
                flags,
            )?;
            // Where somebody was faster, ours is dropped; theirs may not be visible yet.
            self.chunks
                .get(index as usize / CHUNK)
                .ok_or(EINVAL)?
                .populate(chunk);
        }
        self.get(index).ok_or(EAGAIN)
    }
}
