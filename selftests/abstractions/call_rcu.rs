// SPDX-License-Identifier: GPL-2.0

//! Callbacks after a grace period.

use crate::{
    abstractions::{
        context::Context,
        exec,
        sync::rcu::{
            call_rcu::*,
            slot::RcuSlot, //
        },
        unload, //
    },
    impl_has_rcu_head,
    support::{
        eventually,
        stays_false,
        Counter,
        HeldGracePeriod,
        CONTEXTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc, UniqueArc,
    },
    workqueue,
};

tests! { "call_rcu":
    boxes_and_arcs_arrive,
    callback_runs_in_softirq,
    callback_waits_for_the_grace_period,
    queued_head_is_refused,
    requeued_from_its_own_callback,
    queued_in_every_context,
    retired_goes_to_its_callback,
    retired_is_refused_while_queued,
    many_at_once,
    generic_structure,
    rcu_arc_drops_after_a_grace_period,
    rcu_arc_has_its_head_alone,
    rcu_arc_calls_back,
    rcu_arc_dropped_in_every_context,
    rcu_arc_keeps_the_module,
}

static RUNS: Counter = Counter::new();
static DROPS: Counter = Counter::new();
static CONTEXT: Counter = Counter::new();

fn reset() {
    RUNS.set(0);
    DROPS.set(0);
    CONTEXT.set(0);
}

/// Given as an `Arc`; queues itself again as often as it says.
#[pin_data(PinnedDrop)]
struct Shared {
    #[pin]
    rcu: RcuHead<Shared>,
    again: Atomic<usize>,
    callbacks: Option<Arc<Callbacks>>,
}

impl_has_rcu_head! { impl HasRcuHead for Shared { self.rcu } }

impl RcuCallback for Shared {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>, _cx: InCallback<'_>) {
        CONTEXT.set(Context::current() as usize + 1);
        RUNS.add();
        if this.again.load(Relaxed) != 0 {
            this.again.fetch_sub(1, Full);
            let callbacks = this.callbacks.clone();
            if let Some(callbacks) = callbacks {
                if queue(&callbacks, this).is_err() {
                    // Never: shows in the count of drops.
                    DROPS.add();
                }
            }
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Shared {
    fn drop(self: Pin<&mut Self>) {
        DROPS.add();
    }
}

fn shared() -> Result<Arc<Shared>> {
    shared_again(0, None)
}

fn shared_again(again: usize, callbacks: Option<Arc<Callbacks>>) -> Result<Arc<Shared>> {
    Arc::pin_init(
        pin_init!(Shared { rcu <- RcuHead::new(), again: Atomic::new(again), callbacks }),
        GFP_KERNEL,
    )
}

/// Given as a box.
#[pin_data(PinnedDrop)]
struct Boxed<const N: usize> {
    before: [u8; N],
    #[pin]
    rcu: RcuHead<Boxed<N>>,
}

impl_has_rcu_head! { impl{const N: usize} HasRcuHead for Boxed<N> { self.rcu } }

impl<const N: usize> RcuCallback for Boxed<N> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>, _cx: InCallback<'_>) {
        if this.before.iter().all(|byte| *byte == 0x5a) {
            RUNS.add();
        }
    }
}

#[pinned_drop]
impl<const N: usize> PinnedDrop for Boxed<N> {
    fn drop(self: Pin<&mut Self>) {
        DROPS.add();
    }
}

fn boxed<const N: usize>() -> Result<Pin<KBox<Boxed<N>>>> {
    KBox::pin_init(
        pin_init!(Boxed { before: [0x5a; N], rcu <- RcuHead::new() }),
        GFP_KERNEL,
    )
}

fn queue(callbacks: &Callbacks, entry: Arc<Shared>) -> Result<(), Arc<Shared>> {
    callbacks.call(entry).map_err(|refused| refused.this)
}

fn queue_box<const N: usize>(callbacks: &Callbacks, entry: Pin<KBox<Boxed<N>>>) -> Result {
    Ok(callbacks.call(entry)?)
}

