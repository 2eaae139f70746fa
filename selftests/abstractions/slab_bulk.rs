// SPDX-License-Identifier: GPL-2.0

//! Many objects at once.

use crate::{
    abstractions::{
        context::Context,
        exec,
        slab::*,
        sync::percpu_ref::{
            PercpuRef,
            Release,
            Released, //
        }, //
    },
    impl_has_cache,
    impl_has_percpu_ref,
    support::{
        Bell,
        Counter,
        IRQ, //
    }, //
};
use core::{alloc::Layout, mem::MaybeUninit};
use kernel::{alloc::Flags, interrupt::local_interrupt_disable, prelude::*, sync::Arc};

tests! { "slab_bulk":
    every_count_around_the_batch,
    impossible_counts_are_enomem,
    indices_come_in_order,
    failing_initialiser_leaves_nothing,
    mixed_caches_go_back_to_their_own,
    with_interrupts_disabled,
    in_softirq_and_hard_irq,
    destructors_free_objects_of_the_same_cache,
    counted_bulk_keeps_and_releases_the_cache,
    memory_in_the_space_of_the_caller,
}

static DROPS: Counter = Counter::new();

/// None, one, and one less and more than the batch.
fn every_count_around_the_batch() -> Result {
    let cache = KmemCache::<(usize, Bell)>::new(c"kmemcg_test_bulk", Options::new().no_merge())?;
    for count in [0, 1, 2, 31, 32, 33, 63, 64, 65, 1000] {
        for in_bulk in [true, false] {
            DROPS.set(0);
            let objects = cache.alloc_bulk(count, |i| (i, Bell(&DROPS)), GFP_KERNEL)?;
            check_eq!(objects.len(), count);
            for (i, object) in objects.iter().enumerate() {
                check_eq!(object.0, i);
            }
            check_eq!(DROPS.get(), 0);
            if in_bulk {
                Object::free_bulk(objects);
            } else {
                drop(objects);
            }
            check_eq!(DROPS.get(), count);
        }
    }
    Ok(())
}

/// Counts whose list alone cannot be allocated; the initialiser is not asked.
fn impossible_counts_are_enomem() -> Result {
    let cache = KmemCache::<u64>::new(c"kmemcg_test_huge", Options::new())?;
    for count in [usize::MAX, usize::MAX / 16, isize::MAX as usize] {
        let mut asked = 0;
        let result = cache.alloc_bulk(
            count,
            |_| {
                asked += 1;
                1
            },
            GFP_KERNEL | __GFP_NOWARN,
        );
        check_err!(result, ENOMEM);
        check_eq!(asked, 0);
    }
    Ok(())
}

/// Each index once.
fn indices_come_in_order() -> Result {
    let cache = KmemCache::<usize>::new(c"kmemcg_test_order", Options::new())?;
    let (mut next, mut in_order) = (0, true);
    let objects = cache.alloc_bulk(
        100,
        |i| {
            in_order &= i == next;
            next += 1;
            i
        },
        GFP_KERNEL,
    )?;
    check!(in_order);
    check_eq!(next, 100);
    Object::free_bulk(objects);
    Ok(())
}

/// At the first, in the middle of a batch, at its end, in a later one: what was made is dropped, the
/// rest of the batch goes back, and no initialiser runs after the one that failed.
fn failing_initialiser_leaves_nothing() -> Result {
    #[pin_data]
    struct Fails {
        bell: Bell,
        value: usize,
    }
    let cache = KmemCache::<Fails>::new(c"kmemcg_test_middle", Options::new().no_merge())?;
    for fails in [0, 1, 15, 31, 32, 33, 50, 63, 64, 99] {
        DROPS.set(0);
        let mut asked = 0;
        let result = cache.alloc_bulk(
            100,
            |i| {
                asked += 1;
                try_pin_init!(Fails {
                    bell: Bell(&DROPS),
                    value: if i == fails { Err(EXDEV) } else { Ok(i) }?,
                }? Error)
            },
            GFP_KERNEL,
        );
        check_err!(result, EXDEV);
        check_eq!(asked, fails + 1);
        // One that was half made, too.
        check_eq!(DROPS.get(), fails + 1);
    }
    Ok(())
}

