// SPDX-License-Identifier: GPL-2.0

//! Work items that are cancelled when they are dropped.

use super::{
    cancel::{
        raw_delayed,
        reclaim, //
    },
    OwnedQueue, //
};
use crate::abstractions::unload;
use core::ptr;
use kernel::{
    alloc::{
        AllocError,
        Flags, //
    },
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        LockClassKey, //
    },
    task::{
        might_sleep,
        Task, //
    },
    time::Jiffies,
    workqueue::{
        impl_has_delayed_work,
        DelayedWork,
        Queue,
        WorkItem, //
    },
};

/// The names and the lockdep classes of an item and its timer. Made by
/// [`work_class!`](crate::work_class!).
pub struct WorkClass {
    #[doc(hidden)]
    pub name: &'static CStr,
    #[doc(hidden)]
    pub key: Pin<&'static LockClassKey>,
    #[doc(hidden)]
    pub timer_name: &'static CStr,
    #[doc(hidden)]
    pub timer_key: Pin<&'static LockClassKey>,
}

/// Makes a [`WorkClass`] with this name, which lockdep tells apart from that of every other place
/// in the code.
#[macro_export]
macro_rules! work_class {
    ($name:literal) => {
        $crate::abstractions::workqueue::WorkClass {
            name: ::kernel::c_str!($name),
            key: ::kernel::static_lock_class!(),
            timer_name: ::kernel::c_str!(::core::concat!($name, "_timer")),
            timer_key: ::kernel::static_lock_class!(),
        }
    };
}
pub use work_class;

mod sealed {
    pub trait Target {
        /// A queue that exists as long as `self` does, wherever `self` is moved to.
        fn as_ptr(&self) -> *mut kernel::bindings::workqueue_struct;

        /// A hold for the worker that runs an item, unless the queue is destroyed, which waits for
        /// that, before the module is unloaded.
        fn hold(&self) -> Option<crate::abstractions::unload::Hold> {
            None
        }
    }
}

/// The queue of a [`ScopedWork`]: an `Arc` of an [`OwnedQueue`] or a [`SystemQueue`], or, in
/// [`ScopedWork::scope`], also a reference on an [`OwnedQueue`].
pub trait Target: sealed::Target + Send + Sync {}

impl<Q: sealed::Target + Send + Sync> Target for Q {}

impl sealed::Target for Arc<OwnedQueue> {
    #[inline]
    fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.as_raw()
    }
}

impl sealed::Target for &OwnedQueue {
    #[inline]
    fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.as_raw()
    }
}

/// A queue of the kernel, which exists always, and a hold on the module whose items it runs.
///
/// # Invariants
///
/// `queue` is a workqueue that is never destroyed.
pub struct SystemQueue {
    queue: &'static Queue,
    /// Dropped last.
    hold: unload::Hold,
}

impl SystemQueue {
    /// For items of the module. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the module is being unloaded.
    pub fn new(queue: &'static Queue, module: &impl unload::Source) -> Result<Self> {
        // INVARIANT: In safe code, a `Queue` for ever is one of the kernel's.
        Ok(Self {
            queue,
            hold: module.take_hold(unload::Abstraction::new())?,
        })
    }
}

impl sealed::Target for SystemQueue {
    #[inline]
    fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        // A `Queue` is a transparent wrapper of it.
        ptr::from_ref(self.queue).cast_mut().cast()
    }

    #[inline]
    fn hold(&self) -> Option<unload::Hold> {
        Some(self.hold.clone())
    }
}

