// SPDX-License-Identifier: GPL-2.0

//! The gate of a root: its dying flag, and the only way to queue anything for its children.
//!
//! Every transition of a child's [`Stage`] happens here and in `gate/destroyer.rs`, under the gate.

mod destroyer;

use super::{
    child::{Child, Life, Stage},
    create::Request,
};
use crate::abstractions::{
    call_rcu::{Callbacks, InCallback},
    rcu_slot::Retired,
    trace, unload,
    wait_group::{Member, WaitGroup},
    workqueue::{Options, OwnedQueue},
};
use core::ops::Deref;
use kernel::{
    fmt,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{
        atomic::{AtomicFlag, Full, Release},
        lock::{spinlock::SpinLockIrqBackend, Guard},
        new_condvar, new_spinlock_irq, rcu, Arc, Completion, CondVar, SpinLockIrq,
    },
};

/// How many children are walked over with interrupts disabled.
const BATCH: usize = 64;

/// How many works run at once.
const MAX_ACTIVE: u32 = 16;

/// The workqueue and the RCU callbacks of this module.
///
/// Private to the gate: whoever wants to queue for a child needs an [`Admission`].
pub(super) struct Releases {
    queue: OwnedQueue,
    callbacks: Callbacks,
    /// Children take theirs from this one: that cannot fail.
    hold: unload::Hold,
    stalled: AtomicFlag,
    /// Whoever has a [`Share`].
    sharers: WaitGroup,
}

impl Releases {
    pub(super) fn new(module: &unload::Handle) -> Result<Self> {
        Ok(Self {
            queue: OwnedQueue::new(
                c"rust_kmemcg",
                Options::unbound().mem_reclaim().max_active(MAX_ACTIVE),
                module,
            )?,
            callbacks: Callbacks::new(module),
            hold: module.hold()?,
            stalled: AtomicFlag::new(false),
            sharers: WaitGroup::new()?,
        })
    }

    /// For a root, or whoever else may let go of it anywhere.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share {
            releases: self.clone(),
            _member: self.sharers.join(),
        }
    }

    /// Waits until nobody has a share: then the queue is destroyed where its last `Arc` is dropped, by
    /// the caller. Context: may sleep.
    pub(super) fn wait_unshared(&self) {
        self.sharers.wait();
    }

    /// Waits for everything that was queued, works of callbacks too, and for the releases that
    /// queued it: they run in RCU read-side critical sections. Context: may sleep.
    pub(super) fn quiesce(&self) {
        self.callbacks.barrier();
        self.queue.flush();
        rcu::synchronize_rcu();
    }
}

/// A share of the [`Releases`]. Dropping it never destroys the queue, in whatever context: who made the
/// releases keeps them until there is no share.
///
/// The fields are dropped in this order.
pub(super) struct Share {
    releases: Arc<Releases>,
    _member: Member,
}

impl Deref for Share {
    type Target = Releases;

    fn deref(&self) -> &Releases {
        &self.releases
    }
}

/// Is the root being destroyed?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No.
    Live,
    /// Asynchronously: it serves nothing new, and goes when the last object is freed.
    Closing,
    /// Somebody waits for it: the dying flag is set.
    Dying,
    /// It was destroyed.
    Destroyed,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Closing => "closing",
            Self::Dying => "dying",
            Self::Destroyed => "destroyed",
        })
    }
}

/// What the gate protects.
pub(super) struct Inside {
    phase: Phase,
    /// What a destroy that fails goes back to.
    before: Phase,
    /// The root's own cache, number 0, and its children.
    children: RBTree<u64, Arc<Child>>,
    /// How many of them may still call [`Entered::release`].
    unreleased: usize,
    /// How many were taken in and are not destroyed yet.
    undestroyed: usize,
}

/// The gate of a root.
#[pin_data]
pub(super) struct Gate {
    #[pin]
    inside: SpinLockIrq<Inside>,
    /// Notified when a child is released while the root is dying, and when one is destroyed.
    #[pin]
    changed: CondVar,
    releases: Share,
}

impl Gate {
    pub(super) fn new(releases: &Arc<Releases>) -> impl PinInit<Self> {
        let releases = releases.share();
        pin_init!(Self {
            inside <- new_spinlock_irq!(Inside {
                phase: Phase::Live,
                before: Phase::Live,
                children: RBTree::new(),
                unreleased: 0,
                undestroyed: 0,
            }, "rust_kmemcg::gate"),
            changed <- new_condvar!("rust_kmemcg::changed"),
            releases,
        })
    }

    /// The lock itself, for data that it protects elsewhere (`LockedBy`).
    pub(super) fn lock(&self) -> &SpinLockIrq<Inside> {
        &self.inside
    }

