// SPDX-License-Identifier: GPL-2.0

//! Static caches: boxes, their cache, and the order in which they go.

use crate::{
    abstractions::{
        exec,
        slab::*,
        unload::{
            self,
            Handle,
            Unheld, //
        },
        workqueue::Builder, //
    },
    impl_has_kfree_rcu_head,
    kmem_cache,
    support::{
        cpus_expected,
        eventually,
        give_way,
        in_parallel,
        stays_false,
        Bell,
        Counter,
        CONTEXTS, //
    }, //
};
use core::{
    marker::PhantomPinned,
    mem,
    ptr, //
};
use kernel::{
    alloc::{
        Box, //
    },
    prelude::*,
    sync::{
        atomic::Atomic,
        atomic::Relaxed,
        Arc, //
    },
    workqueue, //
};
use pin_init::init_zeroed;

tests! { "slab_static":
    nothing_without_a_registration,
    cache_dropped_before_its_boxes,
    cache_dropped_after_its_boxes,
    one_registration_at_a_time,
    failed_registration_leaves_nothing,
    no_registration_while_unloading,
    last_drop_in_every_context,
    unload_waits_for_a_box,
    wait_without_an_anchor,
    boxes_are_initialised_in_place,
    failing_initialiser_gives_the_memory_back,
    freed_after_a_grace_period,
    registrations_come_and_go_on_both_cpus,
}

static DROPS: Counter = Counter::new();

