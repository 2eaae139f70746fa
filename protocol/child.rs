// SPDX-License-Identifier: GPL-2.0

//! A child: the slab cache that one group has of one root.
//!
//! The root's own cache is one too, number 0: it has no group, serves the groups that have no child
//! yet, and is released when the root is destroyed.

use super::{gate::Inside, root::Root};
use crate::{
    abstractions::{
        call_rcu::{InCallback, RcuCallback, RcuHead},
        kmem_cache::RawCache,
        percpu_ref::{PercpuRef, Release},
        rcu_slot::Retired,
        ticks::Ticks,
        trace,
    },
    impl_has_cache, impl_has_percpu_ref, impl_has_rcu_head,
};
use kernel::{
    fmt,
    prelude::*,
    str::CStr,
    sync::{
        atomic::{self, Acquire, Atomic, AtomicFlag, Relaxed},
        Arc, LockedBy,
    },
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

/// How far a child has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Serves allocations.
    Active,
    /// Its group is offline, but the root is dying: the deactivation was not admitted.
    Parked,
    /// Its group is offline; a grace period, then work, then the kill.
    Deactivating,
    /// The reference was killed; objects live, or the last grace period is not over.
    Killed,
    /// No object is left, but the root is dying: the shutdown was not admitted.
    Suppressed,
    /// No object is left; a callback, then the shutdown.
    Released,
}

impl Stage {
    /// Every stage, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Parked,
        Self::Deactivating,
        Self::Killed,
        Self::Suppressed,
        Self::Released,
    ];

    pub(super) fn longest_name(self) -> &'static str {
        match self {
            Self::Active => "longest_active_us",
            Self::Parked => "longest_parked_us",
            Self::Deactivating => "longest_deactivating_us",
            Self::Killed => "longest_killed_us",
            Self::Suppressed => "longest_suppressed_us",
            Self::Released => "longest_released_us",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Parked => "parked",
            Self::Deactivating => "deactivating",
            Self::Killed => "killed",
            Self::Suppressed => "suppressed",
            Self::Released => "released",
        })
    }
}

/// What the gate protects of a child.
pub(super) struct Life {
    stage: Stage,
    since: Ticks,
    /// Its reference was killed by a destroy of the root that may yet fail.
    pub(super) condemned: bool,
    /// What readers may still look at; kept while the deactivation is suppressed.
    pub(super) retired: Option<Retired<Child>>,
}

/// A child cache.
///
/// The fields are dropped in this order: the cache first, its last trace event last. The first two
/// are all that the allocation path needs: one cache line.
#[pin_data]
#[repr(C)]
pub(super) struct Child {
    cache: RawCache,
    #[pin]
    refs: PercpuRef<Child>,
    #[pin]
    rcu: RcuHead<Child>,
    #[pin]
    work: Work<Child>,
    life: LockedBy<Life, Inside>,
    /// Where the lookup of its group leads to it; see [`super::root::Slots`].
    slot: Option<u16>,
    identity: Identity,
}

/// Who a child is. Its drop is the end of the child's life.
struct Identity {
    root: Arc<Root>,
    number: u64,
    /// Number of the group that owns it: changes when that goes offline, under the lock of the
    /// tree of groups.
    owner: Atomic<u64>,
    /// The root has taken it in, and waits for its end.
    adopted: AtomicFlag,
}

impl Drop for Identity {
    fn drop(&mut self) {
        if self.adopted.load(Acquire) {
            trace::child_free(self.root.number(), self.owner.load(Relaxed), self.number);
            self.root.gate().enter().destroyed(&self.root);
        }
    }
}

/// What can be told of a child, while the gate is held.
pub struct ChildView<'a> {
    child: &'a Child,
    stage: Stage,
}

