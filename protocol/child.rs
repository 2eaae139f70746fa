// SPDX-License-Identifier: GPL-2.0

//! A root cache and its children: the slab cache that one group has of one root.
//!
//! The root's own cache is a child, too, number 0: it has no group, serves the groups that have no
//! child, and is released when the root is destroyed.
//!
//! Nothing happens here: what a child lives through is in `steps.rs`.

use super::{
    gate::{Gate, Inside, QueuesRef},
    group,
    slots::{Index, Slots},
    stage::{Event, Phase, RootEvent, Stage},
    stats::Stats, //
};
use crate::{
    abstractions::{
        slab::{
            Options,
            RawCache, //
        },
        sync::{
            percpu_ref::PercpuRef,
            rcu::{
                call_rcu::RcuHead,
                slot::{
                    RcuSlot,
                    Retired, //
                }, //
            }, //
        },
        ticks::Ticks, //
    },
    impl_has_cache,
    impl_has_percpu_ref,
    impl_has_rcu_head, //
};
use core::{alloc::Layout, ops::DerefMut};
use kernel::{
    prelude::*,
    str::{CStr, CString},
    sync::{
        atomic::{Acquire, AtomicFlag, Release},
        new_mutex,
        Arc,
        LockedBy,
        Mutex, //
    },
    workqueue::{impl_has_work, new_work, Work}, //
};

/// A group, which owns children.
pub type Group = group::Group<Child>;

/// A group that is not in the tree yet.
pub type NewGroup = group::NewGroup<Child>;

pub(super) type Groups = group::Groups<Child>;

type Owner = group::Owner<Child>;

/// Which of a child's works, and which of its RCU callbacks.
pub(super) const DEACTIVATION: u64 = 0;
pub(super) const SHUTDOWN: u64 = 1;

/// What the gate protects of a child.
struct Life {
    stage: Stage,
    since: Ticks,
    /// The worker that makes the child holds a reference on its count.
    in_making: bool,
    /// The child as the lookup had it, for a step that may wait for readers.
    stashed: Option<Retired<Child>>,
}

/// The slab cache that one group has of one root.
///
/// A group allocates: a worker makes the child, and it serves. Its group goes offline: the child leaves
/// the lookup, is deactivated, and lives as long as an object of it. Its root is destroyed: the destroyer
/// kills its count, and either shuts it down itself or, where objects live, brings it back.
/// [`Stage`] has the sequences.
///
/// The fields are dropped in this order: the cache first, its last trace event last. The first two
/// are all that the allocation path needs: one cache line.
#[pin_data]
#[repr(C)]
pub struct Child {
    pub(super) cache: RawCache,
    #[pin]
    pub(super) refs: PercpuRef<Child>,
    #[pin]
    rcu: RcuHead<Child>,
    #[pin]
    deactivation: Work<Child, DEACTIVATION>,
    #[pin]
    shutdown: Work<Child, SHUTDOWN>,
    life: LockedBy<Life, Inside<Child>>,
    /// The index of its group in the lookup.
    index: Option<Index>,
    identity: Identity,
}

/// Who a child is. Its drop, in `steps.rs`, is the end of the child's life.
pub(super) struct Identity {
    pub(super) root: Arc<Root>,
    number: u64,
    /// The record of the group that published it, which leads to its owner.
    owner: Arc<Owner>,
    /// The root has listed it, and waits for its end.
    linked: AtomicFlag,
}

impl_has_cache! { impl HasCache for Child { self.cache } }
impl_has_percpu_ref! { impl HasPercpuRef for Child { self.refs } }
impl_has_rcu_head! { impl HasRcuHead for Child { self.rcu } }
impl_has_work! {
    impl HasWork<Self, DEACTIVATION> for Child { self.deactivation }
    impl HasWork<Self, SHUTDOWN> for Child { self.shutdown }
}

impl Identity {
    pub(super) fn is_linked(&self) -> bool {
        self.linked.load(Acquire)
    }

    #[inline(always)]
    pub(super) fn trace_event(&self, event: Event, step: Option<(Stage, Stage)>) {
        event.trace(step, || {
            (self.root.number, self.owner.number(), self.number)
        });
    }
}