struct Value(u64, #[allow(dead_code)] Bell);

fn value(value: u64) -> Value {
    Value(value, Bell(&DROPS))
}

kmem_cache! {
    /// For most tests.
    struct Values {
        type: Value,
        name: c"kmemcg_test_static",
        options: Options::new().no_merge(),
    }
}

type ValueBox = Box<Value, Values>;

/// Before one, and after it.
fn nothing_without_a_registration() -> Result {
    DROPS.set(0);
    check!(ValueBox::new(value(1), GFP_KERNEL).is_err());
    unload::scope(|module| {
        let cache = Registration::<Values>::new(module)?;
        check_eq!(ValueBox::new(value(2), GFP_KERNEL)?.0, 2);
        drop(cache);
        check!(ValueBox::new(value(3), GFP_KERNEL).is_err());
        Ok(())
    })?;
    check!(ValueBox::new(value(4), GFP_KERNEL).is_err());
    check_eq!(DROPS.get(), 4);
    Ok(())
}

/// They keep it, and there is no other one meanwhile.
fn cache_dropped_before_its_boxes() -> Result {
    DROPS.set(0);
    unload::scope(|module| {
        let cache = Registration::<Values>::new(module)?;
        let (a, b) = (
            ValueBox::new(value(1), GFP_KERNEL)?,
            ValueBox::new(value(2), GFP_KERNEL)?,
        );
        drop(cache);
        kernel::sync::rcu::rcu_barrier();
        check_err!(Registration::<Values>::new(module).map(drop), EBUSY);
        check_eq!(a.0 + b.0, 3);
        drop(a);
        check_err!(Registration::<Values>::new(module).map(drop), EBUSY);
        drop(b);
        Ok(())
    })?;
    check_eq!(DROPS.get(), 2);
    // The last drop has destroyed it: the name and the place are free.
    unload::scope(|module| Registration::<Values>::new(module).map(drop))
}

/// The usual order.
fn cache_dropped_after_its_boxes() -> Result {
    DROPS.set(0);
    unload::scope(|module| {
        let cache = Registration::<Values>::new(module)?;
        let mut boxes = KVec::new();
        for i in 0..1000 {
            boxes.push(ValueBox::new(value(i), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        check!(boxes.iter().zip(0..).all(|(one, i)| one.0 == i));
        drop(boxes);
        cache.shrink();
        Ok(())
    })?;
    check_eq!(DROPS.get(), 1000);
    Ok(())
}

/// The second changes nothing.
fn one_registration_at_a_time() -> Result {
    unload::scope(|module| {
        let _cache = Registration::<Values>::new(module)?;
        check_err!(Registration::<Values>::new(module).map(drop), EBUSY);
        drop(ValueBox::new(value(1), GFP_KERNEL)?);
        Ok(())
    })
}

kmem_cache! {
    struct Misnamed {
        type: u64,
        name: c"kmemcg test",
        options: Options::new(),
    }
}

/// Not `EBUSY` the second time.
fn failed_registration_leaves_nothing() -> Result {
    unload::scope(|module| {
        check_err!(Registration::<Misnamed>::new(module).map(drop), EINVAL);
        check_err!(Registration::<Misnamed>::new(module).map(drop), EINVAL);
        check!(Box::<u64, Misnamed>::new(1, GFP_KERNEL).is_err());
        Ok(())
    })
}

/// And the place is free afterwards.
fn no_registration_while_unloading() -> Result {
    let mut closed: Option<Handle> = None;
    unload::scope(|module| {
        closed = Some(module.clone());
        Ok(())
    })?;
    let closed = closed.ok_or(EINVAL)?;
    check_err!(Registration::<Values>::new(&closed).map(drop), ENODEV);
    unload::scope(|module| Registration::<Values>::new(module).map(drop))
}

/// With the registration gone: a worker destroys the cache.
fn last_drop_in_every_context() -> Result {
    for &context in CONTEXTS {
        DROPS.set(0);
        unload::scope(|module| {
            let cache = Registration::<Values>::new(module)?;
            let last = ValueBox::new(value(1), GFP_KERNEL)?;
            drop(cache);
            kernel::sync::rcu::rcu_barrier();
            exec::run(context, last, drop).map_err(|(error, _)| error)
        })?;
        check_eq!(DROPS.get(), 1);
    }
    Ok(())
}

/// As long as there is one.
fn unload_waits_for_a_box() -> Result {
    static STATE: Counter = Counter::new();
    STATE.set(0);
    let (send, receive) = {
        let slot = Arc::new(Atomic::<*mut Value>::new(ptr::null_mut()), GFP_KERNEL)?;
        (slot.clone(), slot)
    };
    crate::handle()?.try_spawn(workqueue::system_unbound(), GFP_KERNEL, move || {
        let result = unload::scope(|module| {
            let _cache = Registration::<Values>::new(module)?;
            let last = ValueBox::new(value(1), GFP_KERNEL)?;
            send.store(ValueBox::into_raw(last), kernel::sync::atomic::Release);
            Ok(())
        });
        STATE.set(if result.is_ok() { 1 } else { 2 });
    })?;
    check!(eventually(|| !receive
        .load(kernel::sync::atomic::Acquire)
        .is_null()));
    let waits = stays_false(|| STATE.get() != 0);
    // SAFETY: From `into_raw()`.
    let last = unsafe { ValueBox::from_raw(receive.load(kernel::sync::atomic::Acquire)) };
    let is = last.0;
    drop(last);
    check!(waits);
    check_eq!(is, 1);
    check!(eventually(|| STATE.get() == 1));
    Ok(())
}

/// Until the last box is gone and the cache is destroyed: the place is free at once.
fn wait_without_an_anchor() -> Result {
    // SAFETY: No value is forgotten, and each registration is waited for; what has the last one is a
    // work item of a queue that is drained here.
    let module = unsafe { Unheld::new() };
    for _ in 0..5 {
        let cache = Registration::<Values>::new(&module)?;
        drop(ValueBox::new(value(1), GFP_KERNEL)?);
        cache.wait();
    }
    let queue = Builder::unbound().build(c"kmemcg_test_wait", crate::handle()?)?;
    let cache = Registration::<Values>::new(&module)?;
    let last = ValueBox::new(value(2), GFP_KERNEL);
    let done = Arc::new(Counter::new(), GFP_KERNEL)?;
    let tell = done.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        cache.wait();
        tell.set(1);
    })?;
    // As long as `wait()` takes where there is nothing to wait for, twice.
    unload::scope(|_| Ok(()))?;
    unload::scope(|_| Ok(()))?;
    let waits = stays_false(|| done.get() != 0);
    let is_there = last.is_ok();
    drop(last);
    check!(waits && is_there);
    check!(eventually(|| done.get() == 1));
    Ok(())
}

#[pin_data]
struct Large {
    place: usize,
    bytes: [u8; 40_000],
    #[pin]
    _pin: PhantomPinned,
}

kmem_cache! {
    struct Larges {
        type: Large,
        name: c"kmemcg_test_static_large",
        options: Options::new().no_merge(),
    }
}

/// More than the stack has room for.
fn boxes_are_initialised_in_place() -> Result {
    unload::scope(|module| {
        let _cache = Registration::<Larges>::new(module)?;
        let large = Box::<Large, Larges>::pin_init(
            pin_init!(&this in Large {
                place: this.as_ptr() as usize,
                bytes <- init_zeroed(),
                _pin: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        check_eq!(large.place, ptr::from_ref(&*large) as usize);
        check!(large.bytes.iter().all(|&byte| byte == 0));
        Ok(())
    })
}

/// Nothing is left: the scope ends.
fn failing_initialiser_gives_the_memory_back() -> Result {
    DROPS.set(0);
    unload::scope(|module| {
        let _cache = Registration::<Values>::new(module)?;
        for _ in 0..100 {
            let result = ValueBox::try_pin_init(
                // SAFETY: Fails, and leaves nothing initialised.
                unsafe { pin_init::pin_init_from_closure(|_| Err::<(), Error>(EXDEV)) },
                GFP_KERNEL,
            );
            check_err!(result.map(drop), EXDEV);
        }
        Ok(())
    })?;
    check_eq!(DROPS.get(), 0);
    Ok(())
}

struct Entry {
    key: Atomic<u64>,
    rcu: KfreeRcuHead,
}

impl_has_kfree_rcu_head! { impl HasKfreeRcuHead for Entry { self.rcu } }

kmem_cache! {
    struct Entries {
        type: Entry,
        name: c"kmemcg_test_static_rcu",
        options: Options::new().no_merge(),
    }
}

/// And the cache is destroyed after that: the registration is dropped right away.
fn freed_after_a_grace_period() -> Result {
    unload::scope(|module| {
        let cache = Registration::<Entries>::new(module)?;
        let entry = |key| Entry {
            key: Atomic::new(key),
            rcu: KfreeRcuHead::new(),
        };
        let object = Box::<Entry, Entries>::new(entry(77), GFP_KERNEL)?;
        let raw = Box::into_raw(Box::<Entry, Entries>::new(entry(78), GFP_KERNEL)?);
        let old: *const Entry = &*object;
        let guard = kernel::sync::rcu::read_lock();
        Entries::free_rcu(object);
        // SAFETY: From `into_raw()`.
        Entries::free_rcu(unsafe { Box::<Entry, Entries>::from_raw(raw) });
        let mut reused = false;
        let mut boxes = KVec::new();
        for _ in 0..200 {
            let new = Box::<Entry, Entries>::new(entry(1), GFP_ATOMIC)?;
            reused |= ptr::eq(&*new, old);
            boxes.push(new, GFP_ATOMIC)?;
        }
        // SAFETY: Freed after a grace period, which `guard` holds open.
        let key = unsafe { &*old }.key.load(Relaxed);
        drop(guard);
        check_eq!(key, 77);
        check!(!reused);
        drop(boxes);
        drop(cache);
        Ok(())
    })
}

/// While others allocate, and keep a box until the next one: each finds the cache or none, and the place
/// is not given to another cache before the last box of this one is gone.
fn registrations_come_and_go_on_both_cpus() -> Result {
    static MADE: Counter = Counter::new();
    static REFUSED: Counter = Counter::new();
    static WRONG: Counter = Counter::new();
    static ENDED: Counter = Counter::new();
    const KEEP: usize = 16;
    fn once(module: &Handle, round: u64) -> Result {
        let cache = Registration::<Values>::new(module)?;
        let own = ValueBox::new(value(round), GFP_KERNEL)?;
        let made = MADE.get();
        check!(eventually(|| MADE.get() >= made + 200));
        drop(cache);
        check_err!(Registration::<Values>::new(module).map(drop), EBUSY);
        check!(ValueBox::new(value(round), GFP_KERNEL).is_err());
        // Those that keep a box drop it now.
        let refused = REFUSED.get();
        check!(eventually(|| REFUSED.get() >= refused + 4 * KEEP));
        check_err!(Registration::<Values>::new(module).map(drop), EBUSY);
        check_eq!(own.0, round);
        Ok(())
    }
    fn come_and_go() -> Result {
        for round in 0..20 {
            // The scope waits for the boxes of the others, who must end if this fails.
            unload::scope(|module| once(module, round).inspect_err(|_| ENDED.set(1)))?;
        }
        Ok(())
    }
    fn allocate() {
        let (mut kept, mut refused) = (None, 0);
        for sent in 0.. {
            if ENDED.get() != 0 {
                break;
            }
            if let Ok(one) = ValueBox::new(value(sent), GFP_KERNEL) {
                refused = 0;
                MADE.add();
                if let Some((old, expected)) = kept.replace((one, sent)) {
                    let old: ValueBox = old;
                    if old.0 != expected {
                        WRONG.add();
                    }
                }
            } else {
                refused += 1;
                REFUSED.add();
                if refused >= KEEP {
                    kept = None;
                }
                give_way();
            }
            if sent % 256 == 0 {
                give_way();
            }
        }
    }
    for counter in [&DROPS, &MADE, &REFUSED, &WRONG, &ENDED] {
        counter.set(0);
    }
    let cpus = in_parallel(3, |i| {
        if i == 0 {
            if come_and_go().is_err() {
                WRONG.add();
            }
            ENDED.set(1);
        } else {
            allocate();
        }
    })?;
    check_eq!(WRONG.get(), 0);
    check!(cpus >= cpus_expected());
    // Two values a round are those of `come_and_go()`.
    check_eq!(DROPS.get(), MADE.get() + REFUSED.get() + 2 * 20);
    // The type is nothing.
    check_eq!(mem::size_of::<ValueBox>(), mem::size_of::<usize>());
    Ok(())
}
