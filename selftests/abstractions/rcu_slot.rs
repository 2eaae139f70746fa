// SPDX-License-Identifier: GPL-2.0

//! A place for an `Arc` that readers follow under RCU.

use crate::{
    abstractions::{
        exec,
        sync::rcu::slot::{
            read,
            RcuSlot,
            Retired, //
        },
        workqueue::Builder, //
    },
    support::{
        cpus_expected,
        eventually,
        give_way,
        in_parallel,
        stays_false,
        Bell,
        Counter,
        HeldGracePeriod,
        CONTEXTS, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu, Arc,
    },
};

tests! { "rcu_slot":
    load_sees_what_was_published,
    occupied_slot_is_refused,
    take_empties_the_slot,
    take_if_takes_that_one_only,
    dropped_slot_drops_what_it_holds,
    retired_waits_for_readers,
    retired_is_not_waited_for_when_its_time_has_passed,
    retired_clone_outlives_it,
    publish_and_take_in_every_context,
    readers_never_see_a_dropped_value,
}

struct Value {
    number: usize,
    alive: Atomic<usize>,
    _bell: Bell,
}

static DROPS: Counter = Counter::new();

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.store(0, Relaxed);
    }
}

fn value(number: usize) -> Result<Arc<Value>> {
    let value = Value {
        number,
        alive: Atomic::new(1),
        _bell: Bell(&DROPS),
    };
    Ok(Arc::new(value, GFP_KERNEL)?)
}

/// The number of the value that is published.
fn number(slot: &RcuSlot<Value>) -> Option<usize> {
    read(|reader| slot.load(reader).map(|value| value.number))
}

/// None, then this very value.
fn load_sees_what_was_published() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(number(&slot).is_none());
    let arc = value(7)?;
    check!(slot.publish(arc.clone()).is_ok());
    check!(read(|reader| slot
        .load(reader)
        .is_some_and(|v| core::ptr::eq(v, &*arc))));
    drop(arc);
    check_eq!(number(&slot), Some(7));
    check_eq!(DROPS.get(), 0);
    Ok(())
}

/// The new value comes back, the old one stays.
fn occupied_slot_is_refused() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(slot.publish(value(1)?).is_ok());
    let Err(back) = slot.publish(value(2)?) else {
        check!(false);
        return Ok(());
    };
    check_eq!(back.number, 2);
    check_eq!(number(&slot), Some(1));
    drop(back);
    check_eq!(DROPS.get(), 1);
    drop(slot);
    check_eq!(DROPS.get(), 2);
    Ok(())
}

/// Once; then it can be filled again.
fn take_empties_the_slot() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(slot.take().is_none());
    check!(slot.publish(value(1)?).is_ok());
    let retired = slot.take().ok_or(ENOENT)?;
    check_eq!(retired.number, 1);
    check!(slot.take().is_none());
    check!(number(&slot).is_none());
    check!(slot.publish(value(2)?).is_ok());
    let arc = retired.into_arc();
    check_eq!(arc.number, 1);
    check_eq!(DROPS.get(), 0);
    drop(arc);
    check_eq!(DROPS.get(), 1);
    drop(slot.take());
    check_eq!(DROPS.get(), 2);
    Ok(())
}

/// Another one, or none: nothing happens.
fn take_if_takes_that_one_only() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::<Value>::new();
    let (one, two) = (value(1)?, value(2)?);
    check!(slot.take_if(&one).is_none());
    check!(slot.publish(one.clone()).is_ok());
    check!(slot.take_if(&two).is_none());
    check!(number(&slot).is_some());
    let retired = slot.take_if(&one).ok_or(ENOENT)?;
    check!(Arc::ptr_eq(&retired.into_arc(), &one));
    check!(slot.take_if(&one).is_none());
    check_eq!(DROPS.get(), 0);
    Ok(())
}

