// SPDX-License-Identifier: GPL-2.0

//! Workqueues that a module owns.

use crate::{
    abstractions::{
        context::Context,
        exec,
        ticks::Ticks,
        unload::{self, Handle},
        workqueue::{cancel, cancel_sync, Builder, Concurrent, HasPlainWork, OwnedQueue},
    },
    support::{eventually, spin_until, stays_false, Counter, CONTEXTS},
};
use core::ops::Deref;
use kernel::{
    bindings,
    prelude::*,
    sync::{Arc, Completion},
    time::{msecs_to_jiffies, Delta},
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

tests! { "workqueue":
    every_option_makes_a_queue,
    max_active_is_checked,
    max_active_limits,
    ordered_runs_one_after_the_other,
    flush_waits_for_what_is_queued,
    drain_waits_for_what_items_queue,
    drop_drains,
    drop_in_its_own_item,
    drop_in_every_context,
    queued_item_is_refused,
    queued_in_every_context,
    cancelled_while_queued,
    cancelled_while_running,
    cancelled_while_idle,
    delayed_item_runs,
    delayed_item_is_cancelled,
    delayed_item_that_runs_is_not_cancelled,
    drop_and_drain_wait_for_delayed_items,
    delayed_item_without_a_delay,
}

static RUNS: Counter = Counter::new();

/// A gate for an item to wait at.
#[pin_data]
struct Gate {
    #[pin]
    entered: Completion,
    #[pin]
    open: Completion,
}

/// Opens a gate when it is dropped: a test that fails must not hang in the drop of its queue.
struct Blocked(Arc<Gate>);

impl Deref for Blocked {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.open.complete_all();
    }
}

/// Queues an item that waits, and waits until it does.
fn block(queue: &OwnedQueue) -> Result<Blocked> {
    let gate = Arc::pin_init(
        pin_init!(Gate { entered <- Completion::new(), open <- Completion::new() }),
        GFP_KERNEL,
    )?;
    let wait = gate.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        wait.entered.complete_all();
        wait.open.wait_for_completion();
        RUNS.add();
    })?;
    gate.entered.wait_for_completion();
    Ok(Blocked(gate))
}

/// An item of its own.
#[pin_data]
struct Item {
    #[pin]
    work: Work<Item>,
    #[pin]
    entered: Completion,
    #[pin]
    open: Completion,
    waits: bool,
}

impl_has_work! { impl HasWork<Self> for Item { self.work } }

impl HasPlainWork for Item {
    fn plain_work(&self) -> &Work<Self> {
        &self.work
    }
}

impl WorkItem for Item {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.entered.complete_all();
        if this.waits {
            this.open.wait_for_completion();
        }
        RUNS.add();
    }
}

fn item(waits: bool) -> Result<Arc<Item>> {
    Arc::pin_init(
        pin_init!(Item {
            work <- new_work!("kmemcg_test::Item"),
            entered <- Completion::new(),
            open <- Completion::new(),
            waits,
        }),
        GFP_KERNEL,
    )
}