/// A work item, perhaps a delayed one, that neither runs nor is queued once this was dropped.
///
/// It calls a closure, in a worker of its queue, once each time that it was queued. While it is
/// queued it is not queued again. It never runs twice at the same time: it has one queue.
///
/// If the closure returns a delay, the item is queued again with that: a periodic job.
///
/// # The drop
///
/// The drop waits for the closure if it runs. Context of the drop: may sleep; with no lock held
/// that the closure takes.
///
/// The closure itself may drop its own item, if it has access to it: it is the last run then,
/// whatever the closure returns, and what the closure owns is dropped after it.
///
/// An item that is forgotten (`mem::forget`) keeps its queue, what the closure owns, and the
/// module: `rmmod` waits for ever. It goes on running; so the closure must not borrow, except in
/// [`scope`](Self::scope), which forgets nothing.
///
/// # Examples
///
/// ```
/// use kernel::{prelude::*, sync::Arc, time::msecs_to_jiffies};
/// use rust_kmemcg::abstractions::{unload, workqueue::*};
///
/// fn example(module: &unload::Handle) -> Result {
///     let queue = Arc::new(Builder::unbound().build(c"example", module)?, GFP_KERNEL)?;
///     let poll = ScopedWork::new(
///         queue,
///         work_class!("example_poll"),
///         || {
///             pr_info!("once a second\n");
///             Some(msecs_to_jiffies(1000))
///         },
///         GFP_KERNEL,
///     )?;
///     poll.enqueue();
///     drop(poll); // Neither runs nor is queued any more.
///     Ok(())
/// }
/// # assert_eq!(unload::scope(example), Ok(()));
/// ```
///
/// # Invariants
///
/// The item is not disabled before the drop. It is queued to the queue that it owns only, with an
/// `Arc`.
#[must_use = "dropping it cancels the item"]
pub struct ScopedWork<F, Q = Arc<OwnedQueue>>(Arc<Item<F, Q>>)
where
    F: Fn() -> Option<Jiffies> + Send + Sync,
    Q: Target;

/// What the queue has an `Arc` of while the item is queued or runs.
#[pin_data]
struct Item<F, Q> {
    #[pin]
    dwork: DelayedWork<Item<F, Q>>,
    run: F,
    /// The task that is in `run`, or null.
    runner: Atomic<*mut bindings::task_struct>,
    /// Keeps the module. Dropped last.
    queue: Q,
}

impl_has_delayed_work! {
    impl{F, Q} HasDelayedWork<Self> for Item<F, Q> { self.dwork }
}

impl<F, Q> WorkItem for Item<F, Q>
where
    F: Fn() -> Option<Jiffies> + Send + Sync,
    Q: Target,
{
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        // The closure may drop the item.
        let hold = this.queue.hold();
        this.runner.store(Task::current_raw(), Relaxed);
        let again = (this.run)();
        this.runner.store(ptr::null_mut(), Relaxed);
        if let Some(delay) = again {
            // Refused if it was queued meanwhile, or is disabled.
            this.queue_after(delay);
        } else {
            drop(this);
        }
        // Nothing but the return to the workqueue follows.
        drop(hold);
    }
}

impl<F, Q: Target> Item<F, Q> {
    fn as_ptr(&self) -> *mut bindings::delayed_work {
        raw_delayed(&self.dwork)
    }

    /// Is the caller the closure? No other task than this one stores the address of this one.
    fn runs_here(&self) -> bool {
        self.runner.load(Relaxed) == Task::current_raw()
    }

    /// Queues it, unless it is queued or disabled, and returns whether it did.
    fn queue_after(self: Arc<Self>, delay: Jiffies) -> bool {
        let (queue, dwork) = (self.queue.as_ptr(), self.as_ptr());
        let this = Arc::into_raw(self);
        // SAFETY: `queue_delayed_work_on()` requires that the item and the queue exist until its
        // function is called. The `Arc` that was given up keeps the item, and so `queue`, which
        // keeps the queue; it is taken back by the function, which is that of a `WorkItem` with an
        // `Arc` as its pointer, or below.
        let queued = unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as kernel::ffi::c_int,
                queue,
                dwork,
                delay,
            )
        };
        if !queued {
            // SAFETY: From `Arc::into_raw()` above; C does not call the function for it.
            drop(unsafe { Arc::from_raw(this) });
        }
        queued
    }
}