/// A list of objects of two caches, in turns and in runs.
fn mixed_caches_go_back_to_their_own() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_mixed", crate::handle()?)?;
    let options = Options::new().no_merge();
    let one = CountedCache::<(Bell, [u8; 40])>::new(c"kmemcg_test_mixed1", options, &reaper)?;
    let two = CountedCache::<(Bell, [u8; 40])>::new(c"kmemcg_test_mixed2", options, &reaper)?;
    for run in [1, 2, 31, 32, 33, 100] {
        DROPS.set(0);
        let mut objects = KVec::new();
        for i in 0..200 {
            let cache = if usize::checked_div(i, run).unwrap_or(0) % 2 == 0 {
                &one
            } else {
                &two
            };
            let object = cache.alloc((Bell(&DROPS), [i as u8; 40]), GFP_KERNEL)?;
            objects.push(object, GFP_KERNEL)?;
        }
        Object::free_bulk(objects);
        check_eq!(DROPS.get(), 200);
    }
    drop((one, two));
    // SLUB complains at the destroy when an object went to the wrong cache.
    reaper.flush();
    Ok(())
}

/// The bulk calls of C are not legal there.
fn with_interrupts_disabled() -> Result {
    let cache = KmemCache::<(usize, Bell)>::new(c"kmemcg_test_irqs", Options::new())?;
    DROPS.set(0);
    for count in [1, 33, 100] {
        let disabled = local_interrupt_disable();
        let objects = cache.alloc_bulk(count, |i| (i, Bell(&DROPS)), GFP_ATOMIC);
        let objects = objects.inspect(|objects| {
            if objects.iter().enumerate().any(|(i, object)| object.0 != i) {
                DROPS.add();
            }
        });
        let freed = objects.map(Object::free_bulk);
        drop(disabled);
        freed?;
    }
    check_eq!(DROPS.get(), 134);
    Ok(())
}

/// Allocated here, freed there; and both there.
fn in_softirq_and_hard_irq() -> Result {
    static MADE: Counter = Counter::new();
    let reaper = Reaper::new(c"kmemcg_test_bulkirq", crate::handle()?)?;
    let cache = CountedCache::<Bell>::new(c"kmemcg_test_bulkirq", Options::new(), &reaper)?;
    let cache = Arc::new(cache, GFP_KERNEL)?;
    for context in [Context::SoftIrq, IRQ] {
        DROPS.set(0);
        MADE.set(0);
        let objects = cache.alloc_bulk(100, |_| Bell(&DROPS), GFP_KERNEL)?;
        exec::run(context, (cache.clone(), objects), |(cache, objects)| {
            Object::free_bulk(objects);
            if let Ok(objects) = cache.alloc_bulk(100, |_| Bell(&DROPS), GFP_ATOMIC) {
                MADE.set(objects.len());
                Object::free_bulk(objects);
            }
        })
        .map_err(|(error, _)| error)?;
        check_eq!(MADE.get(), 100);
        check_eq!(DROPS.get(), 200);
    }
    Ok(())
}