impl Child {
    /// Makes the cache, and a count that is not started yet. `index` is none for the root's own cache.
    /// Context: may sleep.
    pub(super) fn new(
        root: &Arc<Root>,
        number: u64,
        owner: &Arc<Owner>,
        index: Option<Index>,
        name: &CStr,
    ) -> Result<Arc<Self>> {
        let cache = RawCache::new(name, root.layout, root.options.no_merge())?;
        let life = Life {
            stage: match index {
                Some(_) => Stage::New,
                None => Stage::Active,
            },
            since: Ticks::now(),
            in_making: index.is_some(),
            stashed: None,
        };
        let init = try_pin_init!(Self {
            cache,
            refs <- PercpuRef::new(GFP_KERNEL),
            rcu <- RcuHead::new(),
            deactivation <- new_work!("rust_kmemcg::Child::deactivation"),
            shutdown <- new_work!("rust_kmemcg::Child::shutdown"),
            life: LockedBy::new(root.gate.spinlock(), life),
            index,
            identity: Identity {
                root: root.clone(),
                number,
                owner: owner.clone(),
                linked: AtomicFlag::new(false),
            },
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// Its number: not used twice in the life of the module, but 0 is each root's own cache.
    pub fn number(&self) -> u64 {
        self.identity.number
    }

    /// The root.
    pub fn root(&self) -> &Arc<Root> {
        &self.identity.root
    }

    /// Number of the group that owns it now. Context: any.
    pub fn owner(&self) -> u64 {
        self.identity.owner.number()
    }

    /// The record that leads to its owner.
    pub(super) fn owner_record(&self) -> &Arc<Owner> {
        &self.identity.owner
    }

    pub(super) fn set_linked(&self) {
        self.identity.linked.store(true, Release);
    }

    /// How many objects of it live: a snapshot, exact where nobody allocates or frees.
    pub fn objects(&self) -> usize {
        self.refs.count()
    }

    /// Is the count of its objects exact, so that the last free releases it? Not while it serves
    /// allocations, nor in the grace period after that.
    pub(super) fn is_exact(&self) -> bool {
        self.refs.is_exact()
    }

    /// Takes it out of its slot, so that the lookup does not lead to it any more; none where it did not.
    #[inline]
    pub(super) fn take_from_slot(&self) -> Option<Retired<Self>> {
        let root = self.root();
        let slot = match self.index {
            Some(index) => root.slots.get(index)?.child,
            None => &root.own,
        };
        slot.take_if(self)
    }

    pub(super) fn stage(&self, inside: &Inside<Self>) -> Stage {
        self.life.access(inside).stage
    }

    /// Does its count have a reference of the worker that makes it?
    pub(super) fn is_in_making(&self, inside: &Inside<Self>) -> bool {
        self.life.access(inside).in_making
    }

    pub(super) fn set_made(&self, inside: &mut Inside<Self>) {
        self.life.access_mut(inside).in_making = false;
    }

    /// A step: from one stage to another, with its trace event, by the table in `stage.rs`.
    #[inline(always)]
    pub(super) fn step(&self, event: Event, to: Stage, inside: &mut Inside<Self>) {
        let life = self.life.access_mut(inside);
        let from = life.stage;
        let now = Ticks::now();
        self.root().stats.left(from, now.since(life.since));
        life.stage = to;
        life.since = now;
        self.identity.trace_event(event, Some((from, to)));
    }

    /// Keeps what readers of the lookup may still look at until somebody may wait for them.
    pub(super) fn stash(this: Retired<Self>, inside: &mut Inside<Self>) {
        let child = this.clone_arc();
        child.life.access_mut(inside).stashed = Some(this);
    }

    pub(super) fn take_stashed(&self, inside: &mut Inside<Self>) -> Option<Retired<Self>> {
        self.life.access_mut(inside).stashed.take()
    }
}

/// A child, while the gate of its root is held.
pub struct ChildView<'a> {
    child: &'a Child,
    stage: Stage,
}

impl ChildView<'_> {
    /// Its number: not used twice in the life of the module, but 0 is each root's own cache.
    pub fn number(&self) -> u64 {
        self.child.number()
    }

    /// Number of the group that owns it now.
    pub fn owner(&self) -> u64 {
        self.child.owner()
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How many objects of it live: a snapshot, exact where nobody allocates or frees.
    pub fn objects(&self) -> usize {
        self.child.objects()
    }
}

/// A root cache.
///
/// It serves the groups that have no child from a cache of its own, lists its children, and leads to them
/// by the index of their group. A destroy that waits fails while objects live; an asynchronous one ends with
/// the last object. [`Phase`] has the sequences. Context of the drop: any.
#[pin_data]
pub struct Root {
    number: u64,
    name: CString,
    layout: Layout,
    options: Options,
    #[pin]
    pub(super) gate: Gate<Child>,
    /// The root's own cache.
    pub(super) own: RcuSlot<Child>,
    #[pin]
    pub(super) slots: Slots<Child>,
    pub(super) stats: Stats,
    pub(super) groups: Arc<Groups>,
    pub(super) roots: Arc<Roots>,
}

/// All roots that are not destroyed, in the order of their numbers; closing ones, too.
///
/// A root is removed where it ends, which may be in a worker. So nobody waits for a worker with the lock held.
#[pin_data]
pub(super) struct Roots {
    #[pin]
    list: Mutex<KVec<Arc<Root>>>,
}

impl Roots {
    pub(super) fn new() -> Result<Arc<Self>> {
        let list = new_mutex!(KVec::new(), "rust_kmemcg::Roots");
        Arc::pin_init(pin_init!(Self { list <- list }), GFP_KERNEL)
    }

    /// The list itself. Context: may sleep.
    pub(super) fn lock(&self) -> impl DerefMut<Target = KVec<Arc<Root>>> + '_ {
        self.list.lock()
    }

    /// The first root from that number on. Context: may sleep.
    pub(super) fn next(&self, from: u64) -> Option<Arc<Root>> {
        let list = self.list.lock();
        let index = list.partition_point(|root| root.number < from);
        list.get(index).cloned()
    }

    /// The root is destroyed. Context: may sleep.
    pub(super) fn remove(&self, root: &Root) {
        self.list.lock().retain(|other| other.number != root.number);
    }
}

impl Root {
    /// Makes a root without a cache. Context: may sleep.
    pub(super) fn new(
        number: u64,
        name: &str,
        layout: Layout,
        options: Options,
        groups: &Arc<Groups>,
        roots: &Arc<Roots>,
        queues: QueuesRef,
    ) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                number,
                name: CString::try_from_fmt(fmt!("{name}"))?,
                layout,
                options,
                gate <- Gate::new(queues),
                own: RcuSlot::new(),
                slots <- Slots::new(),
                stats: Stats::new(),
                groups: groups.clone(),
                roots: roots.clone(),
            }),
            GFP_KERNEL,
        )
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
        self.name.to_bytes() == name.as_bytes() && self.phase().has_name()
    }

    /// Size and alignment of its objects.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How its caches are made.
    pub fn options(&self) -> Options {
        self.options
    }

    /// How far its destruction has come.
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
        let mut from = Some(0);
        while let Some(number) = from {
            let gate = self.gate.enter();
            from = gate.walk(number, |child| {
                let stage = child.stage(&gate);
                f(ChildView { child, stage });
            });
        }
    }

    /// Calls `f` for each cache, its own first, without the gate.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Arc<Child>)) {
        let mut from = 0;
        // The gate is left at the end of this statement, not of the loop.
        let next = |from| self.gate.enter().next(from);
        while let Some((number, child)) = next(from) {
            from = number + 1;
            f(&child);
        }
    }

    /// A step: from one phase to another, with its trace event, by the table in `stage.rs`.
    pub(super) fn step(&self, event: RootEvent, to: Phase, inside: &mut Inside<Child>) {
        let from = inside.phase();
        inside.set_phase(to);
        event.trace(Some((from, to)), || (self.number, &self.name));
    }

    /// A step that does not change the phase.
    pub(super) fn trace(&self, event: RootEvent) {
        event.trace(None, || (self.number, &self.name));
    }
}
