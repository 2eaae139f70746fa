// SPDX-License-Identifier: GPL-2.0

//! What a child lives through, from its link to the root's list to the end of its cache: every
//! transition, in the order of a life. The table in `stage.rs` has a row for each.
//!
//! ```text
//!  link, publish        worker            the group has allocated
//!  offline              any context       out of the lookup, call_rcu()
//!  RCU callback         softirq           queue work
//!  deactivation         worker            shrink, percpu_ref_kill()
//!  release              any context       the last object is freed: call_rcu()
//!  RCU callback         softirq           queue work
//!  shutdown             worker            unlink, kmem_cache_destroy()
//!  free                 worker            the memory of the child
//! ```
//!
//! From offline to free the gate is taken six times. Second half of the file: what a destroyer of the
//! root does to a child meanwhile.
//!
//! # Why the last object may be freed in a hard interrupt
//!
//! `kmem_cache_destroy()` sleeps, and nothing that a free runs reaches it. The free puts a reference on
//! the child's `percpu_ref`; the last put runs [`release`], which takes the gate, an irq-safe lock, and
//! calls `call_rcu()`, which is legal in any context. The cache is destroyed two contexts later, by a
//! worker. Until then the child is a [`Released`], which can be queued and does not run a destructor.

use super::{
    child::{Child, Identity, Root, DEACTIVATION, SHUTDOWN},
    gate::{Admission, Entered},
    stage::{Event, Phase, RootEvent, Stage}, //
};
use crate::abstractions::sync::{
    percpu_ref::{
        self,
        Guard,
        PercpuRef,
        Released, //
    },
    rcu::{
        call_rcu::{
            InCallback,
            RcuCallback, //
        },
        slot::Retired, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::Arc,
    workqueue::WorkItem, //
};

/// Lists a new child, and starts its count.
///
/// The guard keeps it from being released while its maker works on it.
///
/// # Errors
///
/// `ENODEV`: the root is being destroyed.
pub(super) fn link(
    child: &Arc<Child>,
    node: RBTreeNodeReservation<u64, Arc<Child>>,
) -> Result<Guard<Child>> {
    let root = child.root();
    let mut gate = root.gate.enter();
    let mut admission = gate.admit_creation().ok_or(ENODEV)?;
    child.set_linked();
    admission.inside().link(child.number(), child.clone(), node);
    drop(gate);
    PercpuRef::start(child, root.gate.hold())?;
    // An asynchronous destroy may have killed the count already.
    PercpuRef::tryget_live(&**child).ok_or(ENODEV)
}

/// The lookup leads to the child from here, and its group owns it. The caller holds the lock of the tree
/// of groups and a reference on the child, and has put it in its slot.
pub(super) fn publish(child: &Child) {
    let mut gate = child.root().gate.enter();
    // A close that has listed the root's children may have killed it before.
    let killed = child.stage(&gate) == Stage::Killed;
    let to = if killed { Stage::Killed } else { Stage::Active };
    child.step(Event::child_create, to, &mut gate);
    child.root().stats.creations.count();
}

/// The child cannot be published: its maker gives it up, and it is released as any other.
pub(super) fn give_up(child: &Child) {
    let mut gate = child.root().gate.enter();
    // A close may have killed it before.
    if child.stage(&gate) == Stage::New {
        child.step(Event::child_kill, Stage::Killed, &mut gate);
    }
    drop(gate);
    child.refs.kill();
}

/// The group that published the child goes offline; `parent` owns it before the lock of the tree of groups,
/// which is held, is dropped. Context: any.
pub(super) fn offline(child: &Child, parent: u64) {
    // None where a destroyer of the root has emptied the slot.
    if let Some(retired) = child.take_from_slot() {
        let mut gate = child.root().gate.enter();
        unpublish(retired, &mut gate);
    }
    Event::child_reparent.trace(None, || (child.root().number(), parent, child.number()));
}

/// The lookup does not lead to the child any more.
#[inline(always)]
fn unpublish(child: Retired<Child>, gate: &mut Entered<'_, Child>) {
    let deferred = match child.stage(gate) {
        Stage::Active => match gate.admit() {
            Ok(admission) => return start_deactivation(child, admission),
            Err(_) => Stage::OfflineDeferred,
        },
        Stage::ActiveMarked => Stage::OfflineDeferredMarked,
        Stage::ReleaseDeferredMarked => Stage::ReleaseDeferred,
        // It was killed by a close, and needs no deactivation. Its shutdown waits for the readers.
        Stage::Killed | Stage::ReleaseDeferred | Stage::Released | Stage::Shutdown => {
            return Child::stash(child, gate)
        }
        // Unreachable: the lookup does not lead to it.
        Stage::New
        | Stage::OfflineDeferred
        | Stage::OfflineDeferredMarked
        | Stage::Deactivating
        | Stage::Quiescent => {
            kernel::warn_on!(true);
            return Child::stash(child, gate);
        }
    };
    child.step(Event::child_defer_offline, deferred, gate);
    child.root().stats.deferred_offlines.count();
    Child::stash(child, gate);
}

#[inline(always)]
fn start_deactivation(child: Retired<Child>, mut admission: Admission<'_, Child>) {
    child.step(
        Event::child_offline,
        Stage::Deactivating,
        admission.inside(),
    );
    child.root().stats.deactivations.count();
    if let Err((child, inside)) = admission.call_retired::<DEACTIVATION>(child) {
        // Unreachable: a child goes offline once, and its `rcu_head` has no other use before.
        kernel::warn_on!(true);
        Child::stash(child, inside);
    }
}

/// The grace period after offline is over: no reader of the lookup is left, so no new reference can come
/// from there.
impl RcuCallback<DEACTIVATION> for Child {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>, cx: InCallback<'_>) {
        let root = this.root().clone();
        let mut gate = root.gate.enter();
        this.step(Event::child_rcu, Stage::Quiescent, &mut gate);
        drop(gate);
        let queued = root.gate.queue_from_callback::<_, DEACTIVATION>(this, cx);
        // A child is deactivated once.
        kernel::warn_on!(queued.is_err());
    }
}