/// A queue with these options: items run, in a task.
fn runs<K>(options: Builder<K>) -> Result {
    RUNS.set(0);
    let queue = options.build(c"kmemcg_test_opt%s", crate::handle()?)?;
    queue.try_spawn(GFP_KERNEL, || {
        if Context::current() == Context::Task {
            RUNS.add();
        }
    })?;
    drop(queue);
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// What every kind has, in all combinations.
fn runs_with_each_option<K: Copy>(kind: Builder<K>) -> Result {
    runs(kind)?;
    runs(kind.mem_reclaim())?;
    runs(kind.freezable())?;
    runs(kind.mem_reclaim().freezable())
}

/// All combinations that there are.
fn every_option_makes_a_queue() -> Result {
    fn concurrent<K: Concurrent + Copy>(kind: Builder<K>) -> Result {
        for max_active in [0, 1, 7, bindings::wq_consts_WQ_MAX_ACTIVE] {
            runs_with_each_option(kind.max_active(max_active))?;
            runs_with_each_option(kind.max_active(max_active).highpri())?;
        }
        Ok(())
    }
    concurrent(Builder::per_cpu())?;
    concurrent(Builder::per_cpu().cpu_intensive())?;
    concurrent(Builder::per_cpu().power_efficient())?;
    concurrent(Builder::per_cpu().cpu_intensive().power_efficient())?;
    concurrent(Builder::unbound())?;
    runs_with_each_option(Builder::ordered())
}

/// More than the kernel runs; changing it, up to the limits, and not that of an ordered queue.
fn max_active_is_checked() -> Result {
    fn refused<K: Concurrent>(kind: Builder<K>, max_active: u32) -> Result {
        let options = kind.max_active(max_active);
        check_err!(options.build(c"kmemcg_test_max", crate::handle()?), EINVAL);
        Ok(())
    }
    for max_active in [bindings::wq_consts_WQ_MAX_ACTIVE + 1, 1 << 31, u32::MAX] {
        refused(Builder::per_cpu(), max_active)?;
        refused(Builder::unbound(), max_active)?;
    }
    let ordered = Builder::ordered().build(c"kmemcg_test_max", crate::handle()?)?;
    check_err!(ordered.set_max_active(1), EINVAL);
    check_err!(ordered.set_max_active(2), EINVAL);
    let queue = Builder::unbound().build(c"kmemcg_test_max", crate::handle()?)?;
    for max_active in [0, 1, 2, bindings::wq_consts_WQ_MAX_ACTIVE, u32::MAX] {
        queue.set_max_active(max_active)?;
    }
    Ok(())
}

/// With one at a time the second waits for the first; with two it does not.
fn max_active_limits() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound()
        .max_active(1)
        .build(c"kmemcg_test_active", crate::handle()?)?;
    let gate = block(&queue)?;
    queue.try_spawn(GFP_KERNEL, || {
        RUNS.add();
    })?;
    check!(stays_false(|| RUNS.get() != 0));
    queue.set_max_active(2)?;
    check!(eventually(|| RUNS.get() == 1));
    gate.open.complete_all();
    queue.flush();
    check_eq!(RUNS.get(), 2);
    Ok(())
}

/// In the order in which they were queued.
fn ordered_runs_one_after_the_other() -> Result {
    static WRONG: Counter = Counter::new();
    static RUNNING: Counter = Counter::new();
    WRONG.set(0);
    RUNS.set(0);
    RUNNING.set(0);
    let queue = Builder::ordered().build(c"kmemcg_test_ordered", crate::handle()?)?;
    for i in 0..200 {
        queue.try_spawn(GFP_KERNEL, move || {
            if RUNNING.add() != 0 {
                WRONG.add();
            }
            if RUNS.add() != i {
                WRONG.add();
            }
            RUNNING.set(0);
        })?;
    }
    queue.flush();
    check_eq!((RUNS.get(), WRONG.get()), (200, 0));
    Ok(())
}

/// The flush returns after all of them, and not before.
fn flush_waits_for_what_is_queued() -> Result {
    RUNS.set(0);
    let queue = Arc::new(
        Builder::unbound().build(c"kmemcg_test_flush", crate::handle()?)?,
        GFP_KERNEL,
    )?;
    queue.flush();
    for _ in 0..100 {
        // No closure: lockdep takes all of those for one, and flushes this queue from one.
        check!(queue.enqueue(item(false)?).is_ok());
    }
    queue.flush();
    check_eq!(RUNS.get(), 100);
    let gate = item(true)?;
    check!(queue.enqueue(gate.clone()).is_ok());
    gate.entered.wait_for_completion();
    let flushed = Arc::new(Counter::new(), GFP_KERNEL)?;
    let (tell, flushes) = (flushed.clone(), queue.clone());
    let other = Builder::unbound().build(c"kmemcg_test_other", crate::handle()?)?;
    other.try_spawn(GFP_KERNEL, move || {
        flushes.flush();
        tell.set(1);
    })?;
    check!(stays_false(|| flushed.get() != 0));
    gate.open.complete_all();
    check!(eventually(|| flushed.get() == 1));
    Ok(())
}