impl<F, Q> ScopedWork<F, Q>
where
    F: Fn() -> Option<Jiffies> + Send + Sync,
    Q: Target,
{
    /// Makes an item that is not queued. Context: as `flags` allow.
    ///
    /// # Errors
    ///
    /// [`AllocError`]: no memory for the item.
    pub fn new(queue: Q, class: WorkClass, run: F, flags: Flags) -> Result<Self, AllocError>
    where
        F: 'static,
        Q: 'static,
    {
        Self::make(queue, class, run, flags)
    }

    /// As [`new`](Self::new), for a closure that need not outlive the caller's: calls `body` with
    /// the item, and drops the item then.
    ///
    /// Context: may sleep.
    ///
    /// # Errors
    ///
    /// [`AllocError`]: no memory for the item; `body` was not called.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{prelude::*, sync::atomic::{Atomic, Relaxed}};
    /// use rust_kmemcg::abstractions::{unload, workqueue::*};
    ///
    /// fn example(module: &unload::Handle) -> Result {
    ///     let queue = Builder::unbound().build(c"example", module)?;
    ///     let runs = Atomic::new(0u32);
    ///     let run = || {
    ///         runs.add(1, Relaxed);
    ///         None
    ///     };
    ///     ScopedWork::scope(&queue, work_class!("example"), run, GFP_KERNEL, |work| {
    ///         work.enqueue();
    ///         queue.flush();
    ///     })?;
    ///     assert_eq!(runs.load(Relaxed), 1);
    ///     Ok(())
    /// }
    /// # assert_eq!(unload::scope(example), Ok(()));
    /// ```
    pub fn scope<R>(
        queue: Q,
        class: WorkClass,
        run: F,
        flags: Flags,
        body: impl FnOnce(&Self) -> R,
    ) -> Result<R, AllocError> {
        might_sleep();
        let work = Self::make(queue, class, run, flags)?;
        let result = body(&work);
        // `body` had a reference only, so nobody else dropped or forgot it. After this the closure
        // neither runs nor exists: this task is not in it.
        drop(work);
        Ok(result)
    }

    fn make(queue: Q, class: WorkClass, run: F, flags: Flags) -> Result<Self, AllocError> {
        let WorkClass {
            name,
            key,
            timer_name,
            timer_key,
        } = class;
        let item = Arc::pin_init(
            pin_init!(Item {
                dwork <- DelayedWork::new(name, key, timer_name, timer_key),
                run,
                runner: Atomic::new(ptr::null_mut()),
                queue,
            }),
            flags,
        )
        .map_err(|_| AllocError)?;
        // INVARIANT: Just made.
        Ok(Self(item))
    }

    /// Queues the item, unless it is queued, and returns whether it did. While another task cancels
    /// it, it cannot be queued.
    ///
    /// If its timer runs, from [`enqueue_after`](Self::enqueue_after), it is queued: that goes on.
    ///
    /// Wraps `queue_delayed_work()`. Context: any but NMI.
    #[inline]
    pub fn enqueue(&self) -> bool {
        self.enqueue_after(0)
    }

    /// Queues the item after `delay`, unless it is queued, and returns whether it did. While
    /// another task cancels it, it cannot be queued.
    ///
    /// Wraps `queue_delayed_work()`. Context: any but NMI.
    #[inline]
    pub fn enqueue_after(&self, delay: Jiffies) -> bool {
        self.0.clone().queue_after(delay)
    }

    /// Takes the item off the queue, or stops its timer, and waits for the closure if it runs;
    /// returns whether the item was queued. It can be queued again. The closure itself may call
    /// this, and does not wait then.
    ///
    /// Wraps `cancel_delayed_work_sync()`. Context: may sleep; with no lock held that the closure
    /// takes.
    pub fn cancel(&self) -> bool {
        let dwork = self.0.as_ptr();
        let cancelled = if self.0.runs_here() {
            // SAFETY: The item was initialised by `DelayedWork::new()`, and is alive.
            unsafe { bindings::cancel_delayed_work(dwork) }
        } else {
            might_sleep();
            // SAFETY: The item was initialised by `DelayedWork::new()`, and is alive.
            // `cancel_delayed_work_sync()` must not be called by the item, which would wait for
            // itself: this task is not in it.
            unsafe { bindings::cancel_delayed_work_sync(dwork) }
        };
        // SAFETY: C returns whether it has taken the item off the queue, on which it was with an
        // `Arc`, by the type invariants.
        unsafe { reclaim(&self.0, cancelled) }.is_some()
    }
}

impl<F, Q> Drop for ScopedWork<F, Q>
where
    F: Fn() -> Option<Jiffies> + Send + Sync,
    Q: Target,
{
    fn drop(&mut self) {
        let dwork = self.0.as_ptr();
        let cancelled = if self.0.runs_here() {
            // SAFETY: The item was initialised by `DelayedWork::new()`, and is alive: the caller of
            // the closure has an `Arc`, too.
            unsafe { bindings::disable_delayed_work(dwork) }
        } else {
            might_sleep();
            // SAFETY: The item was initialised by `DelayedWork::new()`, and is alive.
            // `disable_delayed_work_sync()` must not be called by the item, which would wait for
            // itself: this task is not in it.
            unsafe { bindings::disable_delayed_work_sync(dwork) }
        };
        // SAFETY: C returns whether it has taken the item off the queue, on which it was with an
        // `Arc`, by the type invariants.
        drop(unsafe { reclaim(&self.0, cancelled) });
    }
}