    /// Takes the lock. Context: any.
    pub(super) fn enter(&self) -> Entered<'_> {
        Entered {
            inside: self.inside.lock(),
            gate: self,
        }
    }

    /// The callback of a deactivation, or of a release: queues the work. It needs no admission, since
    /// the callback that it is called from had one; `cx` is the proof.
    pub(super) fn bounce(&self, child: Arc<Child>, _cx: InCallback<'_>) {
        if self.enter().stage_of(&child) == Stage::Deactivating {
            child.trace(trace::child_rcu);
        }
        self.releases.queue_child(child);
    }

    /// Waits for all that was admitted before the flag was set; see the comment of the module.
    pub(super) fn drain(&self) {
        self.releases.callbacks.barrier();
        self.releases.queue.flush();
        if self.enter().has_children() {
            self.kill_barrier();
        }
    }

    /// A hold on the module, for a child.
    pub(super) fn hold(&self) -> unload::Hold {
        self.releases.hold.clone()
    }

    /// Waits until every `percpu_ref_kill()` before it has made its count exact.
    pub(super) fn kill_barrier(&self) {
        self.releases.callbacks.barrier();
    }
}

impl Releases {
    fn queue_child(&self, child: Arc<Child>) {
        // A child has one work at a time: deactivation is queued before the kill, shutdown after.
        if self.queue.enqueue(child).is_err() {
            kernel::warn_on!(true);
        }
    }
}

/// The gate, held.
pub(super) struct Entered<'a> {
    inside: Guard<'a, Inside, SpinLockIrqBackend>,
    gate: &'a Gate,
}

/// Leave to queue one thing: the flag is clear, and nobody can set it before the thing is queued,
/// since the admission borrows the gate that is held.
struct Admission<'a> {
    inside: &'a mut Inside,
    releases: &'a Releases,
}

impl Admission<'_> {
    /// Queues a creation.
    fn create(self, request: Pin<KBox<Request>>) {
        request.trace(trace::child_request);
        request.root().stats().requests.count();
        self.releases.queue.enqueue(request);
    }

    /// Starts a deactivation: `call_rcu()`.
    fn deactivate(self, child: Retired<Child>) {
        child.enter(Stage::Deactivating, self.inside);
        child.root().stats().deactivations.count();
        child.trace(trace::child_offline);
        if let Err(child) = self.releases.callbacks.call_retired(child) {
            // Cannot be: a child goes offline once, and its head has no other use.
            kernel::warn_on!(true);
            Child::keep(child, self.inside);
        }
    }

    /// Starts the shutdown: `call_rcu()`. No reader is waited for. But this may be a hard interrupt,
    /// and to wake a worker, as `queue_work()` does, would cost it ten times as much.
    #[inline(always)]
    fn shut_down(self, child: Arc<Child>) {
        child.enter(Stage::Released, self.inside);
        child.trace(trace::child_release);
        if self.releases.callbacks.call(child).is_err() {
            // Cannot be: the callback of a deactivation, if there was one, came before the kill.
            kernel::warn_on!(true);
        }
    }
}

