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
use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::{AllocError, Flags},
    bindings,
    prelude::*,
    sync::{new_spinlock_irq, Arc, SpinLockIrq},
    task::might_sleep,
    time::Jiffies,
    workqueue::{
        impl_has_delayed_work, new_delayed_work, DelayedWork, HasWork, Queue, RawWorkItem, Work,
        WorkItem,
    },
};

/// A kind of queue, in [`Options`]: items run on the CPU that queued them (`WQ_PERCPU`).
#[derive(Clone, Copy)]
pub struct PerCpu;

/// A kind of queue: items run on no CPU in particular (`WQ_UNBOUND`).
#[derive(Clone, Copy)]
pub struct Unbound;

/// A kind of queue: items run one after the other (`alloc_ordered_workqueue()`).
#[derive(Clone, Copy)]
pub struct Ordered;

mod sealed {
    pub trait Concurrent {}
    impl Concurrent for super::PerCpu {}
    impl Concurrent for super::Unbound {}
}

/// The kinds of queues that run several items at a time: [`PerCpu`] and [`Unbound`].
pub trait Concurrent: sealed::Concurrent {}

impl<K: sealed::Concurrent> Concurrent for K {}

/// How a queue is made. What C ignores or refuses for a kind of queue is not there for that kind.
///
/// # Examples
///
/// ```
/// use rust_kmemcg::abstractions::workqueue::{Options, Ordered};
///
/// const RELEASES: Options = Options::unbound().mem_reclaim().max_active(16);
/// const LOG: Options<Ordered> = Options::ordered().freezable();
/// ```
#[derive(Clone, Copy)]
pub struct Options<K = Unbound> {
    flags: u32,
    max_active: u32,
    _kind: PhantomData<K>,
}

impl Options<PerCpu> {
    /// A queue whose items run on the CPU that queued them.
    pub const fn per_cpu() -> Self {
        Self::with(bindings::wq_flags_WQ_PERCPU, 0)
    }
}

impl Options<Unbound> {
    /// A queue whose items run on no CPU in particular.
    pub const fn unbound() -> Self {
        Self::with(bindings::wq_flags_WQ_UNBOUND, 0)
    }
}

impl Options<Ordered> {
    /// A queue whose items run one after the other, in the order in which they were queued.
    pub const fn ordered() -> Self {
        Self::with(
            bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags___WQ_ORDERED,
            1,
        )
    }
}

impl<K: Concurrent> Options<K> {
    /// Runs at most so many items at a time; 0, the default, is the kernel's default.
    pub const fn max_active(mut self, items: u32) -> Self {
        self.max_active = items;
        self
    }

    /// Items run in workers of high priority (`WQ_HIGHPRI`).
    pub const fn highpri(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_HIGHPRI;
        self
    }
}

impl<K> Options<K> {
    const fn with(flags: u32, max_active: u32) -> Self {
        Self {
            flags,
            max_active,
            _kind: PhantomData,
        }
    }

    /// Gives the queue a rescuer, so that it makes progress when there is no memory for new
    /// workers (`WQ_MEM_RECLAIM`): needed if freeing memory depends on the queue.
    pub const fn mem_reclaim(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_MEM_RECLAIM;
        self
    }

    /// Items do not run while the system is being suspended (`WQ_FREEZABLE`).
    pub const fn freezable(mut self) -> Self {
        self.flags |= bindings::wq_flags_WQ_FREEZABLE;
        self
    }
}

/// A workqueue that is drained and destroyed when it is dropped.
///
/// The drop also waits for delayed items, as long as their delay is. It sleeps, and must not happen
/// in a work item of the queue itself: it would wait for itself. A queue that is never dropped
/// keeps its module for ever: `rmmod` waits.
///
/// # Invariants
///
/// The pointer is a live workqueue that nobody else destroys. `delayed` has a member for each item
/// whose timer may still lead to it.
pub struct OwnedQueue {
    ptr: NonNull<bindings::workqueue_struct>,
    is_ordered: bool,
    delayed: WaitGroup,
    /// The items are code of the module. Dropped last.
    hold: unload::Hold,
}

// SAFETY: A `workqueue_struct` is not bound to a thread: it may be destroyed by any.
unsafe impl Send for OwnedQueue {}
// SAFETY: The functions on a `workqueue_struct` that take `&self` here take its locks.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Makes a queue, for items of the module.
    ///
    /// Wraps `alloc_workqueue()`. Context: may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. `EINVAL`: more than `WQ_MAX_ACTIVE` items at a time, or a name that is longer than
    /// the kernel keeps (31 bytes). `ENODEV`: the module is being unloaded.
    pub fn new<K>(name: &CStr, options: Options<K>, module: &unload::Handle) -> Result<Self> {
        /// `WQ_NAME_LEN`: C cuts a name that is longer.
        const NAME_LEN: usize = 32;
        might_sleep();
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
            is_ordered: options.flags & bindings::wq_flags___WQ_ORDERED != 0,
            delayed,
            hold,
        })
    }

    fn as_queue(&self) -> &Queue {
        // SAFETY: Live as long as `self`, by the type invariants.
        unsafe { Queue::from_raw(self.ptr.as_ptr()) }
    }

    /// Queues a work item. What it returns depends on the kind of pointer, as with the in-tree
    /// [`Queue::enqueue`].
    ///
    /// Wraps `queue_work()`. Context: any; does not sleep.
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
    /// limit.
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

    /// Queues a closure after `delay`.
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