/// The callback receives what was given, once, and may drop it.
fn boxes_and_arcs_arrive() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let kept = shared()?;
    check!(queue(&callbacks, kept.clone()).is_ok());
    check!(queue(&callbacks, shared()?).is_ok());
    check!(queue_box(&callbacks, boxed::<8>()?).is_ok());
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (3, 2));
    drop(kept);
    check_eq!(DROPS.get(), 3);
    Ok(())
}

/// Or in a kthread, on PREEMPT_RT.
fn callback_runs_in_softirq() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    check!(queue(&callbacks, shared()?).is_ok());
    callbacks.barrier();
    let expected = if cfg!(CONFIG_PREEMPT_RT) {
        Context::Task
    } else {
        Context::SoftIrq
    };
    check_eq!(CONTEXT.get(), expected as usize + 1);
    Ok(())
}

/// Not before the reader has gone.
fn callback_waits_for_the_grace_period() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let held = HeldGracePeriod::new()?;
    check!(queue(&callbacks, shared()?).is_ok());
    check!(queue_box(&callbacks, boxed::<1>()?).is_ok());
    check!(stays_false(|| RUNS.get() != 0));
    check!(held.is_held());
    check_eq!(DROPS.get(), 0);
    held.release();
    check!(eventually(|| RUNS.get() == 2 && DROPS.get() == 2));
    Ok(())
}

/// Through another `Arc`, which comes back; afterwards it can be queued again.
fn queued_head_is_refused() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let held = HeldGracePeriod::new()?;
    let entry = shared()?;
    check!(queue(&callbacks, entry.clone()).is_ok());
    for _ in 0..3 {
        let Err(back) = queue(&callbacks, entry.clone()) else {
            check!(false);
            return Ok(());
        };
        check!(Arc::ptr_eq(&back, &entry));
    }
    let others = crate::callbacks()?;
    check!(queue(&others, entry.clone()).is_err());
    held.release();
    callbacks.barrier();
    check_eq!(RUNS.get(), 1);
    check!(queue(&callbacks, entry.clone()).is_ok());
    callbacks.barrier();
    check_eq!(RUNS.get(), 2);
    drop(entry);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// The head is free when the callback runs.
fn requeued_from_its_own_callback() -> Result {
    reset();
    let callbacks = Arc::new(crate::callbacks()?, GFP_KERNEL)?;
    check!(queue(&callbacks, shared_again(5, Some(callbacks.clone()))?).is_ok());
    check!(eventually(|| RUNS.get() == 6));
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (6, 1));
    Ok(())
}

/// From a task, a softirq, a hard interrupt.
fn queued_in_every_context() -> Result {
    reset();
    let callbacks = Arc::new(crate::callbacks()?, GFP_KERNEL)?;
    for &context in CONTEXTS {
        exec::run(
            context,
            (callbacks.clone(), shared()?),
            |(callbacks, entry)| {
                let _ = queue(&callbacks, entry);
            },
        )
        .map_err(|(error, _)| error)?;
    }
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (CONTEXTS.len(), CONTEXTS.len()));
    Ok(())
}

/// No reader of the slot is left when the callback runs.
fn retired_goes_to_its_callback() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let slot = RcuSlot::new();
    check!(slot.publish(shared()?).is_ok());
    let held = HeldGracePeriod::new()?;
    let retired = slot.take().ok_or(ENOENT)?;
    check!(callbacks.call_retired(retired).is_ok());
    check!(stays_false(|| RUNS.get() != 0));
    check!(held.is_held());
    check_eq!(DROPS.get(), 0);
    held.release();
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (1, 1));
    Ok(())
}

/// It comes back, and still waits for its grace period.
fn retired_is_refused_while_queued() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let slot = RcuSlot::new();
    let entry = shared()?;
    check!(slot.publish(entry.clone()).is_ok());
    let held = HeldGracePeriod::new()?;
    check!(queue(&callbacks, entry.clone()).is_ok());
    let retired = slot.take().ok_or(ENOENT)?;
    let Err(Refused {
        this: retired,
        reason,
    }) = callbacks.call_retired(retired)
    else {
        check!(false);
        return Ok(());
    };
    check!(core::ptr::eq(&*retired, &*entry));
    check_eq!(reason, Reason::Queued);
    held.release();
    drop(entry);
    drop(retired.into_arc());
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (1, 1));
    Ok(())
}

