// SPDX-License-Identifier: GPL-2.0

//! Asynchronous release of per-group slab caches: the protocol.
//!
//! # The idea
//!
//! A *root* is what a user creates. A *child* is the slab cache that one group has of one root; a
//! worker makes it when the group allocates for the first time. When the group goes offline, the
//! child is *deactivated*: it serves no allocation any more. When its last object is freed, it is
//! *released*, and then *shut down*: only then `kmem_cache_destroy()` runs. Nobody waits for any
//! of this, and nothing sleeps where it must not.
//!
//! The *lookup* leads from a group to its child under RCU; to *publish* a child is to put it there. The
//! *count* of a child is its `percpu_ref`, on which each of its objects has a reference. A root is
//! *destroyed* while the caller waits, which fails if objects live, or by a *close*: an asynchronous
//! destroy, after which the root serves nothing new and goes after its last object.
//!
//! ```text
//!  group offline      any context    out of the lookup, call_rcu()
//!    grace period
//!  RCU callback       softirq        queue work
//!  deactivation       worker         shrink, percpu_ref_kill()
//!    grace period, and as long as objects live
//!  release            any context    call_rcu()
//!  RCU callback       softirq        queue work
//!  shutdown           worker         kmem_cache_destroy()
//! ```
//!
//! (The release has no reader to wait for. It goes by way of RCU as it may be a hard interrupt, to
//! which a callback is cheap and the waking of a worker is not.)
//!
//! # The trick
//!
//! A root can be destroyed at any moment of that. Each root has a *gate*: an irq-safe spinlock with
//! a *dying* flag in it (a [`Phase`]). Nothing is begun for a child (`call_rcu()` for a deactivation or a
//! shutdown, `queue_work()` for a creation) except while the gate is held and the flag is clear; the
//! destroyer sets the flag under the gate. Then it waits for what had been admitted before, in three steps,
//! because each may lead to the next:
//!
//! 1. `rcu_barrier()`: every callback has run, those of deactivations and of releases. A callback
//!    queues work without asking for admission, as it was admitted when it was queued.
//! 2. `flush_workqueue()`, for the queue of the creations and for that of all other works, waits for
//!    that work and for creations that were admitted. Both can call `percpu_ref_kill()`. Work queues no
//!    callback of ours, as the flag is set, and no work.
//! 3. `rcu_barrier()`, where children are left: `percpu_ref_kill()` itself queues a callback, after which the count is exact
//!    and may reach zero at once; the release that follows finds the flag and queues nothing.
//!
//! # Why it is right
//!
//! *What does the lock protect, if the flag can be set right after the unlock?* It does not protect
//! the flag; it makes "look at the flag and queue" one step. Then there are two cases only. Either
//! the step came before the flag was set: it is queued by the time that the destroyer has the
//! lock, and the three waits above, which come later, cover it. Or it came after: it sees the
//! flag, and queues nothing. Without the lock around both there is a third case, clear flag seen,
//! three waits passed, queued: a callback for memory that is gone. Where the flag is set after the
//! unlock, that is the first case, and harmless.
//!
//! The types say so. The gate gives out an `Admission` that borrows the lock's guard and
//! is the only way to queue anything for a child; "check, unlock, queue" does not compile. And
//! destruction is a chain of the types of `destroy.rs`, `Dying` to `Drained` to gone (or handed back):
//! another order does not compile.
//!
//! What the flag has deferred is not lost: the child's [`Stage`] says how far it had come. If the
//! destroy fails because objects live, the root is handed back: the flag is cleared and every deferred
//! step is admitted then.
//!
//! # Where to read on
//!
//! The files below are in an order: each uses those before it only. `stage.rs` has the states and the one
//! table of steps; `steps.rs` is a child's life, from top to bottom; `destroy.rs` is the end of a root.
//!
//! # Locks
//!
//! The lock of the tree of groups (`group.rs`), then one gate. No other lock of this module is taken under
//! either; both may be taken in any context.

// From the bottom to the top: "make lint" holds the files against this order.
// The trace events.
mod trace;
// States, and the one table of the steps between them.
mod stage;
// The lookup: a slot for each group's child.
mod slots;
// Who owns children.
mod owner;
// The tree of groups.
mod group;
// What a root counts.
mod stats;
// The lock, the dying flag, and admission.
mod gate;
// The two nouns, Child and Root.
mod child;
// Every transition of a child, in the order of a life.
mod steps;
// The end of a root.
mod destroy;
// The worker that makes children.
mod create;
// The allocation path.
mod alloc;