impl unload::Source for OwnedQueue {
    /// Does not fail.
    fn take_hold(&self, _: unload::Abstraction) -> Result<unload::Hold> {
        Ok(self.hold.clone())
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        might_sleep();
        self.delayed.wait();
        // SAFETY: Live, by the type invariants, and not used again. `destroy_workqueue()` drains it,
        // but does not wait for timers: none leads to it any more.
        unsafe { bindings::destroy_workqueue(self.ptr.as_ptr()) };
    }
}

/// Declares that a work item is a plain [`Work`], and not that of an in-tree `DelayedWork`.
///
/// While the timer of a delayed item is pending, `cancel_work()` spins: for ever, if interrupts are
/// disabled. Safe code has no reference to the `Work` in a `DelayedWork`, so one to a plain `Work`
/// is the evidence.
///
/// # Examples
///
/// ```
/// use kernel::{prelude::*, sync::Arc, workqueue::*};
/// use rust_kmemcg::abstractions::workqueue::HasPlainWork;
///
/// #[pin_data]
/// struct Item {
///     #[pin]
///     work: Work<Item>,
/// }
///
/// impl_has_work! { impl HasWork<Self> for Item { self.work } }
///
/// impl HasPlainWork for Item {
///     fn plain_work(&self) -> &Work<Self> {
///         &self.work
///     }
/// }
///
/// impl WorkItem for Item {
///     type Pointer = Arc<Self>;
///
///     fn run(_this: Arc<Self>) {}
/// }
/// ```
pub trait HasPlainWork<const ID: u64 = 0>:
    WorkItem<ID, Pointer = Arc<Self>> + HasWork<Self, ID> + Sized
{
    /// The field, which is that of [`HasWork`].
    fn plain_work(&self) -> &Work<Self, ID>;
}

/// Cancels an item that is queued, on whatever queue, and returns the reference that the queue had.
///
/// `None` if it was not queued: it may be running.
///
/// Wraps `cancel_work()`. Context: any but NMI.
pub fn cancel<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: HasPlainWork<ID>,
{
    let work = raw_work::<T, ID>(item)?;
    // SAFETY: The item is alive, and `cancel_work()` takes it off the queue if it returns true. The
    // function of the item, set by `Work::new()`, is the one for an `Arc`, so it was queued with one.
    unsafe { reclaim(item, bindings::cancel_work(work)) }
}

/// As [`cancel`], and waits until the item is not running either. While this waits nobody can queue
/// the item: a queue gives it back as if it were queued.
///
/// Wraps `cancel_work_sync()`. Context: may sleep; not in the item itself.
pub fn cancel_sync<T, const ID: u64>(item: &Arc<T>) -> Option<Arc<T>>
where
    T: HasPlainWork<ID>,
{
    might_sleep();
    let work = raw_work::<T, ID>(item)?;
    // SAFETY: The item is alive, and `cancel_work_sync()` takes it off the queue if it returns true.
    // The function of the item is the one for an `Arc`, so it was queued with one.
    unsafe { reclaim(item, bindings::cancel_work_sync(work)) }
}

/// The plain work of an item; `None`, with a warning, if [`HasPlainWork`] names another one.
fn raw_work<T, const ID: u64>(item: &Arc<T>) -> Option<*mut bindings::work_struct>
where
    T: HasPlainWork<ID>,
{
    // SAFETY: The item is alive.
    let work = unsafe { T::raw_get_work(Arc::as_ptr(item).cast_mut()) };
    if !ptr::eq(item.plain_work(), work) {
        kernel::warn_on!(true);
        return None;
    }
    // SAFETY: A field of the item, which is alive.
    Some(unsafe { Work::raw_get(work) })
}

/// # Safety
///
/// `cancelled` tells whether the item was queued, with an `Arc`, and will not run.
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

/// A closure that runs after a delay. If this is dropped, it runs nevertheless.
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
    // SAFETY: `DelayedWork` is a transparent wrapper of a `delayed_work`; the item is alive.
    let cancelled = unsafe { bindings::cancel_delayed_work(raw) };
    // SAFETY: `cancel_delayed_work()` returns true if it was queued, and does not run then. Its
    // function is the one for an `Arc`, so it was queued with one.
    drop(unsafe { reclaim(item, cancelled) });
}
