// SPDX-License-Identifier: GPL-2.0

//! Workqueues that a module owns.
//!
//! The in-tree [`Queue`] is borrowed: the system's queues live for ever, so work on them can
//! outlive the module whose code it runs. An [`OwnedQueue`] is drained and destroyed when it is
//! dropped; no item of it is left then. Items are the in-tree `Work` and `WorkItem`.
//!
//! It deliberately does not deref to [`Queue`]: `destroy_workqueue()` does not wait for the timers
//! of delayed items, so the in-tree `enqueue_delayed()` must not be reachable through it. The
//! delayed items of [`OwnedQueue::try_spawn_after`] are counted and waited for.
//!
//! A [`ScopedWork`] is an item that is cancelled when it is dropped, delayed or not.
//!
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{unload, workqueue::*};
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let queue = Builder::unbound().max_active(4).build(c"example", module)?;
//!     queue.try_spawn(GFP_KERNEL, || pr_info!("in a worker\n"))?;
//!     queue.flush();
//!     Ok(()) // Dropped here: drained and destroyed.
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

mod builder;
mod cancel;
mod delayed;
mod scoped;

pub use builder::{
    Builder,
    Concurrent,
    Ordered,
    PerCpu,
    Unbound, //
};
pub use cancel::{
    cancel,
    cancel_sync,
    HasPlainWork, //
};
pub use delayed::DelayedItem;
pub use scoped::{
    work_class,
    ScopedWork,
    SystemQueue,
    Target,
    WorkClass, //
};

use crate::abstractions::{
    context::in_interrupt,
    helpers,
    sync::wait_group::WaitGroup,
    unload, //
};
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*,
    task::might_sleep,
    workqueue::{
        impl_has_work,
        new_work,
        system_long,
        Queue,
        RawWorkItem,
        Work,
        WorkItem, //
    },
};

/// A workqueue that is drained and destroyed when it is dropped.
///
/// The drop sleeps: it waits for all items, and for delayed ones as long as their delay is. But a
/// worker, of whatever queue, does not wait: the item that it runs may be one of this queue, or one
/// that an item of this queue waits for. Nor does an interrupt, or a task with softirqs disabled,
/// such as one that runs RCU callbacks. There the queue is drained and destroyed later, by a worker
/// of the system. If the items must have run, call [`drain`](Self::drain) before the drop. Context
/// of the drop: may sleep in a task that is no worker and has softirqs enabled; otherwise any but
/// NMI.
///
/// Nor are delayed items cancelled then: the worker of the system waits for their timers. So it is
/// occupied, and the module kept, for as long as the longest delay. To end at once, cancel each
/// [`DelayedItem`], or drop the [`ScopedWork`], before the queue is dropped.
///
/// A queue that is never dropped keeps its module for ever: `rmmod` waits.
///
/// # Invariants
///
/// `ptr` is that of `teardown`, which is `None` in the drop only. `delayed` has a member for each
/// item whose timer may still lead to it.
#[must_use = "dropping it destroys the queue, and waits"]
pub struct OwnedQueue {
    ptr: NonNull<bindings::workqueue_struct>,
    is_ordered: bool,
    delayed: WaitGroup,
    teardown: Option<Pin<KBox<Teardown>>>,
    /// The items are code of the module. Dropped last.
    hold: unload::Hold,
}

/// What is left to do when a queue is dropped: drains and destroys it when it is dropped itself,
/// or, as a work item, in a worker.
///
/// # Invariants
///
/// `ptr` is a live workqueue that nobody else destroys. `delayed` is that of [`OwnedQueue`].
#[pin_data(PinnedDrop)]
struct Teardown {
    #[pin]
    work: Work<Teardown>,
    ptr: NonNull<bindings::workqueue_struct>,
    delayed: WaitGroup,
    /// `None` once [`run`](WorkItem::run) has taken it, to drop it last.
    hold: Option<unload::Hold>,
}

// SAFETY: A `workqueue_struct` is not bound to a thread: any task may call `destroy_workqueue()`.
unsafe impl Send for Teardown {}

impl_has_work! { impl HasWork<Self> for Teardown { self.work } }

impl WorkItem for Teardown {
    type Pointer = Pin<KBox<Self>>;

    fn run(mut this: Pin<KBox<Self>>) {
        let hold = this.as_mut().project().hold.take();
        drop(this);
        // Nothing but the return to the workqueue follows.
        drop(hold);
    }
}

#[pinned_drop]
impl PinnedDrop for Teardown {
    fn drop(self: Pin<&mut Self>) {
        self.delayed.wait();
        // SAFETY: Live, by the type invariants, and not used again. `destroy_workqueue()` drains
        // it, but does not wait for timers: none leads to it any more.
        unsafe { bindings::destroy_workqueue(self.ptr.as_ptr()) };
    }
}