impl<'a> ChildView<'a> {
    pub(super) fn new(child: &'a Child, stage: Stage) -> Self {
        Self { child, stage }
    }

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

impl_has_cache! { impl HasCache for Child { self.cache } }
impl_has_percpu_ref! { impl HasPercpuRef for Child { self.refs } }
impl_has_rcu_head! { impl HasRcuHead for Child { self.rcu } }
impl_has_work! { impl HasWork<Self> for Child { self.work } }

impl Child {
    /// Makes the cache, and a count that is not started yet. Context: may sleep.
    pub(super) fn new(
        root: &Arc<Root>,
        number: u64,
        owner: u64,
        slot: Option<u16>,
        name: &CStr,
    ) -> Result<Arc<Self>> {
        let cache = RawCache::new(name, root.layout(), root.options().no_merge())?;
        let life = Life {
            stage: Stage::Active,
            since: Ticks::now(),
            condemned: false,
            retired: None,
        };
        let init = try_pin_init!(Self {
            cache,
            refs <- PercpuRef::new(GFP_KERNEL),
            rcu <- RcuHead::new(),
            work <- new_work!("rust_kmemcg::Child::work"),
            life: LockedBy::new(root.gate().lock(), life),
            slot,
            identity: Identity {
                root: root.clone(),
                number,
                owner: Atomic::new(owner),
                adopted: AtomicFlag::new(false),
            },
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    pub(super) fn set_adopted(&self) {
        self.identity.adopted.store(true, atomic::Release);
    }

    /// Its number: not used twice in the life of the module, but 0 is each root's own cache.
    pub(super) fn number(&self) -> u64 {
        self.identity.number
    }

    /// The root.
    pub(super) fn root(&self) -> &Arc<Root> {
        &self.identity.root
    }

    /// How many objects of it live: a snapshot, exact where nobody allocates or frees.
    pub(super) fn objects(&self) -> usize {
        self.refs.count()
    }

    /// Is the count of its objects exact, so that the last one can release it? Not while it serves
    /// allocations, nor in the grace period after that.
    pub(super) fn is_exact(&self) -> bool {
        self.refs.is_exact()
    }

    /// Number of the group that owns it now.
    pub(super) fn owner(&self) -> u64 {
        self.identity.owner.load(Relaxed)
    }

    pub(super) fn set_owner(&self, owner: u64) {
        self.identity.owner.store(owner, Relaxed);
        self.trace(trace::child_reparent);
    }

    pub(super) fn slot(&self) -> Option<u16> {
        self.slot
    }

    pub(super) fn refs(&self) -> &PercpuRef<Self> {
        &self.refs
    }

    pub(super) fn life<'a>(&'a self, inside: &'a mut Inside) -> &'a mut Life {
        self.life.access_mut(inside)
    }

    /// Brings the child to another stage.
    pub(super) fn enter(&self, stage: Stage, inside: &mut Inside) {
        let life = self.life(inside);
        let now = Ticks::now();
        self.root().stats().left(life.stage, now.since(life.since));
        life.stage = stage;
        life.since = now;
    }

    pub(super) fn stage(&self, inside: &Inside) -> Stage {
        self.life.access(inside).stage
    }

    /// Keeps what readers may still look at until somebody may wait for them.
    pub(super) fn keep(this: Retired<Self>, inside: &mut Inside) {
        let child = this.clone_arc();
        child.life(inside).retired = Some(this);
    }

    pub(super) fn trace(&self, event: fn(u64, u64, u64)) {
        event(self.root().number(), self.owner(), self.number());
    }

    /// Worker: no reader of the lookup is left, so no new reference can come from there.
    fn deactivate(&self) {
        self.cache.shrink();
        self.root().gate().enter().kill(self);
        // What was condemned by a destroy was resurrected, or released and not deactivated.
        kernel::warn_on!(!self.refs.kill());
    }

    /// Worker, or the destroyer of the root: no object is left. Context: may sleep.
    pub(super) fn shut_down(this: Arc<Self>) {
        let root = this.root().clone();
        root.groups().disown(&this);
        // It is still in the lookup where a close has killed it; it is kept where the destroyer has
        // taken it out, or its group went offline when no deactivation was admitted.
        let looked_up = root.slot_of(&this).and_then(|slot| slot.take_if(&this));
        let kept = root.gate().enter().life_of(&this).retired.take();
        drop((
            looked_up.map(Retired::into_arc),
            kept.map(Retired::into_arc),
        ));
        let listed = root.gate().enter().remove(&this);
        drop(listed);
        this.trace(trace::child_shutdown);
        root.stats().shutdowns.count();
        // Nobody else has it now, but for a moment a destroyer on his walk: here or there this is
        // kmem_cache_destroy().
        drop(this);
    }
}

impl RcuCallback for Child {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>, cx: InCallback<'_>) {
        let root = this.root().clone();
        root.gate().bounce(this, cx);
    }
}

impl WorkItem for Child {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let stage = this.root().gate().enter().stage_of(&this);
        match stage {
            Stage::Deactivating => this.deactivate(),
            Stage::Released => Self::shut_down(this),
            // Nothing else is queued.
            Stage::Active | Stage::Parked | Stage::Killed | Stage::Suppressed => (),
        }
    }
}

impl Release for Child {
    /// The last reference is gone, in any context.
    fn release(this: Arc<Self>) {
        let root = this.root().clone();
        root.gate().enter().release(this);
    }
}