pub use alloc::{ChildObject, ChildObjects, FindGroup, HeldChild};
pub use child::{ChildView, Group, NewGroup, Root};
pub use gate::WorkqueueBlock;
pub use slots::MAX_GROUPS;
pub use stage::{Phase, Stage};
pub use stats::{Counter, Stats};

use crate::abstractions::{slab::Options, unload};
use child::{Groups, Roots};
use core::alloc::Layout;
use gate::Queues;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, //
    }, //
};

/// All roots and groups. A module has one: numbers are used once in its life, and a root serves groups of
/// the same set only.
///
/// Dropping it destroys the roots and waits for everything that is pending, for the last object, and for the
/// last reference on a [`Root`] or a [`WorkqueueBlock`]. Context of the drop: may sleep.
#[pin_data(PinnedDrop)]
pub struct Kmemcg {
    roots: Arc<Roots>,
    groups: Arc<Groups>,
    queues: Arc<Queues>,
    next_root: Atomic<u64>,
}

impl Kmemcg {
    /// Makes an empty set: no root, and the top of the tree of groups.
    pub fn new(module: &unload::Handle) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            roots: Roots::new()?,
            groups: Groups::new()?,
            queues: Arc::new(Queues::new(module)?, GFP_KERNEL)?,
            next_root: Atomic::new(1),
        })
    }

    /// Makes a root cache; `options` hold for each of its caches, which are not merged with others.
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EEXIST`: the name is in use. `EINVAL`, `E2BIG`: no cache can have this layout. `ENOMEM`.
    pub fn create_root(&self, name: &str, layout: Layout, options: Options) -> Result<Arc<Root>> {
        let mut roots = self.roots.lock();
        if named(&roots, name).is_some() {
            return Err(EEXIST);
        }
        roots.reserve(1, GFP_KERNEL)?;
        let number = self.next_root.fetch_add(1, Relaxed);
        let queues = self.queues.get();
        let root = create::root(
            number,
            name,
            layout,
            options,
            &self.groups,
            &self.roots,
            queues,
        )?;
        roots.push(root.clone(), GFP_KERNEL)?;
        Ok(root)
    }

    /// The root of that name.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub fn root(&self, name: &str) -> Result<Arc<Root>> {
        named(&self.roots.lock(), name).cloned().ok_or(ENOENT)
    }

    /// Destroys a root and all its children. Context: may sleep; waits for grace periods and for
    /// the workqueue. Where objects live it usually fails at once, without an effect on anybody.
    ///
    /// # Errors
    ///
    /// `EBUSY`: objects live, or somebody else is destroying it; it is as it was before.
    /// `ENOENT`: it was destroyed meanwhile.
    pub fn destroy_root(&self, root: &Arc<Root>) -> Result {
        destroy::destroy(root)
    }

    /// The same without the look at the counts first, as if each object had been allocated right after
    /// it. A test knob: a destroy that fails is begun, and handed back.
    pub fn destroy_root_uncounted(&self, root: &Arc<Root>) -> Result {
        destroy::destroy_uncounted(root)
    }

    /// Begins to destroy a root, and returns at once. It serves nothing new, its name is free, and it
    /// goes by itself after its last object. Context: may sleep; waits for nothing.
    ///
    /// # Errors
    ///
    /// `EBUSY`: somebody is destroying it. `ENOENT`: it was destroyed meanwhile.
    pub fn close_root(&self, root: &Arc<Root>) -> Result {
        destroy::close(root)
    }

    /// Calls `f` for each root, closing ones too, without a lock: meanwhile roots may come and go. Context:
    /// may sleep.
    pub fn for_each_root(&self, mut f: impl FnMut(&Root)) {
        let mut from = 0;
        while let Some(root) = self.roots.next(from) {
            from = root.number() + 1;
            f(&root);
        }
    }

    /// Makes a group. `parent` is none for one at the top.
    ///
    /// # Errors
    ///
    /// `EEXIST`: the name is in use. `ENOENT`: the parent is offline. `ENOSPC`: the limit
    /// of groups is reached. `ENOMEM`.
    pub fn create_group(&self, name: &str, parent: Option<&Group>) -> Result<Arc<Group>> {
        self.add_group(NewGroup::new(name.as_bytes(), 0, GFP_KERNEL)?, parent)
    }

    /// As [`create_group`](Self::create_group), with memory that was allocated before, but for that of its
    /// index. Context: any. A group with a cookie may have the name of another.
    pub fn add_group(&self, new: NewGroup, parent: Option<&Group>) -> Result<Arc<Group>> {
        self.groups.add(new, parent)
    }

    /// Can another group be made? A snapshot: no after [`add_group`](Self::add_group) has failed with
    /// `ENOSPC`, until a group is freed. Context: any.
    pub fn has_room_for_group(&self) -> bool {
        self.groups.indices.has_room()
    }

    /// How many groups there may be.
    pub fn group_limit(&self) -> usize {
        self.groups.indices.limit()
    }

    /// Changes how many groups there may be, up to [`MAX_GROUPS`]. Those that are more already stay.
    pub fn set_group_limit(&self, groups: usize) {
        self.groups.indices.set_limit(groups);
    }

    /// The online group of that name.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub fn group(&self, name: &str) -> Result<Arc<Group>> {
        self.groups.find(name)
    }

    /// Takes a group offline: its children go to its parent and are deactivated. Context: any;
    /// waits for nothing.
    ///
    /// # Errors
    ///
    /// `ENOENT`: it is offline already.
    pub fn offline_group(&self, group: &Group) -> Result {
        self.groups.offline(group, steps::offline)
    }

    /// Takes all groups offline that have a cookie, children before their parents. Those that are made
    /// meanwhile stay. Context: may sleep.
    pub fn offline_with_cookie(&self) {
        let mut before = u64::MAX;
        while let Some(group) = self.groups.newest_with_cookie(before) {
            before = group.number();
            // It may be offline meanwhile.
            let _ = self.offline_group(&group);
        }
    }

    /// Calls `f` for each online group with its parent's number and how many children it owns.
    /// `f` must not sleep, must not call anything that takes the lock of the tree of groups, as everything
    /// does that finds a group, makes one or takes one offline, and must not drop the last [`Arc`] of one.
    pub fn for_each_group(&self, f: impl FnMut(&Group, u64, usize)) {
        self.groups.for_each(f);
    }

    /// Blocks the workqueues until the value is dropped: works are queued, but do not run. A test knob.
    /// Context: may sleep; waits for the works that run now.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY`: it is blocked already.
    pub fn block_workqueue(&self) -> Result<WorkqueueBlock> {
        WorkqueueBlock::new(&self.queues)
    }
}