/// The deactivation: shrinks the cache, kills the count.
impl WorkItem<DEACTIVATION> for Child {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.cache.shrink();
        let mut gate = this.root().gate.enter();
        this.step(Event::child_kill, Stage::Killed, &mut gate);
        drop(gate);
        // The count is live: a destroy that had killed it has made it live again, before this was admitted.
        kernel::warn_on!(!this.refs.kill());
    }
}

impl percpu_ref::Release for Child {
    fn release(this: Released<Self>) {
        let root = this.root().clone();
        release(this, &mut root.gate.enter());
    }
}

/// The last object was freed, and the count is killed. Context: any.
///
/// The shutdown begins with `call_rcu()`, though no reader is waited for: this may be a hard interrupt, and
/// to wake a worker, as `queue_work()` does, would cost it ten times as much.
#[inline(always)]
fn release(child: Released<Child>, gate: &mut Entered<'_, Child>) {
    gate.count_release();
    child.root().stats.release();
    match gate.admit() {
        Ok(admission) => start_shutdown(child, admission),
        Err(inside) => {
            // A child that a destroy which fails makes active again, unless its group goes offline.
            let marked = child.stage(inside) == Stage::ActiveMarked;
            let deferred = if marked {
                Stage::ReleaseDeferredMarked
            } else {
                Stage::ReleaseDeferred
            };
            child.step(Event::child_defer_release, deferred, inside);
            child.root().stats.deferred_releases.count();
            gate.notify();
            // It is dropped, and is not the last `Arc`: the root's list has one.
        }
    }
}

#[inline(always)]
fn start_shutdown(child: Released<Child>, mut admission: Admission<'_, Child>) {
    child.step(Event::child_release, Stage::Released, admission.inside());
    if admission.call::<SHUTDOWN>(child).is_err() {
        // Unreachable: the callback of a deactivation, if there was one, came before the kill.
        kernel::warn_on!(true);
    }
}

impl RcuCallback<SHUTDOWN> for Child {
    type Pointer = Released<Self>;

    fn run(this: Released<Self>, cx: InCallback<'_>) {
        let root = this.root().clone();
        let queued = root.gate.queue_from_callback::<_, SHUTDOWN>(this, cx);
        // A child that was brought back is released again, but its shutdown was not admitted before that.
        kernel::warn_on!(queued.is_err());
    }
}

impl WorkItem<SHUTDOWN> for Child {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        shut_down(this);
    }
}

/// Unlinks a child without objects from everything that leads to it, and destroys its cache. Context: may
/// sleep.
pub(super) fn shut_down(child: Arc<Child>) {
    let root = child.root();
    root.groups.unlink(child.number(), child.owner_record());
    // A child that a close has killed is still in its slot; what left the slot without a deactivation
    // is stashed.
    let published = child.take_from_slot();
    let mut gate = root.gate.enter();
    let stashed = child.take_stashed(&mut gate);
    let listed = gate.unlink(child.number());
    child.step(Event::child_shutdown, Stage::Shutdown, &mut gate);
    drop(gate);
    // What was in the slot, or is stashed, waits for the readers of the lookup.
    drop(published.map(Retired::into_arc));
    drop(stashed.map(Retired::into_arc));
    drop(listed);
    // Usually the last reference. A close that walks the list may still hold one, and then destroys the
    // cache instead.
    drop(child);
}

