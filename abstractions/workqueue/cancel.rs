// SPDX-License-Identifier: GPL-2.0

//! Taking an item off the queue that it is on.

use core::ptr;
use kernel::{
    bindings,
    sync::Arc,
    task::might_sleep,
    workqueue::{
        DelayedWork,
        HasWork,
        Work,
        WorkItem, //
    },
};

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
    // function of the item, set by `Work::new()`, is the one for an `Arc`, so it was queued with
    // one.
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
    // SAFETY: The item is alive, and `cancel_work_sync()` takes it off the queue if it returns
    // true. The function of the item is the one for an `Arc`, so it was queued with one.
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

/// What C knows a delayed item by.
pub(super) fn raw_delayed<T: ?Sized, const ID: u64>(
    dwork: &DelayedWork<T, ID>,
) -> *mut bindings::delayed_work {
    // A `DelayedWork` is a transparent wrapper of it.
    ptr::from_ref(dwork).cast_mut().cast()
}

/// # Safety
///
/// `cancelled` tells whether the item was queued, with an `Arc`, and will not run.
pub(super) unsafe fn reclaim<T>(item: &Arc<T>, cancelled: bool) -> Option<Arc<T>> {
    // SAFETY: The queue owned this `Arc`, which it would have given to `run()`.
    cancelled.then(|| unsafe { Arc::from_raw(Arc::as_ptr(item)) })
}