/// The item queues itself ten times more.
fn drain_waits_for_what_items_queue() -> Result {
    #[pin_data]
    struct Chain {
        #[pin]
        work: Work<Chain>,
        queue: *const OwnedQueue,
    }
    impl_has_work! { impl HasWork<Self> for Chain { self.work } }
    // SAFETY: The queue is used while the item runs, which the queue waits for.
    unsafe impl Send for Chain {}
    // SAFETY: As above.
    unsafe impl Sync for Chain {}
    impl WorkItem for Chain {
        type Pointer = Arc<Self>;
        fn run(this: Arc<Self>) {
            if RUNS.add() < 10 {
                // SAFETY: It drains, so it is there.
                let queue = unsafe { &*this.queue };
                let _ = queue.enqueue(this);
            }
        }
    }
    RUNS.set(0);
    let mut queue = KBox::new(
        Builder::unbound().build(c"kmemcg_test_drain", crate::handle()?)?,
        GFP_KERNEL,
    )?;
    let raw: *const OwnedQueue = &*queue;
    let chain = Arc::pin_init(
        pin_init!(Chain { work <- new_work!("kmemcg_test::Chain"), queue: raw }),
        GFP_KERNEL,
    )?;
    check!(queue.enqueue(chain).is_ok());
    queue.drain();
    check_eq!(RUNS.get(), 11);
    // It can be used afterwards.
    queue.try_spawn(GFP_KERNEL, || {
        RUNS.add();
    })?;
    queue.drain();
    check_eq!(RUNS.get(), 12);
    Ok(())
}

/// Every item has run when the drop returns.
fn drop_drains() -> Result {
    fn drains<K>(kind: Builder<K>) -> Result {
        RUNS.set(0);
        let queue = kind.build(c"kmemcg_test_drop", crate::handle()?)?;
        for _ in 0..50 {
            queue.try_spawn(GFP_KERNEL, || {
                spin_until(|| false, Delta::from_micros(20));
                RUNS.add();
            })?;
        }
        drop(queue);
        check_eq!(RUNS.get(), 50);
        Ok(())
    }
    drains(Builder::per_cpu())?;
    drains(Builder::unbound())?;
    drains(Builder::ordered())
}

/// In an interrupt it does not wait: a worker destroys the queue.
fn drop_in_every_context() -> Result {
    for &context in CONTEXTS {
        RUNS.set(0);
        let queue = Builder::unbound().build(c"kmemcg_test_context", crate::handle()?)?;
        queue.try_spawn(GFP_KERNEL, || {
            RUNS.add();
        })?;
        exec::run(context, queue, drop).map_err(|(error, _)| error)?;
        check!(eventually(|| RUNS.get() == 1));
    }
    Ok(())
}

/// An item drops the last reference on its queue: it goes on, the items behind it run, with a delay or
/// not, and the queue is destroyed, which gives its hold up.
fn drop_in_its_own_item() -> Result {
    /// Set when the item has the last reference.
    static LAST: Counter = Counter::new();
    fn drops<K>(kind: Builder<K>, module: &Handle) -> Result {
        RUNS.set(0);
        LAST.set(0);
        let queue = Arc::new(kind.build(c"kmemcg_test_own", module)?, GFP_KERNEL)?;
        let gate = block(&queue)?;
        let own = queue.clone();
        queue.try_spawn(GFP_KERNEL, move || {
            eventually(|| LAST.get() == 1);
            drop(own);
            RUNS.add();
        })?;
        queue.try_spawn(GFP_KERNEL, || {
            RUNS.add();
        })?;
        drop(queue.try_spawn_after(msecs_to_jiffies(30), GFP_KERNEL, || {
            RUNS.add();
        })?);
        drop(gate);
        drop(queue);
        LAST.set(1);
        check!(eventually(|| RUNS.get() == 4));
        Ok(())
    }
    // Without an end that waits for the hold: the test would hang where the drop does.
    let module = crate::handle()?;
    drops(Builder::unbound(), module)?;
    unload::scope(|module| drops(Builder::per_cpu(), module))?;
    unload::scope(|module| drops(Builder::unbound(), module))?;
    unload::scope(|module| drops(Builder::ordered(), module))
}