impl Entered<'_> {
    /// Asks for admission. Where the root is dying there is none, and the caller notes in what the
    /// gate protects how far the child has come.
    fn admit(&mut self) -> Result<Admission<'_>, &mut Inside> {
        match self.inside.phase {
            Phase::Live | Phase::Closing => Ok(Admission {
                inside: &mut self.inside,
                releases: &self.gate.releases,
            }),
            Phase::Dying | Phase::Destroyed => Err(&mut self.inside),
        }
    }

    /// As [`admit`](Self::admit), for what makes a child.
    fn admit_creation(&mut self) -> Option<Admission<'_>> {
        match self.inside.phase {
            Phase::Live => self.admit().ok(),
            Phase::Closing | Phase::Dying | Phase::Destroyed => None,
        }
    }

    /// Queues a creation.
    ///
    /// # Errors
    ///
    /// Gives it back where the root is being destroyed.
    pub(super) fn request(
        &mut self,
        request: Pin<KBox<Request>>,
    ) -> Result<(), Pin<KBox<Request>>> {
        match self.admit_creation() {
            Some(admission) => {
                admission.create(request);
                Ok(())
            }
            None => Err(request),
        }
    }

    /// Takes in a new child, whose count is not started yet.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the root is being destroyed.
    pub(super) fn adopt(
        &mut self,
        child: &Arc<Child>,
        node: RBTreeNodeReservation<u64, Arc<Child>>,
    ) -> Result {
        let admission = self.admit_creation().ok_or(ENODEV)?;
        admission.inside.unreleased += 1;
        admission.inside.undestroyed += 1;
        child.set_adopted();
        let node = node.into_node(child.number(), child.clone());
        admission.inside.children.insert(node);
        Ok(())
    }

    /// The group of a child went offline, and the lookup does not lead to it any more.
    pub(super) fn offline(&mut self, child: Retired<Child>) {
        if child.stage(&self.inside) != Stage::Active {
            // A destroy that failed left it in the lookup, released already: its shutdown takes
            // what is kept.
            return Child::keep(child, &mut self.inside);
        }
        match self.admit() {
            Ok(admission) => admission.deactivate(child),
            Err(inside) => {
                child.enter(Stage::Parked, inside);
                child.root().stats().parked.count();
                child.trace(trace::child_park);
                Child::keep(child, inside);
            }
        }
    }

    /// The lookup does not lead any more to a child that is going to be shut down.
    pub(super) fn part(&mut self, child: Retired<Child>) {
        Child::keep(child, &mut self.inside);
    }

    /// The reference is going to be killed by the deactivation work.
    pub(super) fn kill(&mut self, child: &Child) {
        child.enter(Stage::Killed, &mut self.inside);
        child.trace(trace::child_kill);
    }

    /// Is this a child whose reference a destroy of the root, in the phase `during`, has to kill? The
    /// caller does so.
    ///
    /// In an asynchronous destroy, where the reference is not started yet, its maker comes here
    /// afterwards.
    pub(super) fn condemn(&mut self, child: &Child, during: Phase) -> bool {
        if self.inside.phase != during || !child.refs().is_live() {
            return false;
        }
        match (during, child.stage(&self.inside)) {
            (Phase::Dying, Stage::Active | Stage::Parked) => {
                child.life(&mut self.inside).condemned = true;
            }
            (Phase::Closing, Stage::Active) => child.enter(Stage::Killed, &mut self.inside),
            // Condemned by an asynchronous destroy, which has not come to the kill yet.
            (Phase::Dying, Stage::Killed) => return true,
            _ => return false,
        }
        child.trace(trace::child_condemn);
        true
    }

    /// The last reference is gone. Context: any.
    #[inline]
    pub(super) fn release(&mut self, child: Arc<Child>) {
        let gate = self.gate;
        self.inside.unreleased -= 1;
        child.root().stats().release();
        match self.admit() {
            Ok(admission) => admission.shut_down(child),
            Err(inside) => {
                child.enter(Stage::Suppressed, inside);
                child.root().stats().suppressed.count();
                child.trace(trace::child_suppress);
                gate.changed.notify_all();
                // This was not the last `Arc`: the root's list has one.
            }
        }
    }

    /// How far a child has come.
    pub(super) fn stage_of(&self, child: &Child) -> Stage {
        child.stage(&self.inside)
    }

    /// What the gate protects of a child.
    pub(super) fn life_of<'a>(&'a mut self, child: &'a Child) -> &'a mut Life {
        child.life(&mut self.inside)
    }

    /// Takes a child out of the root's list.
    pub(super) fn remove(&mut self, child: &Child) -> Option<Arc<Child>> {
        self.inside.children.remove(&child.number())
    }

    /// Calls `f` for some children from number `from` on, and returns the number to go on from.
    pub(super) fn walk(&self, mut from: u64, f: &mut impl FnMut(&Child, Stage)) -> Option<u64> {
        for _ in 0..BATCH {
            let cursor = self.inside.children.cursor_lower_bound(&from)?;
            let (&number, child) = cursor.current();
            f(child, child.stage(&self.inside));
            from = number + 1;
        }
        Some(from)
    }

    /// The first child after number `after`: for walks that leave the gate in between.
    pub(super) fn next(&self, after: Option<u64>) -> Option<Arc<Child>> {
        let from = after.map_or(0, |number| number + 1);
        let cursor = self.inside.children.cursor_lower_bound(&from)?;
        Some(cursor.current().1.clone())
    }

    /// Is the root being destroyed?
    pub(super) fn phase(&self) -> Phase {
        self.inside.phase
    }

    /// How many children were taken in and are not destroyed yet.
    pub(super) fn undestroyed(&self) -> usize {
        self.inside.undestroyed
    }

    fn has_children(&self) -> bool {
        // Number 0 is the root's own cache.
        self.inside.children.keys().any(|&number| number != 0)
    }
}

/// While it lives, the workqueue runs nothing new. (On a machine with several memory nodes that is
/// so on one of them only: each runs one item at the least.)
pub struct Stall {
    releases: Share,
    end: Arc<Completion>,
}

impl Stall {
    pub(super) fn new(releases: &Arc<Releases>) -> Result<Self> {
        let releases = releases.share();
        let begin = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let end = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let (running, until) = (begin.clone(), end.clone());
        if releases.stalled.xchg(true, Full) {
            return Err(EBUSY);
        }
        // From here the drop undoes what was done.
        let stall = Self { releases, end };
        stall.releases.queue.set_max_active(1)?;
        stall.releases.queue.try_spawn(GFP_KERNEL, move || {
            running.complete_all();
            until.wait_for_completion();
        })?;
        begin.wait_for_completion();
        Ok(stall)
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.end.complete_all();
        // Fails for an ordered queue only.
        let _ = self.releases.queue.set_max_active(MAX_ACTIVE);
        self.releases.stalled.store(false, Release);
    }
}