/// While the batch that they are in waits.
fn destructors_free_objects_of_the_same_cache() -> Result {
    struct Pair {
        _other: Option<CountedObject<Pair>>,
        _bell: Bell,
    }
    // The compiler does not find out by itself where a type holds objects of its own cache.
    // SAFETY: Sends what is `Send`.
    unsafe impl Send for Pair {}
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_pairs", crate::handle()?)?;
    let cache = CountedCache::<Pair>::new(c"kmemcg_test_pairs", Options::new(), &reaper)?;
    let mut objects = KVec::new();
    for _ in 0..100 {
        let other = cache.alloc(
            Pair {
                _other: None,
                _bell: Bell(&DROPS),
            },
            GFP_KERNEL,
        )?;
        let pair = Pair {
            _other: Some(other),
            _bell: Bell(&DROPS),
        };
        objects.push(cache.alloc(pair, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    drop(cache);
    Object::free_bulk(objects);
    check_eq!(DROPS.get(), 200);
    Ok(())
}

/// The objects of one call hold one reference each.
fn counted_bulk_keeps_and_releases_the_cache() -> Result {
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_cbulk", crate::handle()?)?;
    let options = Options::new().no_merge();
    let cache = CountedCache::<Bell>::new(c"kmemcg_test_cbulk", options, &reaper)?;
    let mut objects = cache.alloc_bulk(65, |_| Bell(&DROPS), GFP_KERNEL)?;
    drop(cache);
    reaper.flush();
    let last = objects.pop().ok_or(EINVAL)?;
    Object::free_bulk(objects);
    check_eq!(DROPS.get(), 64);
    reaper.flush();
    drop(last);
    check_eq!(DROPS.get(), 65);
    reaper.wait(); // Returns when the cache is destroyed.
    Ok(())
}

/// Pieces of their own, as large as they should be, with interrupts enabled or not; they keep the cache.
fn memory_in_the_space_of_the_caller() -> Result {
    #[pin_data]
    struct Pool {
        cache: RawCache,
        #[pin]
        refs: PercpuRef<Pool>,
    }
    impl_has_cache! { impl HasCache for Pool { self.cache } }
    impl_has_percpu_ref! { impl HasPercpuRef for Pool { self.refs } }
    impl Release for Pool {
        fn release(_this: Released<Self>) {
            RELEASES.add();
        }
    }
    static RELEASES: Counter = Counter::new();
    RELEASES.set(0);
    let layout = Layout::from_size_align(72, 8).map_err(|_| EINVAL)?;
    let pool = Arc::pin_init(
        try_pin_init!(Pool {
            cache: RawCache::new(c"kmemcg_test_space", layout, Options::new().no_merge())?,
            refs <- PercpuRef::new(GFP_KERNEL),
        }),
        GFP_KERNEL,
    )?;
    PercpuRef::start(&pool, crate::hold()?)?;
    fn bulk<'a>(
        pool: &Pool,
        space: &'a mut [MaybeUninit<*mut u8>],
        flags: Flags,
    ) -> Result<Bulk<'a, Reference<Pool>>> {
        let reference = PercpuRef::tryget_live(pool).ok_or(ENODEV)?;
        Bulk::memory(reference.into(), space, flags)
    }
    for _ in 0..20 {
        let (mut one, mut two) = ([MaybeUninit::uninit(); 40], [MaybeUninit::uninit(); 40]);
        let one = bulk(&pool, &mut one, GFP_KERNEL)?;
        let disabled = local_interrupt_disable();
        let two = bulk(&pool, &mut two, GFP_ATOMIC)?;
        drop(disabled);
        for (i, memory) in Iterator::chain(one.iter(), two.iter()).enumerate() {
            // SAFETY: 72 bytes of ours.
            unsafe { memory.as_ptr().write_bytes(i as u8, 72) };
        }
        for (i, memory) in Iterator::chain(one.iter(), two.iter()).enumerate() {
            // SAFETY: Written above.
            check_eq!(unsafe { memory.cast::<[u8; 72]>().read() }, [i as u8; 72]);
        }
        let disabled = local_interrupt_disable();
        drop(one);
        drop(disabled);
        check_eq!(pool.refs.count(), 1);
    }
    check_eq!(bulk(&pool, &mut [], GFP_KERNEL)?.iter().count(), 0);
    let mut space = [MaybeUninit::uninit(); 3];
    let last = bulk(&pool, &mut space, GFP_KERNEL)?;
    pool.refs.kill();
    kernel::sync::rcu::rcu_barrier();
    check_eq!(RELEASES.get(), 0);
    check_err!(
        bulk(&pool, &mut [MaybeUninit::uninit(); 3], GFP_KERNEL),
        ENODEV
    );
    drop(last);
    check_eq!(RELEASES.get(), 1);
    Ok(())
}
