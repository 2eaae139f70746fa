// SPDX-License-Identifier: GPL-2.0

//! The gate of a root: the irq-safe lock, the phase inside it, and admission, which is the only way to
//! begin anything for a child. What was admitted may queue its next part without another admission.

mod queues;

pub use queues::WorkqueueBlock;
pub(super) use queues::{Queues, QueuesRef};

use super::stage::Phase;
use crate::abstractions::{
    sync::{
        percpu_ref::Released,
        rcu::{
            call_rcu::{
                InCallback,
                RcuCallback, //
            },
            slot::Retired, //
        }, //
    },
    unload, //
};
use core::ops::{Deref, DerefMut};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{
        lock::{spinlock::SpinLockIrqBackend, Guard},
        new_condvar,
        new_spinlock_irq,
        Arc,
        CondVar,
        SpinLockIrq, //
    },
    workqueue::RawWorkItem,
};

/// What the gate protects: the phase of the root, and its caches. What it protects of each child
/// lies in the child (`LockedBy`).
pub(super) struct Inside<C> {
    phase: Phase,
    /// The root's own cache, number 0, and its children.
    children: RBTree<u64, Arc<C>>,
    /// How many of them have a last free to come.
    unreleased: usize,
    /// How many were linked and are not destroyed yet.
    undestroyed: usize,
    /// How many counts a close has noted as killed and is about to kill.
    kills: usize,
}

/// The gate of a root whose caches are `C`s.
#[pin_data]
pub(super) struct Gate<C> {
    #[pin]
    inside: SpinLockIrq<Inside<C>>,
    /// Notified when a release is deferred, when a close has killed a count, and when a cache was destroyed.
    #[pin]
    changed: CondVar,
    queues: QueuesRef,
}

impl<C> Gate<C> {
    pub(super) fn new(queues: QueuesRef) -> impl PinInit<Self> {
        pin_init!(Self {
            inside <- new_spinlock_irq!(Inside {
                phase: Phase::Live,
                children: RBTree::new(),
                unreleased: 0,
                undestroyed: 0,
                kills: 0,
            }, "rust_kmemcg::gate"),
            changed <- new_condvar!("rust_kmemcg::changed"),
            queues,
        })
    }

    /// The lock, not taken: for data that it protects elsewhere (`LockedBy`).
    pub(super) fn spinlock(&self) -> &SpinLockIrq<Inside<C>> {
        &self.inside
    }

    /// Takes the lock. Context: any.
    #[inline]
    pub(super) fn enter(&self) -> Entered<'_, C> {
        Entered {
            inside: self.inside.lock(),
            gate: self,
        }
    }

    /// Queues the work that follows an RCU callback. It needs no admission, since the callback had
    /// one; `cx` is the proof that one is running.
    pub(super) fn queue_from_callback<W, const ID: u64>(
        &self,
        work: W,
        _cx: InCallback<'_>,
    ) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.queues.enqueue(work)
    }

    /// Waits for everything that was admitted before the dying flag was set; `mod.rs` says why in this
    /// order. Context: may sleep.
    pub(super) fn drain(&self) {
        self.queues.barrier();
        self.queues.flush();
        if self.enter().has_children() {
            self.kill_barrier();
        }
    }

    /// Waits until every earlier `percpu_ref_kill()` has made its count exact. Context: may sleep.
    pub(super) fn kill_barrier(&self) {
        self.queues.barrier();
    }

    /// From where the count of a child gets its hold on the module, which cannot fail.
    pub(super) fn hold(&self) -> &impl unload::Source {
        self.queues.hold()
    }
}

/// The gate, held.
pub(super) struct Entered<'a, C> {
    inside: Guard<'a, Inside<C>, SpinLockIrqBackend>,
    gate: &'a Gate<C>,
}

impl<C> Deref for Entered<'_, C> {
    type Target = Inside<C>;

    #[inline]
    fn deref(&self) -> &Inside<C> {
        &self.inside
    }
}

impl<C> DerefMut for Entered<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Inside<C> {
        &mut self.inside
    }
}

/// Permission to queue one thing for a child: the dying flag is clear, and nobody can set it before the
/// thing is queued, since the admission borrows the gate that is held.
pub(super) struct Admission<'a, C> {
    inside: &'a mut Inside<C>,
    queues: &'a Queues,
}

impl<'a, C> Admission<'a, C> {
    /// What the gate protects.
    #[inline(always)]
    pub(super) fn inside(&mut self) -> &mut Inside<C> {
        self.inside
    }

