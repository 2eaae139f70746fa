// SPDX-License-Identifier: GPL-2.0

//! Workqueues that a module owns.

use crate::{
    abstractions::{
        context::Context,
        exec,
        preempt,
        unload::{
            self,
            Handle, //
        },
        workqueue::{
            Builder,
            Concurrent,
            OwnedQueue, //
        }, //
    },
    support::{
        eventually,
        spin_until,
        stays_false,
        Counter,
        CONTEXTS, //
    },
    workqueue_item::{
        block,
        item,
        RUNS, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::Arc,
    time::{
        msecs_to_jiffies,
        Delta, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
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
    drop_with_softirqs_disabled,
    queued_item_is_refused,
    queued_in_every_context,
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

/// With one at a time the second waits for the first; with more it does not.
fn max_active_limits() -> Result {
    RUNS.set(0);
    let queue = Builder::unbound()
        .max_active(1)
        .build(c"kmemcg_test_active", crate::handle()?)?;
    let (first, second) = (item(true)?, item(false)?);
    // By one processor, as each NUMA node has a limit.
    preempt::with(|_| {
        let _ = queue.enqueue(first.clone());
        let _ = queue.enqueue(second.clone());
    });
    first.entered.wait_for_completion();
    let held = stays_false(|| RUNS.get() != 0);
    let raised = queue.set_max_active(16);
    let ran = eventually(|| RUNS.get() == 1);
    first.open.complete_all();
    queue.flush();
    check!(held);
    check_eq!(raised, Ok(()));
    check!(ran);
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

/// As in a task that runs RCU callbacks: it must not sleep, though it is in no interrupt.
fn drop_with_softirqs_disabled() -> Result {
    // Defined in `kernel.c`.
    extern "C" {
        fn rust_kmemcg_test_local_bh_disable();
        fn rust_kmemcg_test_local_bh_enable();
    }
    /// Set when the queue was dropped.
    static DROPPED: Counter = Counter::new();
    RUNS.set(0);
    DROPPED.set(0);
    let queue = Builder::unbound().build(c"kmemcg_test_bh", crate::handle()?)?;
    queue.try_spawn(GFP_KERNEL, || {
        eventually(|| DROPPED.get() == 1);
        RUNS.add();
    })?;
    // SAFETY: Enabled again below, by the same task.
    unsafe { rust_kmemcg_test_local_bh_disable() };
    let context = Context::current();
    drop(queue);
    let waited = RUNS.get();
    // SAFETY: Disabled above.
    unsafe { rust_kmemcg_test_local_bh_enable() };
    DROPPED.set(1);
    check!(context == Context::Task);
    check_eq!(waited, 0);
    check!(eventually(|| RUNS.get() == 1));
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