/// Through another `Arc`, which comes back.
fn queued_item_is_refused() -> Result {
    RUNS.set(0);
    let queue = Builder::ordered().build(c"kmemcg_test_twice", crate::handle()?)?;
    let gate = block(&queue)?;
    let work = item(false)?;
    check!(queue.enqueue(work.clone()).is_ok());
    let Err(back) = queue.enqueue(work.clone()) else {
        check!(false);
        return Ok(());
    };
    check!(Arc::ptr_eq(&back, &work));
    gate.open.complete_all();
    queue.flush();
    check_eq!(RUNS.get(), 2);
    check!(queue.enqueue(work).is_ok());
    queue.flush();
    check_eq!(RUNS.get(), 3);
    Ok(())
}

/// From a task, a softirq, a hard interrupt.
fn queued_in_every_context() -> Result {
    RUNS.set(0);
    let queue = Arc::new(
        Builder::unbound().build(c"kmemcg_test_ctx", crate::handle()?)?,
        GFP_KERNEL,
    )?;
    for &context in CONTEXTS {
        exec::run(context, (queue.clone(), item(false)?), |(queue, work)| {
            let _ = queue.enqueue(work);
            let _ = queue.try_spawn(GFP_ATOMIC, || {
                RUNS.add();
            });
        })
        .map_err(|(error, _)| error)?;
    }
    queue.flush();
    check_eq!(RUNS.get(), 2 * CONTEXTS.len());
    Ok(())
}

/// It does not run, and the queue's reference comes back; it can be queued again.
fn cancelled_while_queued() -> Result {
    let ways: [fn(&Arc<Item>) -> Option<Arc<Item>>; 2] = [cancel, cancel_sync];
    for way in ways {
        RUNS.set(0);
        let queue = Builder::ordered().build(c"kmemcg_test_cancel", crate::handle()?)?;
        let gate = block(&queue)?;
        let work = item(false)?;
        check!(queue.enqueue(work.clone()).is_ok());
        let back = way(&work).ok_or(ENOENT)?;
        check!(Arc::ptr_eq(&back, &work));
        check!(way(&work).is_none());
        drop(work);
        gate.open.complete_all();
        queue.flush();
        check_eq!(RUNS.get(), 1);
        check!(queue.enqueue(back).is_ok());
        queue.flush();
        check_eq!(RUNS.get(), 2);
    }
    Ok(())
}

/// Nothing to give back; the one does not wait, the other one does.
fn cancelled_while_running() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_running", crate::handle()?)?;
    let work = item(true)?;
    check!(queue.enqueue(work.clone()).is_ok());
    work.entered.wait_for_completion();
    check!(cancel(&work).is_none());
    check_eq!(RUNS.get(), 0);
    let done = Arc::new(Counter::new(), GFP_KERNEL)?;
    let (tell, cancels) = (done.clone(), work.clone());
    let other = Builder::unbound().build(c"kmemcg_test_other", crate::handle()?)?;
    other.try_spawn(GFP_KERNEL, move || {
        tell.set(if cancel_sync(&cancels).is_none() {
            1
        } else {
            2
        });
    })?;
    check!(stays_false(|| done.get() != 0));
    work.open.complete_all();
    check!(eventually(|| done.get() == 1));
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// Never queued, and run already.
fn cancelled_while_idle() -> Result {
    let queue = Builder::unbound().build(c"kmemcg_test_idle", crate::handle()?)?;
    let work = item(false)?;
    check!(cancel(&work).is_none());
    check!(cancel_sync(&work).is_none());
    check!(queue.enqueue(work.clone()).is_ok());
    queue.flush();
    check!(cancel(&work).is_none());
    check!(cancel_sync(&work).is_none());
    check!(work.into_unique_or_drop_it());
    Ok(())
}

