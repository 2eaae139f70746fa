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
//! # Examples
//!
//! ```
//! use kernel::prelude::*;
//! use rust_kmemcg::abstractions::{unload, workqueue::*};
//!
//! fn example(module: &unload::Handle) -> Result {
//!     let queue = OwnedQueue::new(c"example", Options::unbound().max_active(4), module)?;
//!     queue.try_spawn(GFP_KERNEL, || pr_info!("in a worker\n"))?;
//!     queue.flush();
//!     Ok(()) // Dropped here: drained and destroyed.
//! }
//! # assert_eq!(unload::scope(example), Ok(()));
//! ```
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::abstractions::{
    helpers, unload,
    wait_group::{Member, WaitGroup},
};
use core::ptr::{self, NonNull};
use kernel::{
    alloc::{AllocError, Flags},
    bindings,
    prelude::*,
    sync::{new_spinlock_irq, Arc, SpinLockIrq},
    time::Jiffies,
    workqueue::{
        impl_has_delayed_work, new_delayed_work, DelayedWork, HasWork, Queue, RawWorkItem, Work,
        WorkItem,
    },
};

/// How a queue is made.
///
/// # Examples
///
/// ```
/// use rust_kmemcg::abstractions::workqueue::Options;
///
/// const RELEASES: Options = Options::unbound().mem_reclaim().max_active(16);
/// ```
#[derive(Clone, Copy)]
pub struct Options {
    flags: u32,
    max_active: u32,
}

impl Options {
    /// Items run on the CPU that queued them (`WQ_PERCPU`).
    pub const fn per_cpu() -> Self {
        Self {
            flags: bindings::wq_flags_WQ_PERCPU,
            max_active: 0,
        }
    }

    /// Items run on no CPU in particular (`WQ_UNBOUND`).
    pub const fn unbound() -> Self {
        Self {
            flags: bindings::wq_flags_WQ_UNBOUND,
            max_active: 0,
        }
    }

    /// Items run one after the other, in the order in which they were queued
    /// (`alloc_ordered_workqueue()`).
    pub const fn ordered() -> Self {
        Self {
            flags: bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            max_active: 1,
        }
    }

    /// Runs at most so many items at a time (0, as when this is not called: the kernel's default;
    /// an ordered queue runs one, whatever is asked here).
    pub const fn max_active(mut self, items: u32) -> Self {
        if self.flags & bindings::wq_flags___WQ_ORDERED == 0 {
            self.max_active = items;
        }
        self
    }

    /// Gives the queue a rescuer, so that it makes progress when there is no memory for new
    /// workers: what is needed where freeing memory depends on it (`WQ_MEM_RECLAIM`).
    pub const fn mem_reclaim(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_MEM_RECLAIM;
        self
    }

    /// Items run in workers of high priority (`WQ_HIGHPRI`).
    pub const fn highpri(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_HIGHPRI;
        self
    }

    /// Items do not run while the system is being suspended (`WQ_FREEZABLE`).
    pub const fn freezable(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_FREEZABLE;
        self
    }

    const fn is_ordered(self) -> bool {
        self.flags & bindings::wq_flags___WQ_ORDERED != 0
    }
}

/// A workqueue that is drained and destroyed when it is dropped.
///
/// The drop waits for delayed items too, as long as their delay is. It sleeps, and must not happen
/// in a work item of the queue itself: it would wait for itself. A queue that is never dropped
/// keeps its module for ever: `rmmod` waits.
///
/// # Invariants
///
/// The pointer is a live workqueue that nobody else destroys. `delayed` has a member for each item
/// whose timer may still lead to it.
pub struct OwnedQueue {
    ptr: NonNull<bindings::workqueue_struct>,
    options: Options,
    delayed: WaitGroup,
    /// The items are code of the module. Dropped last.
    hold: unload::Hold,
}

