// SPDX-License-Identifier: GPL-2.0

//! A root cache, and the allocation path.

use super::{
    child::{Child, ChildView, Stage},
    create,
    gate::{Gate, Phase, Releases},
    group::{Group, Groups, MAX_GROUPS},
    stats::Stats,
};
use crate::{
    abstractions::{
        kmem_cache::{self, Bulk, Memory, Options, Reference},
        once_box::OnceBox,
        percpu_ref::{Guard, PercpuRef},
        preempt,
        rcu_slot::{RcuSlot, Reader},
    },
    impl_foreign,
};
use core::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    str::{CStr, CString},
    sync::{atomic::AtomicFlag, rcu, Arc},
};

/// Memory for an object: of a child, or of the root's own cache.
///
/// Dropping it frees it. Context of the drop: where `kmem_cache_free()` is legal.
pub struct Object(kmem_cache::Object<Memory, Reference<Child>>);

impl_foreign! { impl Foreign for Object { self.0 } }

impl Object {
    #[inline(always)]
    fn new(reference: Guard<Child>, flags: Flags) -> Result<Self> {
        Ok(Self(kmem_cache::Object::memory(reference.into(), flags)?))
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

    /// Is the count of the child's objects exact, so that the last one can release it? Not while it
    /// serves allocations, nor in the grace period after that.
    pub fn is_exact(&self) -> bool {
        self.0.owner().is_exact()
    }
}

/// Memory for several objects of a child.
pub struct Objects<'a>(Bulk<'a, Reference<Child>>);

impl Objects<'_> {
    /// The memory of each object.
    pub fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        self.0.iter()
    }
}

/// Knows for which group something is allocated.
pub trait FindGroup {
    /// The group; none where the root's own cache is to serve. Context: that of the allocation, as an RCU
    /// reader; must not sleep.
    ///
    /// A group that can be found is freed no earlier than a grace period after it can not be any more: so
    /// its place in the lookup is its own for as long as `reader`.
    fn find_group<'a>(&'a self, reader: &'a impl Reader) -> Option<&'a Arc<Group>>;
}

impl FindGroup for Option<&Arc<Group>> {
    #[inline]
    fn find_group<'a>(&'a self, _reader: &'a impl Reader) -> Option<&'a Arc<Group>> {
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
    #[pin]
    slots: Slots,
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
                slots <- Slots::new(),
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
        PercpuRef::start(&own, root.gate.hold())?;
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

    /// How many caches it has: its own, and those of children that are not destroyed yet.
    pub fn caches(&self) -> usize {
        self.gate.enter().undestroyed()
    }

    /// Calls `f` for the root's own cache and each child, with the gate held: `f` must not sleep, must
    /// not take or put references, and must not call anything of this root that takes the gate.
    pub fn for_each_child(&self, mut f: impl FnMut(ChildView<'_>)) {
        let mut f = |child: &Child, stage: Stage| f(ChildView::new(child, stage));
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
            Some(index) => self.slots.get(index).map(|slot| slot.child),
            None => Some(&self.own),
        }
    }

    /// Allocates an object for a group, or for none.
    ///
    /// The group is one of the [`Kmemcg`](super::Kmemcg) that the root is of; in another one's place in
    /// the lookup there may be the child of any group.
    ///
    /// The first objects of a group come from the root's own cache, until a worker has made the
    /// group's child. Takes no lock where there is a child. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the root is being destroyed, or was.
    #[inline(always)]
    pub fn alloc(self: &Arc<Self>, group: Option<&Arc<Group>>, flags: Flags) -> Result<Object> {
        self.alloc_for(&group, flags)
    }

    /// As [`alloc`](Self::alloc), for the group that is found under RCU.
    #[inline(always)]
    pub fn alloc_for(self: &Arc<Self>, whose: &impl FindGroup, flags: Flags) -> Result<Object> {
        match self.lookup(whose) {
            // It keeps the child alive: the allocation may sleep.
            Some(reference) => Object::new(reference, flags),
            None => self.alloc_slow(whose, flags),
        }
    }

    /// The child of a group, for many allocations without a lookup; none where it has none yet, or
    /// one that serves no more. Context: any.
    pub fn child(&self, group: &Arc<Group>) -> Option<Handle> {
        self.lookup(&Some(group)).map(Handle)
    }

    /// The child, if it is there and its count is per-CPU, as it is while it serves.
    #[inline(always)]
    fn lookup(&self, whose: &impl FindGroup) -> Option<Guard<Child>> {
        let section = preempt::disable();
        let group = whose.find_group(&section)?;
        let child = self.slots.get(group.index())?.child.load(&section)?;
        PercpuRef::tryget_percpu(child, &section)
    }

    /// From the root's own cache, where there is no child; asks for one.
    #[cold]
    fn alloc_slow(self: &Arc<Self>, whose: &impl FindGroup, flags: Flags) -> Result<Object> {
        let mut childless = None;
        let guard = rcu::read_lock();
        if let Some(group) = whose.find_group(&guard) {
            let slot = self.slots.get(group.index());
            match slot.and_then(|slot| slot.child.load(&guard)) {
                Some(child) => {
                    if let Some(reference) = PercpuRef::tryget_live(child) {
                        drop(guard);
                        return Object::new(reference, flags);
                    }
                }
                None => childless = Some(group.clone()),
            }
        }
        let own = self.own.load(&guard).ok_or(ENODEV)?;
        let reference = PercpuRef::tryget_live(own).ok_or(ENODEV)?;
        drop(guard);
        // Who gets no object has asked for no child either.
        let object = Object::new(reference, flags)?;
        self.stats.allocations_root.count();
        if let Some(group) = childless {
            create::request(self, &group, flags);
        }
        Ok(object)
    }
}

/// A child that is held, like an object of it: until this is dropped it is not released.
pub struct Handle(Guard<Child>);

impl Handle {
    /// Allocates an object. Takes no lock. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `ENODEV`: the child serves no more, as its group is offline, or its root is being
    /// destroyed.
    #[inline]
    pub fn alloc(&self, flags: Flags) -> Result<Object> {
        let reference = PercpuRef::tryget_live(&*self.0).ok_or(ENODEV)?;
        Object::new(reference, flags)
    }