trait Unique {
    fn into_unique_or_drop_it(self) -> bool;
}

impl Unique for Arc<Item> {
    /// Is nobody else left?
    fn into_unique_or_drop_it(self) -> bool {
        Arc::into_unique_or_drop(self).is_some()
    }
}

/// Not at once, and once; also when its handle is dropped.
fn delayed_item_runs() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_delay", crate::handle()?)?;
    let begin = Ticks::now();
    drop(
        queue.try_spawn_after(msecs_to_jiffies(60), GFP_KERNEL, move || {
            // The timer counts jiffies, and one that has begun counts as one.
            if Ticks::now().since(begin).as_micros() >= 50_000 {
                RUNS.add();
            }
        })?,
    );
    check!(eventually(|| RUNS.get() == 1));
    drop(queue);
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// The closure comes back, and the queue does not wait for it.
fn delayed_item_is_cancelled() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_delay", crate::handle()?)?;
    let item = queue.try_spawn_after(msecs_to_jiffies(3_600_000), GFP_KERNEL, || {
        RUNS.add();
    })?;
    let closure = item.cancel().ok_or(ENOENT)?;
    check_eq!(RUNS.get(), 0);
    closure();
    check_eq!(RUNS.get(), 1);
    // In the queue already, behind another one.
    let ordered = Builder::ordered().build(c"kmemcg_test_delayo", crate::handle()?)?;
    let gate = block(&ordered)?;
    let item = ordered.try_spawn_after(0, GFP_KERNEL, || {
        RUNS.set(100);
    })?;
    check!(item.cancel().is_some());
    gate.open.complete_all();
    drop((queue, ordered));
    check_eq!(RUNS.get(), 2);
    Ok(())
}

/// Nor one that has run.
fn delayed_item_that_runs_is_not_cancelled() -> Result {
    RUNS.set(0);
    static STATE: Counter = Counter::new();
    STATE.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_delay", crate::handle()?)?;
    let item = queue.try_spawn_after(1, GFP_KERNEL, || {
        STATE.set(1);
        spin_until(|| STATE.get() == 2, Delta::from_secs(1));
        RUNS.add();
    })?;
    check!(eventually(|| STATE.get() == 1));
    check!(item.cancel().is_none());
    check_eq!(RUNS.get(), 0);
    STATE.set(2);
    queue.flush();
    check_eq!(RUNS.get(), 1);
    let item = queue.try_spawn_after(0, GFP_KERNEL, || {
        RUNS.add();
    })?;
    check!(eventually(|| RUNS.get() == 2));
    queue.flush();
    check!(item.cancel().is_none());
    Ok(())
}

/// Both return after the closure has run.
fn drop_and_drain_wait_for_delayed_items() -> Result {
    RUNS.set(0);
    let mut queue = Builder::unbound().build(c"kmemcg_test_delay", crate::handle()?)?;
    let run = || {
        spin_until(|| false, Delta::from_millis(1));
        RUNS.add();
    };
    let first = queue.try_spawn_after(msecs_to_jiffies(30), GFP_KERNEL, run)?;
    queue.drain();
    check_eq!(RUNS.get(), 1);
    check!(first.cancel().is_none());
    let second = queue.try_spawn_after(msecs_to_jiffies(10), GFP_KERNEL, run)?;
    let third = queue.try_spawn_after(msecs_to_jiffies(30), GFP_KERNEL, run)?;
    drop(queue);
    check_eq!(RUNS.get(), 3);
    // Handles may outlive the queue.
    check!(second.cancel().is_none());
    drop(third);
    Ok(())
}

/// At once; many.
fn delayed_item_without_a_delay() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_delay0", crate::handle()?)?;
    let mut cancelled = 0;
    for i in 0..200 {
        let item = queue.try_spawn_after(i % 2, GFP_KERNEL, || {
            RUNS.add();
        })?;
        if i % 3 == 0 && item.cancel().is_some() {
            cancelled += 1;
        }
    }
    drop(queue);
    check_eq!(RUNS.get() + cancelled, 200);
    Ok(())
}
