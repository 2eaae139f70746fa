// SPDX-License-Identifier: GPL-2.0

//! Work items that are cancelled, and delayed ones.

use crate::{
    abstractions::{
        ticks::Ticks,
        workqueue::{
            cancel,
            cancel_sync,
            Builder, //
        }, //
    },
    support::{
        eventually,
        spin_until,
        stays_false,
        Counter, //
    },
    workqueue_item::{
        block,
        item,
        Item,
        RUNS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        msecs_to_jiffies,
        Delta, //
    }, //
};

tests! { "workqueue":
    cancelled_while_queued,
    cancelled_while_running,
    cancelled_while_idle,
    delayed_item_runs,
    delayed_item_is_cancelled,
    delayed_item_that_runs_is_not_cancelled,
    drop_and_drain_wait_for_delayed_items,
    delayed_item_without_a_delay,
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
