// SPDX-License-Identifier: GPL-2.0

//! Objects that are freed after a grace period.

use crate::{
    abstractions::{
        context::Context,
        exec,
        slab::*, //
    },
    impl_has_kfree_rcu_head,
    support::{
        HeldGracePeriod,
        CONTEXTS,
        IRQ, //
    }, //
};
use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu,
    },
};

tests! { "slab_rcu":
    free_and_destroy_right_after,
    free_counted_and_give_up_right_after,
    memory_is_not_reused_before_the_grace_period,
    in_every_context,
    heads_everywhere_in_the_object,
    by_pointer_after_a_grace_period,
}

struct Entry {
    key: Atomic<u64>,
    rcu: KfreeRcuHead,
}

impl Entry {
    fn new(key: u64) -> Self {
        Self {
            key: Atomic::new(key),
            rcu: KfreeRcuHead::default(),
        }
    }
}

impl_has_kfree_rcu_head! { impl HasKfreeRcuHead for Entry { self.rcu } }

/// The destroy waits for what is on its way: one, many, with a grace period held and without.
fn free_and_destroy_right_after() -> Result {
    for count in [1, 10, 1000] {
        let cache = KmemCache::<Entry>::new(c"kmemcg_test_rcu", Options::new().no_merge())?;
        for i in 0..count {
            cache.alloc(Entry::new(i), GFP_KERNEL)?.free_rcu();
        }
        drop(cache);
    }
    Ok(())
}

/// The owner is let go at once; the worker's destroy waits.
fn free_counted_and_give_up_right_after() -> Result {
    for context in [Context::Task, IRQ] {
        let reaper = Reaper::new(c"kmemcg_test_crcu", crate::handle()?)?;
        let options = Options::new().no_merge();
        let cache = CountedCache::<Entry>::new(c"kmemcg_test_crcu", options, &reaper)?;
        let mut objects = cache.alloc_bulk(100, |i| Entry::new(i as u64), GFP_KERNEL)?;
        while let Some(object) = objects.pop() {
            if objects.is_empty() {
                exec::run(context, object, |object| object.free_rcu())
                    .map_err(|(error, _)| error)?;
                break;
            }
            object.free_rcu();
        }
        drop(cache);
        reaper.wait();
    }
    Ok(())
}

/// While a reader is there, new objects are elsewhere, and the freed one is what it was.
fn memory_is_not_reused_before_the_grace_period() -> Result {
    let cache = KmemCache::<Entry>::new(c"kmemcg_test_reuse", Options::new().no_merge())?;
    let object = cache.alloc(Entry::new(77), GFP_KERNEL)?;
    let guard = rcu::read_lock();
    let old: *const Entry = &*object;
    object.free_rcu();
    let mut objects = KVec::new();
    let mut reused = false;
    for _ in 0..200 {
        let new = cache.alloc(Entry::new(1), GFP_ATOMIC)?;
        reused |= core::ptr::eq(&*new, old);
        objects.push(new, GFP_ATOMIC)?;
    }
    // SAFETY: Freed after a grace period, which `guard` holds open.
    let key = unsafe { &*old }.key.load(Relaxed);
    drop(guard);
    check_eq!(key, 77);
    check!(!reused);
    Ok(())
}

/// From a task, a softirq, a hard interrupt; while a grace period is held.
fn in_every_context() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_rcuctx", crate::handle()?)?;
    let options = Options::new().no_merge();
    let cache = CountedCache::<Entry>::new(c"kmemcg_test_rcuctx", options, &reaper)?;
    let held = HeldGracePeriod::new()?;
    for &context in CONTEXTS {
        let objects = cache.alloc_bulk(40, |i| Entry::new(i as u64), GFP_KERNEL)?;
        exec::run(context, objects, |objects| {
            for object in objects {
                object.free_rcu();
            }
        })
        .map_err(|(error, _)| error)?;
    }
    held.release();
    Ok(())
}

/// Near the beginning, further on, and as far as it may be.
fn heads_everywhere_in_the_object() -> Result {
    #[repr(C)]
    struct Far<const N: usize> {
        before: [u8; N],
        rcu: KfreeRcuHead,
    }
    impl_has_kfree_rcu_head! { impl{const N: usize} HasKfreeRcuHead for Far<N> { self.rcu } }
    fn one<const N: usize>() -> Result {
        let cache = KmemCache::<Far<N>>::new(c"kmemcg_test_far", Options::new().no_merge())?;
        for _ in 0..50 {
            let object = cache.alloc(
                Far {
                    before: [1; N],
                    rcu: KfreeRcuHead::new(),
                },
                GFP_KERNEL,
            )?;
            check_eq!(object.before[N.saturating_sub(1).min(N / 2)], 1);
            object.free_rcu();
        }
        Ok(())
    }
    one::<1>()?;
    one::<64>()?;
    one::<1000>()?;
    one::<4000>()?;
    one::<4088>()
}

/// Without a head. Readers see what was there; the destroy waits.
fn by_pointer_after_a_grace_period() -> Result {
    let cache = KmemCache::<Atomic<u64>>::new(c"kmemcg_test_bypointer", Options::new().no_merge())?;
    for i in 0..3 {
        cache
            .alloc(Atomic::new(i), GFP_KERNEL)?
            .free_rcu_mightsleep();
    }
    // The call may wait until the grace period is released, after two seconds; then nothing was seen.
    for _ in 0..5 {
        let object = cache.alloc(Atomic::new(77), GFP_KERNEL)?;
        let old = ptr::from_ref(&*object);
        let held = HeldGracePeriod::new()?;
        object.free_rcu_mightsleep();
        let mut objects = KVec::new();
        let mut reused = false;
        for _ in 0..200 {
            let new = cache.alloc(Atomic::new(1), GFP_KERNEL)?;
            reused |= ptr::eq(&*new, old);
            objects.push(new, GFP_KERNEL)?;
        }
        // SAFETY: If a grace period is held open it was freed after that; else the address is not used.
        let key = held.is_held().then(|| unsafe { &*old }.load(Relaxed));
        let seen = held.is_held();
        held.release();
        if let (Some(key), true) = (key, seen) {
            check_eq!(key, 77);
            check!(!reused);
            return Ok(());
        }
    }
    Err(ETIMEDOUT)
}
