// SPDX-License-Identifier: GPL-2.0

//! The workqueues and the RCU callbacks of this module.
//!
//! What queues is visible to the gate only: everything else needs an
//! [`Admission`](super::Admission).

use crate::abstractions::{
    sync::{
        rcu::{
            call_rcu::{
                Callbacks,
                RcuCallback,
                RcuPointer, //
            },
            slot::Retired, //
        },
        wait_group::{
            Member,
            WaitGroup, //
        }, //
    },
    unload,
    workqueue::{
        Builder,
        OwnedQueue, //
    }, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::{
        atomic::{AtomicFlag, Full, Release},
        rcu,
        Arc,
        Completion, //
    },
    workqueue::RawWorkItem,
};

/// How many deactivations and shutdowns run at once.
const MAX_ACTIVE: u32 = 16;

/// How many creations run at once. Each holds `slab_mutex` for most of its time.
const MAX_CREATIONS: u32 = 4;

/// The workqueues and the RCU callbacks of this module, shared by all roots.
pub(in crate::protocol) struct Queues {
    /// Deactivations and shutdowns.
    works: OwnedQueue,
    /// On a queue of their own: a group would wait for its child as long as there are shutdowns.
    creations: OwnedQueue,
    callbacks: Callbacks,
    blocked: AtomicFlag,
    /// One member for each [`QueuesRef`].
    users: WaitGroup,
}

impl Queues {
    pub(in crate::protocol) fn new(module: &unload::Handle) -> Result<Self> {
        Ok(Self {
            works: Builder::unbound()
                .mem_reclaim()
                .max_active(MAX_ACTIVE)
                .build(c"rust_kmemcg", module)?,
            creations: Builder::unbound()
                .mem_reclaim()
                .max_active(MAX_CREATIONS)
                .build(c"rust_kmemcg_create", module)?,
            callbacks: Callbacks::new(module),
            blocked: AtomicFlag::new(false),
            users: WaitGroup::new()?,
        })
    }

    /// A reference that may be dropped in any context.
    pub(in crate::protocol) fn get(self: &Arc<Self>) -> QueuesRef {
        QueuesRef {
            queues: self.clone(),
            _member: self.users.join(),
        }
    }

    /// Waits until there is no [`QueuesRef`]: the queue is destroyed where its last `Arc` is dropped,
    /// which is the caller's then. Context: may sleep.
    pub(in crate::protocol) fn wait_unused(&self) {
        self.users.wait();
    }

    /// Waits for everything that was queued, for the works that callbacks have queued, and for the
    /// releases that have queued it: they run in RCU read-side critical sections. Context: may sleep.
    pub(in crate::protocol) fn quiesce(&self) {
        self.barrier();
        self.flush();
        rcu::synchronize_rcu();
    }

    pub(super) fn hold(&self) -> &impl unload::Source {
        &self.works
    }

    /// Waits for the callbacks that are queued now. Context: may sleep.
    pub(super) fn barrier(&self) {
        self.callbacks.barrier();
    }

    /// Waits for the works of both queues that are queued now. None queues another one. Context: may sleep.
    pub(super) fn flush(&self) {
        self.creations.flush();
        self.works.flush();
    }

    #[inline]
    pub(super) fn enqueue_creation<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.creations.enqueue(work)
    }

    #[inline]
    pub(super) fn enqueue<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.works.enqueue(work)
    }

    #[inline(always)]
    pub(super) fn call<P, const ID: u64>(&self, this: P) -> Result<(), P>
    where
        P: RcuPointer,
        P::Target: RcuCallback<ID, Pointer = P>,
    {
        self.callbacks.call(this).map_err(|refused| refused.this)
    }

    pub(super) fn call_retired<T, const ID: u64>(&self, this: Retired<T>) -> Result<(), Retired<T>>
    where
        T: RcuCallback<ID, Pointer = Arc<T>>,
    {
        self.callbacks
            .call_retired(this)
            .map_err(|refused| refused.this)
    }
}

/// A reference on the [`Queues`]. Dropping it never destroys the workqueues: whoever made the queues
/// waits until there is no such reference. Context of the drop: any.
///
/// The fields are dropped in this order.
pub(in crate::protocol) struct QueuesRef {
    queues: Arc<Queues>,
    _member: Member,
}

impl Deref for QueuesRef {
    type Target = Queues;

    fn deref(&self) -> &Queues {
        &self.queues
    }
}

/// While it lives, neither workqueue starts a work. (On a machine with several memory nodes that holds
/// for one of them: each runs one work at the least.) A test knob.
pub struct WorkqueueBlock {
    queues: QueuesRef,
    end: Arc<Completion>,
}

/// Makes a queue run one work at a time, and queues one that ends when `end` says so. Returns when it runs.
fn block(queue: &OwnedQueue, end: &Arc<Completion>) -> Result {
    let begin = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let (running, until) = (begin.clone(), end.clone());
    queue.set_max_active(1)?;
    queue.try_spawn(GFP_KERNEL, move || {
        running.complete_all();
        until.wait_for_completion();
    })?;
    begin.wait_for_completion();
    Ok(())
}

impl WorkqueueBlock {
    pub(in crate::protocol) fn new(queues: &Arc<Queues>) -> Result<Self> {
        let queues = queues.get();
        let end = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        if queues.blocked.xchg(true, Full) {
            return Err(EBUSY);
        }
        // From here the drop undoes what was done.
        let this = Self { queues, end };
        block(&this.queues.works, &this.end)?;
        block(&this.queues.creations, &this.end)?;
        Ok(this)
    }
}

impl Drop for WorkqueueBlock {
    fn drop(&mut self) {
        self.end.complete_all();
        // Fails for an ordered queue only.
        let _ = self.queues.works.set_max_active(MAX_ACTIVE);
        let _ = self.queues.creations.set_max_active(MAX_CREATIONS);
        self.queues.blocked.store(false, Release);
    }
}