// SAFETY: A workqueue may be used and destroyed from any thread.
unsafe impl Send for OwnedQueue {}
// SAFETY: As above.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a queue, for items of the module.
    ///
    /// Stands on `alloc_workqueue()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` where more than `WQ_MAX_ACTIVE` items are to run at a time, or the name
    /// is longer than the kernel keeps (31 bytes); `ENODEV` where the module is being unloaded.
    pub fn new(name: &CStr, options: Options, module: &unload::Handle) -> Result<Self> {
        /// `WQ_NAME_LEN`: C cuts a name that is longer.
        const NAME_LEN: usize = 32;
        let name_fits = name.to_bytes_with_nul().len() <= NAME_LEN;
        if options.max_active > bindings::wq_consts_WQ_MAX_ACTIVE || !name_fits {
            return Err(EINVAL);
        }
        let hold = module.hold()?;
        let delayed = WaitGroup::new()?;
        // SAFETY: `name` is valid for the call, which copies it.
        let ptr = unsafe {
            helpers::rust_kmemcg_alloc_workqueue(
                name.as_char_ptr(),
                options.flags,
                options.max_active as i32,
            )
        };
        // INVARIANT: Just made; destroyed by our drop only.
        Ok(Self {
            ptr: NonNull::new(ptr).ok_or(ENOMEM)?,
            options,
            delayed,
            hold,
        })
    }

    fn as_queue(&self) -> &Queue {
        // SAFETY: Live as long as `self`, by the type invariants.
        unsafe { Queue::from_raw(self.ptr.as_ptr()) }
    }

    /// Queues a work item. Context: any; does not sleep.
    ///
    /// Stands on `queue_work()`; what it returns depends on the kind of pointer, as with the
    /// in-tree [`Queue::enqueue`].
    pub fn enqueue<W, const ID: u64>(&self, work: W) -> W::EnqueueOutput
    where
        W: RawWorkItem<ID> + Send + 'static,
    {
        self.as_queue().enqueue(work)
    }

    /// Queues a closure. Context: as `flags` say.
    ///
    /// # Errors
    ///
    /// [`AllocError`]: no memory for the work item.
    pub fn try_spawn<F>(&self, flags: Flags, work: F) -> Result<(), AllocError>
    where
        F: FnOnce() + Send + 'static,
    {
        self.as_queue().try_spawn(flags, work)
    }

    /// Waits for every item that is queued now. Those that are queued meanwhile are not waited for.
    ///
    /// Stands on `flush_workqueue()`. Context: may sleep; not in an item of this queue.
    pub fn flush(&self) {
        // SAFETY: Live, by the type invariants.
        unsafe { bindings::__flush_workqueue(self.ptr.as_ptr()) };
    }

    /// Waits until the queue is empty, and what items queue meanwhile is done, too.
    ///
    /// Nobody else can queue anything then, which C asks its callers for: hence `&mut`. Stands on
    /// `drain_workqueue()`. Context: may sleep; not in an item of this queue.
    pub fn drain(&mut self) {
        self.delayed.wait();
        // SAFETY: Live, by the type invariants.
        unsafe { bindings::drain_workqueue(self.ptr.as_ptr()) };
    }

    /// Changes how many items may run at a time; the number is brought between 1 and the kernel's
    /// limit.
    ///
    /// Stands on `workqueue_set_max_active()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL`: an ordered queue.
    pub fn set_max_active(&self, items: u32) -> Result {
        if self.options.is_ordered() {
            return Err(EINVAL);
        }
        let items = items.clamp(1, bindings::wq_consts_WQ_MAX_ACTIVE);
        // SAFETY: Live, by the type invariants; not ordered.
        unsafe { bindings::workqueue_set_max_active(self.ptr.as_ptr(), items as i32) };
        Ok(())
    }

    /// Queues a closure after `delay`. Context: as `flags` say.
    ///
    /// Stands on `queue_delayed_work()`.
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

impl unload::Source for OwnedQueue {
    /// Does not fail.
    fn take_hold(&self, _: unload::Abstraction) -> Result<unload::Hold> {
        Ok(self.hold.clone())
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        self.delayed.wait();
        // SAFETY: Live, by the type invariants, no timer leads to it, and it is not used again.
        // Drains first.
        unsafe { bindings::destroy_workqueue(self.ptr.as_ptr()) };
    }
}

/// Takes an item off whatever queue it is on, and returns the reference that the queue had.
///
/// None where it was not queued: it may be running. Stands on `cancel_work()`. Context: any but
/// NMI. Not for the in-tree delayed items: while the timer of one is pending, C spins here, and
/// for ever where interrupts are disabled.
pub fn cancel<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    // SAFETY: The item is alive; its function, set by `Work::new()`, is the one for an `Arc`, so it
    // is queued with one.
    unsafe { reclaim(item, bindings::cancel_work(raw_work::<T, ID>(item))) }
}

/// As [`cancel`], and waits until the item is not running either. Who queues it meanwhile gets it
/// back as if it were queued.
///
/// Stands on `cancel_work_sync()`. Context: may sleep; not in the item itself.
pub fn cancel_sync<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    // SAFETY: As in `cancel()`.
    unsafe { reclaim(item, bindings::cancel_work_sync(raw_work::<T, ID>(item))) }
}

fn raw_work<T: HasWork<T, ID>, const ID: u64>(item: &Arc<T>) -> *mut bindings::work_struct {
    // SAFETY: The item is alive.
    unsafe { Work::raw_get(T::raw_get_work(Arc::as_ptr(item).cast_mut())) }
}

/// # Safety
///
/// `cancelled` says that the item was queued, with an `Arc`, and will not run.
unsafe fn reclaim<T>(item: &Arc<T>, cancelled: bool) -> Option<Arc<T>> {
    // SAFETY: The queue owned this `Arc`, which it would have given to `run()`.
    cancelled.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
}

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

/// A closure that runs after a delay. Dropping this lets it run.
pub struct DelayedItem<F: FnOnce() + Send + Unpin + 'static>(Arc<DelayedClosure<F>>);

impl<F: FnOnce() + Send + Unpin + 'static> DelayedItem<F> {
    /// Takes the closure back, unless it runs or has run. Context: any but NMI.
    pub fn cancel(self) -> Option<F> {
        cancel_delayed(&self.0);
        let work = self.0.work.lock().take();
        work.map(|(work, _member)| work)
    }
}

fn cancel_delayed<F: FnOnce() + Send + Unpin + 'static>(item: &Arc<DelayedClosure<F>>) {
    let raw = ptr::from_ref(&item.dwork)
        .cast_mut()
        .cast::<bindings::delayed_work>();
    // SAFETY: `DelayedWork` is a transparent wrapper; the item is alive.
    let cancelled = unsafe { bindings::cancel_delayed_work(raw) };
    // SAFETY: It was queued with an `Arc`, and does not run.
    drop(unsafe { reclaim(item, cancelled) });
}