/// The longest name of a root or a group.
const MAX_NAME: usize = 32;

/// Checks a name: letters, digits, `_`, `.` and `-`, but not one of the last two in front.
///
/// # Errors
///
/// `EINVAL`.
pub fn name(word: &str) -> Result<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if word.is_empty()
        || word.len() > MAX_NAME
        || word.starts_with(['.', '-'])
        || !word.bytes().all(fits)
    {
        return Err(EINVAL);
    }
    Ok(word)
}

/// The root of that name, among those that have one.
fn named<'a>(roots: &'a [Arc<Root>], name: &str) -> Option<&'a Arc<Root>> {
    let mut roots = roots.iter();
    roots.find(|root| root.is_named(name))
}

#[pinned_drop]
impl PinnedDrop for Kmemcg {
    fn drop(self: Pin<&mut Self>) {
        // Not with the lock held: a closing root that ends meanwhile takes it.
        let roots = core::mem::take(&mut *self.roots.lock());
        for root in roots {
            // An object can only be held by a module that uses this one, or by our control plane; both
            // should be gone. `ENOENT`: it was closing, and has gone by itself.
            if destroy::destroy(&root) == Err(EBUSY) {
                pr_warn!("root {} has objects: waiting for them\n", root.name());
                // It may be closing already.
                let _ = destroy::close(&root);
            }
        }
        self.groups.clear();
        // Nothing of a root is pending now. What was pending for groups and roots that are gone
        // already ends here.
        self.queues.quiesce();
        self.queues.wait_unused();
    }
}
