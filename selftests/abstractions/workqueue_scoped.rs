// SPDX-License-Identifier: GPL-2.0

//! Work items that are cancelled when they are dropped.

use crate::{
    abstractions::{
        unload,
        workqueue::{
            Builder,
            OwnedQueue,
            ScopedWork,
            SystemQueue, //
        },
    },
    support::{
        eventually,
        stays_false,
        Bell,
        Counter, //
    },
    work_class,
};
use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
    workqueue,
};

tests! { "workqueue_scoped":
    runs_each_time_it_is_queued,
    drop_cancels_a_queued_item,
    drop_cancels_a_timer,
    drop_waits_while_it_runs,
    drop_ends_a_periodic_item,
    drop_in_its_own_closure,
    cancelled_in_its_own_closure,
    cancelled_and_queued_again,
    closure_borrows_in_a_scope,
    queue_of_the_system_keeps_the_module,
    last_item_drops_its_queue,
}

static RUNS: Counter = Counter::new();
static DROPS: Counter = Counter::new();
static STATE: Counter = Counter::new();

fn reset() {
    RUNS.set(0);
    DROPS.set(0);
    STATE.set(0);
}

fn queue(builder: Builder<impl Copy>) -> Result<Arc<OwnedQueue>> {
    let queue = builder.build(c"kmemcg_test_scoped", crate::handle()?)?;
    Ok(Arc::new(queue, GFP_KERNEL)?)
}

/// Counts its runs, and when it is dropped.
fn counts(again: Option<Jiffies>) -> impl Fn() -> Option<Jiffies> + Send + Sync + 'static {
    let bell = Bell(&DROPS);
    move || {
        let _ = &bell;
        RUNS.add();
        again
    }
}

/// Sets the state to 1, and waits until it is 2.
fn waits() -> impl Fn() -> Option<Jiffies> + Send + Sync + 'static {
    move || {
        STATE.set(1);
        eventually(|| STATE.get() == 2);
        RUNS.add();
        None
    }
}

/// Opens what `waits()` waits for: a test that fails must not hang in the drop of its item.
struct Opens;

impl Drop for Opens {
    fn drop(&mut self) {
        STATE.set(2);
    }
}

/// At once, or after a delay; and not twice if it is queued twice.
fn runs_each_time_it_is_queued() -> Result {
    reset();
    let queue = queue(Builder::ordered())?;
    let work = ScopedWork::new(queue.clone(), work_class!("test"), counts(None), GFP_KERNEL)?;
    check!(work.enqueue());
    check!(eventually(|| RUNS.get() == 1));
    queue.flush();
    check!(work.enqueue_after(msecs_to_jiffies(20)));
    check!(!work.enqueue());
    check!(eventually(|| RUNS.get() == 2));
    queue.flush();
    check!(work.enqueue());
    queue.flush();
    check_eq!((RUNS.get(), DROPS.get()), (3, 0));
    drop(work);
    check_eq!((RUNS.get(), DROPS.get()), (3, 1));
    Ok(())
}