/// A thousand heads.
fn many_at_once() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    for _ in 0..500 {
        check!(queue_box(&callbacks, boxed::<1>()?).is_ok());
        check!(queue(&callbacks, shared()?).is_ok());
    }
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (1000, 1000));
    Ok(())
}

/// The head is found again wherever it is.
fn generic_structure() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    check!(queue_box(&callbacks, boxed::<0>()?).is_ok());
    check!(queue_box(&callbacks, boxed::<3>()?).is_ok());
    check!(queue_box(&callbacks, boxed::<64>()?).is_ok());
    check!(queue_box(&callbacks, boxed::<2000>()?).is_ok());
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (4, 4));
    Ok(())
}

/// A value without other owners.
fn rcu_arc(module: &unload::Handle) -> Result<RcuArc<Shared>> {
    let shared = pin_init!(Shared {
        rcu <- RcuHead::new(),
        again: Atomic::new(0),
        callbacks: None,
    });
    Ok(RcuArc::new(
        UniqueArc::pin_init(shared, GFP_KERNEL)?,
        module,
    )?)
}

/// Only its own reference; that of another owner stays.
fn rcu_arc_drops_after_a_grace_period() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let (last, other) = (rcu_arc(crate::handle()?)?, rcu_arc(crate::handle()?)?);
    let kept = other.as_arc().clone();
    let held = HeldGracePeriod::new()?;
    drop((last, other));
    check!(stays_false(|| DROPS.get() != 0));
    check!(held.is_held());
    held.release();
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (0, 1));
    drop(kept);
    check_eq!(DROPS.get(), 2);
    Ok(())
}

/// From when it is made until its callback has run, or it is an `Arc` again.
fn rcu_arc_has_its_head_alone() -> Result {
    reset();
    let (callbacks, module) = (crate::callbacks()?, crate::handle()?);
    let refused = |arc: &Arc<Shared>| -> Result {
        check_err!(callbacks.call(arc.clone()), EBUSY);
        check_err!(RcuArc::from_arc(arc.clone(), module), EBUSY);
        Ok(())
    };
    let first = rcu_arc(module)?;
    let arc = first.as_arc().clone();
    refused(&arc)?;
    drop(first.into_arc());
    // The head is free.
    let second = RcuArc::from_arc(arc.clone(), module)?;
    refused(&arc)?;
    let held = HeldGracePeriod::new()?;
    drop(second);
    refused(&arc)?;
    held.release();
    callbacks.barrier();
    // And here.
    let held = HeldGracePeriod::new()?;
    check!(queue(&callbacks, arc.clone()).is_ok());
    check_err!(RcuArc::from_arc(arc.clone(), module), EBUSY);
    held.release();
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (1, 0));
    drop(arc);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// With the `Arc`, instead of only dropping it.
fn rcu_arc_calls_back() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    let arc = rcu_arc(crate::handle()?)?;
    let held = HeldGracePeriod::new()?;
    arc.call();
    check!(stays_false(|| RUNS.get() != 0));
    check!(held.is_held());
    held.release();
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (1, 1));
    Ok(())
}

fn rcu_arc_dropped_in_every_context() -> Result {
    reset();
    let callbacks = crate::callbacks()?;
    for &context in CONTEXTS {
        exec::run(context, rcu_arc(crate::handle()?)?, drop).map_err(|(error, _)| error)?;
    }
    callbacks.barrier();
    check_eq!((RUNS.get(), DROPS.get()), (0, CONTEXTS.len()));
    Ok(())
}

/// It can be dropped where no callback can be queued any more, and the module waits for its own.
fn rcu_arc_keeps_the_module() -> Result {
    reset();
    unload::scope(|module| {
        let (arc, handle) = (rcu_arc(module)?, module.clone());
        let late = shared()?;
        module.try_spawn(workqueue::system_long(), GFP_KERNEL, move || {
            eventually(|| handle.is_closed());
            if Callbacks::new(&handle).call(late).is_err() {
                RUNS.add();
            }
            drop(arc);
        })
    })?;
    check_eq!((RUNS.get(), DROPS.get()), (1, 2));
    Ok(())
}