/// At once: no reader can be there.
fn dropped_slot_drops_what_it_holds() -> Result {
    DROPS.set(0);
    drop(RcuSlot::<Value>::new());
    let slot = RcuSlot::new();
    check!(slot.publish(value(1)?).is_ok());
    drop(slot);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// Dropping it, and taking its `Arc`: neither returns while a reader is there.
fn retired_waits_for_readers() -> Result {
    let ways: [fn(Retired<Value>); 2] = [drop, |retired| drop(retired.into_arc())];
    for way in ways {
        DROPS.set(0);
        let slot = RcuSlot::new();
        check!(slot.publish(value(1)?).is_ok());
        let held = HeldGracePeriod::new()?;
        let retired = slot.take().ok_or(ENOENT)?;
        let queue = Builder::unbound().build(c"kmemcg_test_slot", crate::handle()?)?;
        queue.try_spawn(GFP_KERNEL, move || way(retired))?;
        check!(stays_false(|| DROPS.get() != 0));
        check!(held.is_held());
        held.release();
        check!(eventually(|| DROPS.get() == 1));
    }
    Ok(())
}

/// A reader that came later is no matter.
fn retired_is_not_waited_for_when_its_time_has_passed() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(slot.publish(value(1)?).is_ok());
    let retired = slot.take().ok_or(ENOENT)?;
    rcu::synchronize_rcu();
    let held = HeldGracePeriod::new()?;
    drop(retired);
    check!(held.is_held());
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// The value is dropped with the last of them, not before the grace period.
fn retired_clone_outlives_it() -> Result {
    DROPS.set(0);
    let slot = RcuSlot::new();
    check!(slot.publish(value(1)?).is_ok());
    let retired = slot.take().ok_or(ENOENT)?;
    let clone = retired.clone_arc();
    drop(retired);
    check_eq!(DROPS.get(), 0);
    drop(clone);
    check_eq!(DROPS.get(), 1);
    check!(slot.publish(value(2)?).is_ok());
    let retired = slot.take().ok_or(ENOENT)?;
    drop(retired.clone_arc());
    check_eq!(DROPS.get(), 1);
    drop(retired);
    check_eq!(DROPS.get(), 2);
    Ok(())
}

/// Both are legal everywhere; the waiting is for a task.
fn publish_and_take_in_every_context() -> Result {
    DROPS.set(0);
    let slot = Arc::new((RcuSlot::new(), RcuSlot::new()), GFP_KERNEL)?;
    for &context in CONTEXTS {
        check!(slot.0.publish(value(1)?).is_ok());
        exec::run(context, slot.clone(), |slot| {
            // Moves the value from one slot to the other; nobody waits here.
            if let Some(retired) = slot.0.take() {
                let _ = slot.1.publish(retired.clone_arc());
                core::mem::forget(retired);
            }
        })
        .map_err(|(error, _)| error)?;
        check!(number(&slot.0).is_none());
        let arc = slot.1.take().ok_or(ENOENT)?.into_arc();
        // SAFETY: The reference of the `Retired` that was forgotten.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(&arc)) });
    }
    check_eq!(DROPS.get(), CONTEXTS.len());
    Ok(())
}

/// Readers on both CPUs, and writers that replace the value all the time.
fn readers_never_see_a_dropped_value() -> Result {
    static LOOKS: Counter = Counter::new();
    static WRONG: Counter = Counter::new();
    LOOKS.set(0);
    WRONG.set(0);
    DROPS.set(0);
    let slot = Arc::new(RcuSlot::new(), GFP_KERNEL)?;
    let stop = Arc::new(Counter::new(), GFP_KERNEL)?;
    let shared = slot.clone();
    let cpus = in_parallel(3, move |me| {
        if me == 0 {
            for number in 1..=20 {
                let Ok(new) = value(number) else { break };
                let old = shared.take();
                let _ = shared.publish(new);
                drop(old);
            }
            stop.set(1);
            return;
        }
        while stop.get() == 0 {
            read(|reader| {
                if let Some(value) = shared.load(reader) {
                    let begin = value.number;
                    for _ in 0..100 {
                        if value.alive.load(Relaxed) != 1 || value.number != begin || begin == 0 {
                            WRONG.add();
                        }
                    }
                    LOOKS.add();
                }
            });
            give_way();
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(WRONG.get(), 0);
    check!(LOOKS.get() > 0);
    check_eq!(DROPS.get(), 19);
    drop(slot);
    check_eq!(DROPS.get(), 20);
    Ok(())
}