/// It does not run, and its closure is dropped.
fn drop_cancels_a_queued_item() -> Result {
    reset();
    let queue = queue(Builder::ordered())?;
    let first = ScopedWork::new(queue.clone(), work_class!("first"), waits(), GFP_KERNEL)?;
    let work = ScopedWork::new(queue.clone(), work_class!("test"), counts(None), GFP_KERNEL)?;
    let opens = Opens;
    check!(first.enqueue());
    check!(eventually(|| STATE.get() == 1));
    check!(work.enqueue());
    drop(work);
    check_eq!((RUNS.get(), DROPS.get()), (0, 1));
    drop(opens);
    queue.flush();
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// And does not wait for it.
fn drop_cancels_a_timer() -> Result {
    reset();
    let queue = queue(Builder::unbound())?;
    let work = ScopedWork::new(queue, work_class!("test"), counts(None), GFP_KERNEL)?;
    check!(work.enqueue_after(msecs_to_jiffies(3_600_000)));
    drop(work);
    check_eq!((RUNS.get(), DROPS.get()), (0, 1));
    Ok(())
}

/// As long as it takes.
fn drop_waits_while_it_runs() -> Result {
    reset();
    let (own, other) = (queue(Builder::unbound())?, queue(Builder::unbound())?);
    let work = ScopedWork::new(own, work_class!("test"), waits(), GFP_KERNEL)?;
    let opens = Opens;
    check!(work.enqueue());
    check!(eventually(|| STATE.get() == 1));
    other.try_spawn(GFP_KERNEL, move || {
        drop(work);
        DROPS.add();
    })?;
    check!(stays_false(|| DROPS.get() != 0));
    drop(opens);
    check!(eventually(|| DROPS.get() == 1));
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// However it is dropped: while it runs, while its timer does.
fn drop_ends_a_periodic_item() -> Result {
    for delay in [0, 1, 2] {
        for runs in 1..6 {
            reset();
            let queue = queue(Builder::unbound())?;
            let work =
                ScopedWork::new(queue, work_class!("test"), counts(Some(delay)), GFP_KERNEL)?;
            check!(work.enqueue());
            check!(eventually(|| RUNS.get() >= runs));
            drop(work);
            let seen = RUNS.get();
            check_eq!(DROPS.get(), 1);
            check!(stays_false(|| RUNS.get() != seen));
        }
    }
    Ok(())
}

type Plain = fn() -> Option<Jiffies>;

/// The item that its own closure finds.
static OWN: Atomic<*mut ScopedWork<Plain>> = Atomic::new(ptr::null_mut());

fn take_own() -> Option<KBox<ScopedWork<Plain>>> {
    let own = OWN.xchg(ptr::null_mut(), Full);
    // SAFETY: Null, or from `KBox::into_raw()` and stored once.
    (!own.is_null()).then(|| unsafe { KBox::from_raw(own) })
}

/// As `take_own()`, for the closure, which may run before the item was put there.
fn wait_for_own() -> Option<KBox<ScopedWork<Plain>>> {
    eventually(|| !OWN.load(Acquire).is_null());
    take_own()
}

fn put_own(work: KBox<ScopedWork<Plain>>) {
    OWN.xchg(KBox::into_raw(work), Full);
}

/// It goes on, and is not queued again.
fn drop_in_its_own_closure() -> Result {
    reset();
    let queue = queue(Builder::unbound())?;
    let run: Plain = || {
        if let Some(own) = wait_for_own() {
            // Queued while it runs, too.
            own.enqueue();
            drop(own);
            DROPS.add();
        }
        RUNS.add();
        Some(0)
    };
    let work = ScopedWork::new(queue.clone(), work_class!("test"), run, GFP_KERNEL)?;
    check!(work.enqueue());
    put_own(KBox::new(work, GFP_KERNEL)?);
    check!(eventually(|| DROPS.get() == 1));
    let seen = RUNS.get();
    check!(stays_false(|| RUNS.get() > seen + 1));
    queue.flush();
    check_eq!(RUNS.get(), 1);
    Ok(())
}

/// Which does not wait for itself.
fn cancelled_in_its_own_closure() -> Result {
    reset();
    let queue = queue(Builder::unbound())?;
    let run: Plain = || {
        if let Some(own) = wait_for_own() {
            own.enqueue();
            STATE.set(1 + usize::from(own.cancel()));
            put_own(own);
        }
        RUNS.add();
        None
    };
    let work = ScopedWork::new(queue.clone(), work_class!("test"), run, GFP_KERNEL)?;
    check!(work.enqueue());
    put_own(KBox::new(work, GFP_KERNEL)?);
    check!(eventually(|| RUNS.get() == 1));
    queue.flush();
    check_eq!((RUNS.get(), STATE.get()), (1, 2));
    drop(take_own());
    Ok(())
}

/// The queue's reference is given back each time.
fn cancelled_and_queued_again() -> Result {
    reset();
    let queue = queue(Builder::unbound())?;
    let work = ScopedWork::new(queue.clone(), work_class!("test"), counts(None), GFP_KERNEL)?;
    check!(!work.cancel());
    for _ in 0..10 {
        check!(work.enqueue_after(msecs_to_jiffies(3_600_000)));
        check!(work.cancel());
        check!(!work.cancel());
    }
    check!(work.enqueue());
    queue.flush();
    check_eq!((RUNS.get(), DROPS.get()), (1, 0));
    drop(work);
    check_eq!((RUNS.get(), DROPS.get()), (1, 1));
    Ok(())
}

/// What it borrows is not used after the scope.
fn closure_borrows_in_a_scope() -> Result {
    reset();
    let queue = builder_of_a_scope()?;
    for delay in [0, 1, 2] {
        let runs = Counter::new();
        let run = || {
            runs.add();
            Some(delay)
        };
        let queued = ScopedWork::scope(&queue, work_class!("test"), run, GFP_KERNEL, |work| {
            let queued = work.enqueue();
            queued && eventually(|| runs.get() >= 3)
        })?;
        check!(queued);
        let seen = runs.get();
        check!(stays_false(|| runs.get() != seen));
    }
    Ok(())
}

fn builder_of_a_scope() -> Result<OwnedQueue> {
    Builder::unbound().build(c"kmemcg_test_scope", crate::handle()?)
}

/// Until the item is dropped, and as long as it runs: another task drops it when the module is closed.
fn queue_of_the_system_keeps_the_module() -> Result {
    static ENDED: Counter = Counter::new();
    static KEPT: Counter = Counter::new();
    reset();
    ENDED.set(0);
    KEPT.set(0);
    let other = queue(Builder::unbound())?;
    unload::scope(|module| {
        let system = SystemQueue::new(workqueue::system_long(), module)?;
        let work = ScopedWork::new(system, work_class!("test"), counts(Some(1)), GFP_KERNEL)?;
        check!(work.enqueue());
        let handle = module.clone();
        other.try_spawn(GFP_KERNEL, move || {
            let closed = eventually(|| handle.is_closed());
            let seen = RUNS.get();
            let ran = eventually(|| RUNS.get() > seen);
            // A scope that nobody keeps ends after some grace periods of RCU tasks, so a few ticks say nothing.
            let kept = (0..50).all(|_| stays_false(|| ENDED.get() != 0));
            KEPT.set(usize::from(closed && ran && kept));
            drop(work);
            STATE.set(RUNS.get());
        })?;
        Ok(())
    })?;
    ENDED.set(1);
    // The scope has ended because the item was dropped, with its closure.
    check_eq!(DROPS.get(), 1);
    other.flush();
    check_eq!(KEPT.get(), 1);
    check!(stays_false(|| RUNS.get() != STATE.get()));
    Ok(())
}

/// The closure drops its item, which has the last reference on the queue that runs it.
fn last_item_drops_its_queue() -> Result {
    reset();
    let run: Plain = || {
        if let Some(own) = wait_for_own() {
            drop(own);
            DROPS.add();
        }
        RUNS.add();
        None
    };
    unload::scope(|module| {
        let queue = Builder::ordered().build(c"kmemcg_test_last", module)?;
        let queue = Arc::new(queue, GFP_KERNEL)?;
        let work = ScopedWork::new(queue, work_class!("test"), run, GFP_KERNEL)?;
        check!(work.enqueue());
        put_own(KBox::new(work, GFP_KERNEL)?);
        Ok(())
    })?;
    check_eq!((RUNS.get(), DROPS.get()), (1, 1));
    Ok(())
}