// SAFETY: A `workqueue_struct` is not bound to a thread: it may be destroyed by any.
unsafe impl Send for OwnedQueue {}
// SAFETY: The functions on a `workqueue_struct` that take `&self` here take its locks.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Wraps `alloc_workqueue()`.
    fn alloc(name: &CStr, flags: u32, max_active: u32, hold: unload::Hold) -> Result<Self> {
        let held_later = hold.clone();
        let delayed = WaitGroup::new()?;
        let teardown = KBox::pin_init(
            try_pin_init!(Teardown {
                work <- new_work!("OwnedQueue::drop"),
                delayed,
                hold: Some(held_later),
                // INVARIANT: Just made; destroyed by our drop only.
                ptr: {
                    // SAFETY: `name` is valid for the call, which copies it.
                    let ptr = unsafe {
                        helpers::rust_kmemcg_alloc_workqueue(
                            name.as_char_ptr(),
                            flags,
                            max_active as i32,
                        )
                    };
                    NonNull::new(ptr).ok_or(ENOMEM)?
                },
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: The pointer is that of `teardown`; no item was queued.
        Ok(Self {
            ptr: teardown.ptr,
            is_ordered: flags & bindings::wq_flags___WQ_ORDERED != 0,
            delayed: teardown.delayed.clone(),
            teardown: Some(teardown),
            hold,
        })
    }

    #[inline]
    fn as_queue(&self) -> &Queue {
        // SAFETY: Live as long as `self`, by the type invariants.
        unsafe { Queue::from_raw(self.ptr.as_ptr()) }
    }

    /// Returns the queue of C, which exists as long as `self`.
    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::workqueue_struct {
        self.ptr.as_ptr()
    }

    /// Queues a work item. What it returns depends on the kind of pointer, as with the in-tree
    /// [`Queue::enqueue`].
    ///
    /// Wraps `queue_work()`. Context: any but NMI; does not sleep.
    #[inline]
    pub fn enqueue<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.as_queue().enqueue(work)
    }

    /// Queues a closure. Context: as `flags` allow.
    ///
    /// # Errors
    ///
    /// [`AllocError`]: no memory for the work item.
    #[inline]
    pub fn try_spawn<F>(&self, flags: Flags, work: F) -> Result<(), AllocError>
    where
        F: FnOnce() + Send + 'static,
    {
        self.as_queue().try_spawn(flags, work)
    }

    /// Waits for every item that is queued now, but not for those that are queued meanwhile.
    ///
    /// Wraps `flush_workqueue()`. Context: may sleep; not in an item of this queue.
    pub fn flush(&self) {
        might_sleep();
        // SAFETY: Live, by the type invariants.
        unsafe { bindings::__flush_workqueue(self.ptr.as_ptr()) };
    }

    /// Waits until the queue is empty, and the items that its items queue meanwhile are done.
    ///
    /// Takes `&mut`, as `drain_workqueue()` requires that nobody else queues anything meanwhile.
    ///
    /// Wraps `drain_workqueue()`. Context: may sleep; not in an item of this queue.
    pub fn drain(&mut self) {
        might_sleep();
        self.delayed.wait();
        // SAFETY: Live, by the type invariants.
        unsafe { bindings::drain_workqueue(self.ptr.as_ptr()) };
    }

    /// Changes how many items may run at a time; the number is clamped between 1 and the kernel's
    /// limit. [`Builder::max_active`] says what that means for a CPU or a node; but the least that
    /// each node runs only falls, and is not raised again.
    ///
    /// Wraps `workqueue_set_max_active()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: an ordered queue.
    pub fn set_max_active(&self, items: u32) -> Result {
        might_sleep();
        if self.is_ordered {
            return Err(EINVAL);
        }
        let items = items.clamp(1, bindings::wq_consts_WQ_MAX_ACTIVE);
        // SAFETY: Live, by the type invariants. `workqueue_set_max_active()` must not be called for
        // an ordered queue, which this is not.
        unsafe { bindings::workqueue_set_max_active(self.ptr.as_ptr(), items as i32) };
        Ok(())
    }
}

impl unload::Source for OwnedQueue {
    /// Does not fail.
    fn take_hold(&self, _: unload::Abstraction) -> Result<unload::Hold> {
        Ok(self.hold.clone())
    }
}

impl OwnedQueue {
    /// In a drop: leaves what is left to do to a worker of the system.
    fn tear_down_later(&mut self) {
        if let Some(teardown) = self.teardown.take() {
            system_long().enqueue(teardown);
        }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // An item of a BH workqueue runs in a softirq, where `current_work()` is none.
        if in_interrupt() || is_worker() {
            self.tear_down_later();
        } else if self.teardown.is_some() {
            might_sleep();
        }
    }
}

/// A workqueue that is drained and destroyed by a worker of the system when it is dropped, wherever
/// that is. Context of the drop: any but NMI.
pub(crate) struct DetachedQueue {
    queue: OwnedQueue,
    is_detached: bool,
}

impl From<OwnedQueue> for DetachedQueue {
    fn from(queue: OwnedQueue) -> Self {
        Self {
            queue,
            is_detached: true,
        }
    }
}

impl DetachedQueue {
    /// From here the drop is that of the [`OwnedQueue`].
    pub(crate) fn attach(&mut self) {
        self.is_detached = false;
    }
}

impl Deref for DetachedQueue {
    type Target = OwnedQueue;

    #[inline]
    fn deref(&self) -> &OwnedQueue {
        &self.queue
    }
}

impl Drop for DetachedQueue {
    fn drop(&mut self) {
        if self.is_detached {
            self.queue.tear_down_later();
        }
    }
}

/// Does the caller run in a work item, of whatever queue?
fn is_worker() -> bool {
    // SAFETY: `current_work()` looks at the current task, and requires nothing.
    !unsafe { bindings::current_work() }.is_null()
}