/// The cache is destroyed; last field of [`Child`].
impl Drop for Identity {
    fn drop(&mut self) {
        if !self.is_linked() {
            return;
        }
        self.trace_event(Event::child_free, None);
        let mut gate = self.root.gate.enter();
        gate.count_destroyed();
        self.root.stats.shutdowns.count();
        gate.notify();
        // The last cache ends an asynchronous destroy.
        if gate.phase() == Phase::Closing && gate.undestroyed() == 0 {
            end_root(&self.root, gate);
        }
    }
}

/// No cache of the root is left. Context: may sleep.
pub(super) fn end_root(root: &Root, mut gate: Entered<'_, Child>) {
    root.step(RootEvent::root_destroy, Phase::Destroyed, &mut gate);
    drop(gate);
    root.roots.remove(root);
}

// ---- What a destroyer of the root does -----------------------------------------------------------

/// An asynchronous destroy kills a count for good. The maker of a child calls this, too, once the child is
/// published: the close may have come when its count was not started.
pub(super) fn kill_if_closing(child: &Child) {
    let mut gate = child.root().gate.enter();
    let serves = matches!(child.stage(&gate), Stage::New | Stage::Active);
    if gate.phase() != Phase::Closing || !serves || !child.refs.is_live() {
        return;
    }
    child.step(Event::child_kill, Stage::Killed, &mut gate);
    gate.begin_kill();
    drop(gate);
    child.refs.kill();
    // A destroyer that came meanwhile waits for this kill before it compares counts with zero.
    let mut gate = child.root().gate.enter();
    gate.end_kill();
    gate.notify();
}

/// The destroyer of a root that is drained kills the count of each child that is not deactivated, since only
/// a killed count can be compared with zero.
pub(super) fn kill_for_destroy(child: &Child) {
    if !child.refs.is_live() {
        return;
    }
    let mut gate = child.root().gate.enter();
    let marked = match child.stage(&gate) {
        Stage::Active => Stage::ActiveMarked,
        Stage::OfflineDeferred => Stage::OfflineDeferredMarked,
        // Killed before, or about to be.
        _ => return,
    };
    child.step(Event::child_mark_killed, marked, &mut gate);
    drop(gate);
    child.refs.kill();
}

/// A destroy has failed: moves a child that it has marked back to where it was.
///
/// Returns whether the caller has to make the count live again. Without an object the child was
/// released; unless its group went offline meanwhile it becomes active again all the same. In a root that
/// goes on closing the child stays killed.
pub(super) fn hand_back_child(child: &Child) -> bool {
    let mut gate = child.root().gate.enter();
    let stage = child.stage(&gate);
    let (event, to) = match (stage, gate.phase().is_closing()) {
        (Stage::ActiveMarked | Stage::OfflineDeferredMarked, true) => {
            (Event::child_kill, Stage::Killed)
        }
        (Stage::ActiveMarked | Stage::ReleaseDeferredMarked, false) => {
            (Event::child_resurrect, Stage::Active)
        }
        (Stage::OfflineDeferredMarked, false) => (Event::child_resurrect, Stage::OfflineDeferred),
        _ => return false,
    };
    if stage == Stage::ReleaseDeferredMarked {
        gate.count_revival();
    }
    // Within the gate: the group may go offline as soon as it is left.
    child.step(event, to, &mut gate);
    event == Event::child_resurrect
}

/// A destroy has failed, and has cleared the dying flag: admits what was deferred, unless the flag is set
/// again.
pub(super) fn resume(child: &Arc<Child>) {
    let mut gate = child.root().gate.enter();
    let Ok(mut admission) = gate.admit() else {
        return;
    };
    match child.stage(admission.inside()) {
        Stage::OfflineDeferred => match child.take_stashed(admission.inside()) {
            Some(stashed) => start_deactivation(stashed, admission),
            // Unreachable: what was deferred is stashed.
            None => {
                kernel::warn_on!(true);
            }
        },
        Stage::ReleaseDeferred | Stage::ReleaseDeferredMarked => {
            start_shutdown(child.clone().into(), admission);
        }
        // Nothing was deferred.
        _ => (),
    }
}

/// A destroy succeeds: the lookup does not lead to the child any more.
pub(super) fn empty_slot(child: &Child) {
    if let Some(retired) = child.take_from_slot() {
        Child::stash(retired, &mut child.root().gate.enter());
    }
}
