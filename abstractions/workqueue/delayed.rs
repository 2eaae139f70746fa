// SPDX-License-Identifier: GPL-2.0

//! Closures that run after a delay.

use super::{
    cancel::{
        raw_delayed,
        reclaim, //
    },
    OwnedQueue, //
};
use crate::abstractions::sync::wait_group::Member;
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*,
    sync::{
        new_spinlock_irq,
        Arc,
        SpinLockIrq, //
    },
    time::Jiffies,
    workqueue::{
        impl_has_delayed_work,
        new_delayed_work,
        DelayedWork,
        WorkItem, //
    },
};

impl OwnedQueue {
    /// Queues a closure after `delay`. The drop of the queue waits for that long, wherever it is,
    /// unless the item is cancelled: see [`OwnedQueue`].
    ///
    /// Wraps `queue_delayed_work()`. Context: as `flags` allow.
    ///
    /// # Errors
    ///
    /// [`AllocError`]: no memory for the work item.
    pub fn try_spawn_after<F>(
        &self,
        delay: Jiffies,
        flags: Flags,
        work: F,
    ) -> Result<DelayedItem<F>, AllocError>
    where
        F: FnOnce() + Send + Unpin + 'static,
    {
        let item = Arc::pin_init(
            pin_init!(DelayedClosure {
                dwork <- new_delayed_work!("OwnedQueue::try_spawn_after"),
                // INVARIANT: Counted until the closure has run or was cancelled.
                work <- new_spinlock_irq!(Some((work, self.delayed.join()))),
            }),
            flags,
        )
        .map_err(|_| AllocError)?;
        // A new item is not queued yet, so this queues it.
        let _ = self.as_queue().enqueue_delayed(item.clone(), delay);
        Ok(DelayedItem(item))
    }
}

/// # Invariants
///
/// Queued once, with an `Arc`. `work` is there, with a member of its queue, until it runs or is
/// cancelled.
#[pin_data]
struct DelayedClosure<F> {
    #[pin]
    dwork: DelayedWork<Self>,
    #[pin]
    work: SpinLockIrq<Option<(F, Member)>>,
}

impl_has_delayed_work! {
    impl{F} HasDelayedWork<Self> for DelayedClosure<F> { self.dwork }
}

impl<F: FnOnce() + Send + Unpin + 'static> WorkItem for DelayedClosure<F> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let work = this.work.lock().take();
        if let Some((work, member)) = work {
            work();
            drop(member);
        }
    }
}

/// A closure that runs after a delay. If this is dropped, it runs nevertheless.
pub struct DelayedItem<F: FnOnce() + Send + Unpin + 'static>(Arc<DelayedClosure<F>>);

impl<F: FnOnce() + Send + Unpin + 'static> DelayedItem<F> {
    /// Takes the closure back, unless it runs or has run. Context: any but NMI.
    pub fn cancel(self) -> Option<F> {
        // SAFETY: The item is alive.
        let cancelled = unsafe { bindings::cancel_delayed_work(raw_delayed(&self.0.dwork)) };
        // SAFETY: `cancel_delayed_work()` returns true if it was queued, and does not run then. Its
        // function is the one for an `Arc`, so it was queued with one.
        drop(unsafe { reclaim(&self.0, cancelled) });
        let work = self.0.work.lock().take();
        work.map(|(work, _member)| work)
    }
}