    /// Allocates as many objects as `space` is long, or none, which count as one.
    ///
    /// # Errors
    ///
    /// As [`alloc`](Self::alloc).
    #[inline]
    pub fn alloc_bulk<'a>(
        &self,
        space: &'a mut [MaybeUninit<*mut u8>],
        flags: Flags,
    ) -> Result<Objects<'a>> {
        let reference = PercpuRef::tryget_live(&*self.0).ok_or(ENODEV)?;
        Ok(Objects(Bulk::memory(reference.into(), space, flags)?))
    }
}

/// How many slots are allocated together: a page of them.
const CHUNK: usize = 256;

/// The children of a root, by the index of their group: an array in pieces, which are made when
/// they are needed and live as long as the root. A lookup is two loads, however many groups.
pub(super) struct Slots {
    chunks: [OnceBox<Chunk>; MAX_GROUPS / CHUNK],
}

struct Chunk {
    children: [RcuSlot<Child>; CHUNK],
    requested: [AtomicFlag; CHUNK],
}

/// The place of one group's child.
pub(super) struct Slot<'a> {
    pub(super) child: &'a RcuSlot<Child>,
    /// Somebody asked for the child, and the worker is not done with it.
    pub(super) requested: &'a AtomicFlag,
}

impl Slots {
    fn new() -> impl Init<Self> {
        init!(Self {
            chunks <- pin_init::init_array_from_fn(|_| OnceBox::new()),
        })
    }

    /// The slot of a group; none where its piece was not made yet.
    #[inline]
    pub(super) fn get(&self, index: u16) -> Option<Slot<'_>> {
        // Both are in range, whatever the index: it has no more bits.
        let index = usize::from(index);
        let chunk = self.chunks[index / CHUNK].get()?;
        Some(Slot {
            child: &chunk.children[index % CHUNK],
            requested: &chunk.requested[index % CHUNK],
        })
    }

    /// The slot of a group; makes its piece. Context: as `flags` say.
    pub(super) fn get_or_make(&self, index: u16, flags: Flags) -> Result<Slot<'_>> {
        if self.get(index).is_none() {
            let chunk = KBox::init(
                init!(Chunk {
                    children <- pin_init::init_array_from_fn(|_| RcuSlot::new()),
                    requested <- pin_init::init_array_from_fn(|_| AtomicFlag::new(false)),
                }),
                flags,
            )?;
            // Where somebody was faster, ours is dropped.
            self.chunks[usize::from(index) / CHUNK].populate(chunk);
        }
        self.get(index).ok_or(EAGAIN)
    }
}