    /// `queue_work()`, on the queue of the creations.
    pub(super) fn queue_creation<W, const ID: u64>(self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.queues.enqueue_creation(work)
    }

    /// `call_rcu()`. Gives the child back where its `rcu_head` is in use.
    #[inline(always)]
    pub(super) fn call<const ID: u64>(self, child: Released<C>) -> Result<(), Released<C>>
    where
        C: RcuCallback<ID, Pointer = Released<C>>,
    {
        self.queues.call(child)
    }

    /// The same for a child that readers of the lookup may still look at; gives back what the gate
    /// protects, too.
    #[inline(always)]
    pub(super) fn call_retired<const ID: u64>(
        self,
        child: Retired<C>,
    ) -> Result<(), (Retired<C>, &'a mut Inside<C>)>
    where
        C: RcuCallback<ID, Pointer = Arc<C>>,
    {
        self.queues
            .call_retired(child)
            .map_err(|child| (child, self.inside))
    }
}

impl<C> Entered<'_, C> {
    /// Asks for admission. Where the root is dying there is none, and the caller notes in what the
    /// gate protects how far the child has come.
    #[inline(always)]
    pub(super) fn admit(&mut self) -> Result<Admission<'_, C>, &mut Inside<C>> {
        if self.inside.phase.is_dying() {
            return Err(&mut self.inside);
        }
        Ok(Admission {
            inside: &mut self.inside,
            queues: &self.gate.queues,
        })
    }

    /// The same for the creation of a child: not where the root is closing either.
    pub(super) fn admit_creation(&mut self) -> Option<Admission<'_, C>> {
        match self.inside.phase {
            Phase::Live => self.admit().ok(),
            _ => None,
        }
    }

    /// Wakes a destroyer in [`wait`](Self::wait).
    #[inline]
    pub(super) fn notify(&self) {
        self.gate.changed.notify_all();
    }

    /// Leaves the gate until what it protects is as `until` wants it. Context: may sleep.
    pub(super) fn wait(&mut self, mut until: impl FnMut(&Inside<C>) -> bool) {
        let gate = self.gate;
        while !until(&self.inside) {
            gate.changed.wait(&mut self.inside);
        }
    }
}

impl<C> Inside<C> {
    /// How far the destruction of the root has come.
    #[inline(always)]
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Lists a new cache.
    pub(super) fn link(
        &mut self,
        number: u64,
        child: Arc<C>,
        node: RBTreeNodeReservation<u64, Arc<C>>,
    ) {
        self.unreleased += 1;
        self.undestroyed += 1;
        self.children.insert(node.into_node(number, child));
    }

    /// Takes a cache off the list.
    pub(super) fn unlink(&mut self, number: u64) -> Option<Arc<C>> {
        self.children.remove(&number)
    }

    /// A last free has come.
    #[inline(always)]
    pub(super) fn count_release(&mut self) {
        self.unreleased -= 1;
    }

    /// The count of a released cache is started anew: it has a last free to come.
    pub(super) fn count_revival(&mut self) {
        self.unreleased += 1;
    }

    /// A cache was destroyed.
    pub(super) fn count_destroyed(&mut self) {
        self.undestroyed -= 1;
    }

    /// How many caches have a last free to come.
    pub(super) fn unreleased(&self) -> usize {
        self.unreleased
    }

    /// How many caches were linked and are not destroyed yet.
    pub(super) fn undestroyed(&self) -> usize {
        self.undestroyed
    }

    /// A close is about to kill a count.
    pub(super) fn begin_kill(&mut self) {
        self.kills += 1;
    }

    /// It has.
    pub(super) fn end_kill(&mut self) {
        self.kills -= 1;
    }

    /// How many counts a close is about to kill.
    pub(super) fn kills(&self) -> usize {
        self.kills
    }

    /// Calls `f` for the first cache from number `from` on, and returns the number to go on from. One in a
    /// section of the gate: `f` may read a counter of each processor.
    pub(super) fn walk(&self, from: u64, f: impl FnOnce(&C)) -> Option<u64> {
        let cursor = self.children.cursor_lower_bound(&from)?;
        let (&number, child) = cursor.current();
        f(child);
        Some(number + 1)
    }

    /// The first cache from number `from` on, and its number: for walks that leave the gate in between.
    pub(super) fn next(&self, from: u64) -> Option<(u64, Arc<C>)> {
        let cursor = self.children.cursor_lower_bound(&from)?;
        let (&number, child) = cursor.current();
        Some((number, child.clone()))
    }

    fn has_children(&self) -> bool {
        // Number 0 is the root's own cache.
        self.children.cursor_lower_bound(&1).is_some()
    }
}
