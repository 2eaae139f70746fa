// SPDX-License-Identifier: GPL-2.0

//! What is left of a count after its last put.

use crate::abstractions::{
    sync::rcu::call_rcu::{
        Callbacks,
        RcuCallback,
        RcuPointer,
        Refused, //
    },
    workqueue::OwnedQueue, //
};
use core::{mem::ManuallyDrop, ops::Deref};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    workqueue::{HasWork, RawWorkItem, WorkItem},
};

/// An [`Arc`] in a context that must not sleep, where the destructor of `T` must not run: it can
/// only be queued, to a worker or as an RCU callback.
///
/// The release callback of a count receives it. A workqueue takes it for the work item of the
/// structure, whose [`WorkItem::run`] receives the `Arc`. It is also a pointer that an RCU callback
/// can receive, as [`RcuCallback::Pointer`].
///
/// Dropping it gives up the `Arc` if there is another one. The last one is leaked, with a warning.
/// Context of the drop: any.
#[must_use = "unless it is queued, the structure may be leaked"]
pub struct Released<T>(ManuallyDrop<Arc<T>>);

impl<T> From<Arc<T>> for Released<T> {
    #[inline]
    fn from(arc: Arc<T>) -> Self {
        Self(ManuallyDrop::new(arc))
    }
}

impl<T> Released<T> {
    /// Calls [`RcuCallback::run`] with the `Arc` after a grace period. That must not sleep either.
    /// Context: any but NMI.
    ///
    /// # Errors
    ///
    /// As [`Callbacks::call`].
    #[inline]
    pub fn call_rcu<const ID: u64>(self, callbacks: &Callbacks) -> Result<(), Refused<Self>>
    where
        T: RcuCallback<ID, Pointer = Arc<T>>,
    {
        callbacks
            .call(self.into_arc())
            .map_err(|refused| refused.map(Self::from))
    }

    /// Queues the structure on a queue that is found in the structure itself, as
    /// [`OwnedQueue::enqueue`] does on one that is found elsewhere.
    ///
    /// No reference on the queue is needed for that. One that is cloned out of the structure may be
    /// the last one when it is dropped: the worker may have dropped the structure by then, and to
    /// destroy a queue sleeps.
    ///
    /// Wraps `queue_work_on()`. Context: any but NMI.
    ///
    /// # Errors
    ///
    /// Gives `self` back if its work item is queued already, or is disabled, as it is while
    /// [`cancel_sync`](crate::abstractions::workqueue::cancel_sync) waits for it. Either way there
    /// is another [`Arc`].
    #[inline]
    pub fn enqueue_on<const ID: u64>(
        self,
        queue: impl FnOnce(&T) -> &OwnedQueue,
    ) -> Result<(), Self>
    where
        T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
    {
        // A pointer, as the queue may go away before the call below has returned: a reference must
        // not be used in a call that it does not outlive.
        let queue = queue(&self).as_raw();
        // SAFETY: If `queue_work_on()` returns false, it has done nothing with the item, and
        // `Arc::__enqueue()` takes the `Arc` back. It requires that the queue exists until it has
        // put the item on it: the queue is in the structure, or kept by that, and the `Arc` keeps
        // the structure until the worker receives it. What `queue_work_on()` does with the queue
        // afterwards is in the RCU read-side critical section in which it has put the item there,
        // and `destroy_workqueue()` frees a queue after a grace period.
        unsafe {
            self.__enqueue(|work| {
                bindings::queue_work_on(
                    bindings::wq_misc_consts_WORK_CPU_UNBOUND as kernel::ffi::c_int,
                    queue,
                    work,
                )
            })
        }
    }

    #[inline]
    fn into_arc(self) -> Arc<T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again, and is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Deref for Released<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Released<T> {
    fn drop(&mut self) {
        // SAFETY: Taken once, as this is not used again.
        let arc = unsafe { ManuallyDrop::take(&mut self.0) };
        let last = Arc::into_unique_or_drop(arc);
        if last.is_some() {
            kernel::warn_on!(true);
            core::mem::forget(last);
        }
    }
}

// SAFETY: The guarantees are those of the implementation for the `Arc`.
unsafe impl<T, const ID: u64> RawWorkItem<ID> for Released<T>
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID>,
{
    type EnqueueOutput = Result<(), Self>;

    #[inline]
    unsafe fn __enqueue<F>(self, queue_work_on: F) -> Self::EnqueueOutput
    where
        F: FnOnce(*mut bindings::work_struct) -> bool,
    {
        // SAFETY: The caller guarantees what the implementation for the `Arc` requires.
        unsafe { self.into_arc().__enqueue(queue_work_on) }.map_err(Self::from)
    }
}

// SAFETY: The `Arc` keeps its `T` alive and in its place.
unsafe impl<T: Send + Sync + 'static> RcuPointer for Released<T> {
    type Target = T;

    #[inline]
    fn into_raw(self) -> *const T {
        Arc::into_raw(self.into_arc())
    }

    #[inline]
    unsafe fn from_raw(raw: *const T) -> Self {
        // SAFETY: The caller guarantees that it came from `into_raw()`, and so from
        // `Arc::into_raw()`.
        Self::from(unsafe { Arc::from_raw(raw) })
    }
}
