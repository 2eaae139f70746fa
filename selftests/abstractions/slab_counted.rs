// SPDX-License-Identifier: GPL-2.0

//! Counted caches: who drops what, where, and in which order.

use crate::{
    abstractions::{
        context::Context,
        exec,
        slab::*,
        sync::percpu_ref::{
            PercpuRef,
            Release,
            Released, //
        },
        workqueue::{
            self,
            OwnedQueue, //
        }, //
    },
    impl_has_cache,
    impl_has_percpu_ref,
    support::{
        cpus_expected,
        eventually,
        in_parallel,
        stays_false,
        Bell,
        Counter,
        CONTEXTS,
        IRQ, //
    }, //
};
use core::{
    alloc::Layout,
    ptr, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        new_spinlock_irq,
        Arc,
        SpinLockIrq, //
    }, //
};

tests! { "slab_counted":
    cache_dropped_before_its_objects,
    cache_dropped_after_its_objects,
    cache_without_objects,
    cache_errors,
    last_drop_in_every_context,
    cache_dropped_in_every_context,
    failing_initialiser_lets_go,
    objects_keep_working_after_the_cache,
    destructor_frees_objects_of_the_same_cache,
    destructor_drops_its_own_cache,
    ten_thousand_objects_from_both_cpus,
    last_drop_from_both_cpus,
    raw_round_trip_keeps_the_cache,
    memory_of_a_cache_of_its_own,
    sizes_and_alignments,
}

static DROPS: Counter = Counter::new();

/// Drops `reaper` in a worker; returns who tells when that has returned, and the worker's queue.
pub(crate) fn drop_reaper(reaper: Reaper) -> Result<(Arc<Counter>, OwnedQueue)> {
    let queue = workqueue::Builder::unbound().build(c"kmemcg_test_drop", crate::handle()?)?;
    let done = Arc::new(Counter::new(), GFP_KERNEL)?;
    let tell = done.clone();
    queue.try_spawn(GFP_KERNEL, move || {
        reaper.wait();
        tell.set(1);
    })?;
    Ok((done, queue))
}

/// The objects keep it.
fn cache_dropped_before_its_objects() -> Result {
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_before", crate::handle()?)?;
    let cache = CountedCache::<Bell>::new(c"kmemcg_test_before", Options::new(), &reaper)?;
    let (a, b) = (
        cache.alloc(Bell(&DROPS), GFP_KERNEL)?,
        cache.alloc(Bell(&DROPS), GFP_KERNEL)?,
    );
    drop(cache);
    reaper.flush();
    drop(a);
    reaper.flush();
    check_eq!(DROPS.get(), 1);
    drop(b);
    check_eq!(DROPS.get(), 2);
    reaper.wait();
    Ok(())
}

/// As a scoped one.
fn cache_dropped_after_its_objects() -> Result {
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_after", crate::handle()?)?;
    let cache = CountedCache::<Bell>::new(c"kmemcg_test_after", Options::new(), &reaper)?;
    drop(cache.alloc(Bell(&DROPS), GFP_KERNEL)?);
    check_eq!(DROPS.get(), 1);
    cache.shrink();
    drop(cache);
    reaper.wait();
    Ok(())
}

/// Dropped at once, and with a flush in between.
fn cache_without_objects() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_none", crate::handle()?)?;
    drop(CountedCache::<u64>::new(
        c"kmemcg_test_none",
        Options::new().no_merge(),
        &reaper,
    )?);
    reaper.flush();
    drop(CountedCache::<u64>::new(
        c"kmemcg_test_none",
        Options::new().no_merge(),
        &reaper,
    )?);
    reaper.wait();
    Reaper::new(c"kmemcg_test_no_cache", crate::handle()?)?.wait();
    Ok(())
}

/// Those of `RawCache::new()`; the reaper does not wait for a cache that was never made.
fn cache_errors() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_errors", crate::handle()?)?;
    check_err!(
        CountedCache::<u64>::new(c"a b", Options::new(), &reaper),
        EINVAL
    );
    let options = Options::new().usercopy(8, 1);
    check_err!(
        CountedCache::<u64>::new(c"kmemcg_test_errors", options, &reaper),
        EINVAL
    );
    let options = Options::new().align(5);
    check_err!(
        CountedCache::<u64>::new(c"kmemcg_test_errors", options, &reaper),
        EINVAL
    );
    reaper.wait();
    Ok(())
}

/// The last object is dropped in a task, softirq, hard irq, with the count exact or not yet: the
/// destructor runs there, the destroy in a worker.
fn last_drop_in_every_context() -> Result {
    struct Tells(&'static Counter);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.set(Context::current() as usize + 1);
        }
    }
    for &context in CONTEXTS {
        for exact in [true, false] {
            DROPS.set(0);
            let reaper = Reaper::new(c"kmemcg_test_last", crate::handle()?)?;
            let options = Options::new().no_merge();
            let cache = CountedCache::<Tells>::new(c"kmemcg_test_last", options, &reaper)?;
            let object = cache.alloc(Tells(&DROPS), GFP_KERNEL)?;
            drop(cache);
            if exact {
                reaper.flush();
            }
            let (done, queue) = drop_reaper(reaper)?;
            if exact {
                check!(stays_false(|| done.get() == 1));
            }
            check_eq!(DROPS.get(), 0);
            exec::run(context, object, drop).map_err(|(error, _)| error)?;
            check_eq!(DROPS.get(), context as usize + 1);
            check!(eventually(|| done.get() == 1));
            drop(queue);
        }
    }
    Ok(())
}

/// With and without an object; the kill is in that context, too.
fn cache_dropped_in_every_context() -> Result {
    for &context in CONTEXTS {
        for with_object in [true, false] {
            let reaper = Reaper::new(c"kmemcg_test_kill", crate::handle()?)?;
            let cache = CountedCache::<u64>::new(c"kmemcg_test_kill", Options::new(), &reaper)?;
            let object = if with_object {
                Some(cache.alloc(7, GFP_KERNEL)?)
            } else {
                None
            };
            exec::run(context, cache, drop).map_err(|(error, _)| error)?;
            check!(object.as_ref().is_none_or(|object| **object == 7));
            exec::run(context, object, drop).map_err(|(error, _)| error)?;
            reaper.wait();
        }
    }
    Ok(())
}

/// The reference that the object would have had is put.
fn failing_initialiser_lets_go() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_cfail", crate::handle()?)?;
    let options = Options::new().no_merge();
    let cache = CountedCache::<u64>::new(c"kmemcg_test_cfail", options, &reaper)?;
    for _ in 0..100 {
        // SAFETY: Initialises nothing, and says so.
        let fails = unsafe { pin_init::pin_init_from_closure(|_: *mut u64| Err(EXDEV)) };
        check_err!(cache.alloc(fails, GFP_KERNEL), EXDEV);
    }
    drop(cache);
    reaper.wait();
    Ok(())
}

/// Their values can be read and written, and they come apart and together again.
fn objects_keep_working_after_the_cache() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_works", crate::handle()?)?;
    let cache = CountedCache::<[u64; 4]>::new(c"kmemcg_test_works", Options::new(), &reaper)?;
    let mut objects = KVec::new();
    for i in 0..100 {
        objects.push(cache.alloc([i; 4], GFP_KERNEL)?, GFP_KERNEL)?;
    }
    drop(cache);
    reaper.flush();
    for (i, object) in objects.iter_mut().enumerate() {
        check_eq!(**object, [i as u64; 4]);
        object[3] = 0;
        check_eq!(object.as_mut().get_mut()[3], 0);
        let _: &Hold<[u64; 4]> = object.owner();
    }
    Ok(())
}

/// The last reference of a cache is put by an object inside of another one.
fn destructor_frees_objects_of_the_same_cache() -> Result {
    struct Node {
        _next: Option<CountedObject<Node>>,
        _bell: Bell,
    }
    // The compiler does not find out by itself where a type holds objects of its own cache.
    // SAFETY: Sends what is `Send`.
    unsafe impl Send for Node {}
    for context in [Context::Task, IRQ] {
        DROPS.set(0);
        let reaper = Reaper::new(c"kmemcg_test_nodes", crate::handle()?)?;
        let cache = CountedCache::<Node>::new(c"kmemcg_test_nodes", Options::new(), &reaper)?;
        let mut list = None;
        for _ in 0..40 {
            list = Some(cache.alloc(
                Node {
                    _next: list,
                    _bell: Bell(&DROPS),
                },
                GFP_KERNEL,
            )?);
        }
        drop(cache);
        exec::run(context, list, drop).map_err(|(error, _)| error)?;
        check_eq!(DROPS.get(), 40);
        reaper.wait();
    }
    Ok(())
}

/// An object that owns its cache: nobody else could end that life.
fn destructor_drops_its_own_cache() -> Result {
    struct Owns(Option<CountedCache<Owns>>, Bell);
    // The compiler does not find out by itself where a type holds objects of its own cache.
    // SAFETY: Sends what is `Send`.
    unsafe impl Send for Owns {}
    for &context in CONTEXTS {
        DROPS.set(0);
        let reaper = Reaper::new(c"kmemcg_test_owns", crate::handle()?)?;
        let cache = CountedCache::<Owns>::new(c"kmemcg_test_owns", Options::new(), &reaper)?;
        let mut object = cache.alloc(Owns(None, Bell(&DROPS)), GFP_KERNEL)?;
        object.0 = Some(cache);
        check_eq!(DROPS.get(), 0);
        let _ = &object.1;
        exec::run(context, object, drop).map_err(|(error, _)| error)?;
        check_eq!(DROPS.get(), 1);
        reaper.wait();
    }
    Ok(())
}

#[pin_data]
struct Heap {
    #[pin]
    objects: SpinLockIrq<KVec<CountedObject<(usize, Bell)>>>,
}

/// Made on both CPUs, freed on both, each wherever it is found.
fn ten_thousand_objects_from_both_cpus() -> Result {
    const COUNT: usize = 10_000;
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_10000", crate::handle()?)?;
    let options = Options::new().no_merge();
    let cache = CountedCache::<(usize, Bell)>::new(c"kmemcg_test_10000", options, &reaper)?;
    let heap = Arc::pin_init(
        pin_init!(Heap { objects <- new_spinlock_irq!(KVec::new()) }),
        GFP_KERNEL,
    )?;
    let cache = Arc::new(cache, GFP_KERNEL)?;
    let (source, all) = (cache.clone(), heap.clone());
    let cpus = in_parallel(4, move |me| {
        for i in 0..COUNT / 4 {
            let object = source.alloc((me * COUNT + i, Bell(&DROPS)), GFP_KERNEL);
            if let Ok(object) = object {
                let _ = all.objects.lock().push(object, GFP_ATOMIC);
            }
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(heap.objects.lock().len(), COUNT);
    check_eq!(DROPS.get(), 0);
    drop(cache);
    let (done, queue) = drop_reaper(reaper)?;
    let all = heap.clone();
    let cpus = in_parallel(4, move |_| loop {
        let one = all.objects.lock().pop();
        let Some(one) = one else { break };
        drop(one);
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(DROPS.get(), COUNT);
    check!(eventually(|| done.get() == 1));
    drop(queue);
    Ok(())
}

/// Two objects, two CPUs, at the same time, many times: one release each.
fn last_drop_from_both_cpus() -> Result {
    #[pin_data]
    struct Slots {
        #[pin]
        objects: [SpinLockIrq<Option<CountedObject<Bell>>>; 2],
    }
    const ROUNDS: usize = 100;
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_race", crate::handle()?)?;
    let mut rounds = KVec::new();
    for round in 0..ROUNDS {
        let name = CString::try_from_fmt(fmt!("kmemcg_test_race.{round}"))?;
        let cache = CountedCache::<Bell>::new(&name, Options::new(), &reaper)?;
        let (a, b) = (
            cache.alloc(Bell(&DROPS), GFP_KERNEL)?,
            cache.alloc(Bell(&DROPS), GFP_KERNEL)?,
        );
        let slots = Arc::pin_init(
            pin_init!(Slots {
                objects <- pin_init::pin_init_array_from_fn(|_| new_spinlock_irq!(None)),
            }),
            GFP_KERNEL,
        )?;
        *slots.objects[0].lock() = Some(a);
        *slots.objects[1].lock() = Some(b);
        rounds.push(slots, GFP_KERNEL)?;
        drop(cache);
    }
    let arrived = Arc::new([const { Counter::new() }; ROUNDS], GFP_KERNEL)?;
    let cpus = in_parallel(2, move |me| {
        for (slots, arrived) in rounds.iter().zip(arrived.iter()) {
            arrived.add();
            crate::support::spin_until(
                || arrived.get() == 2,
                kernel::time::Delta::from_millis(100),
            );
            let object = slots.objects[me].lock().take();
            drop(object);
        }
    })?;
    check!(cpus >= cpus_expected());
    check_eq!(DROPS.get(), 2 * ROUNDS);
    reaper.wait();
    Ok(())
}

/// While it is split, the reference is still held.
fn raw_round_trip_keeps_the_cache() -> Result {
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_craw", crate::handle()?)?;
    let cache = CountedCache::<(u64, Bell)>::new(c"kmemcg_test_craw", Options::new(), &reaper)?;
    let object = cache.alloc((7, Bell(&DROPS)), GFP_KERNEL)?;
    drop(cache);
    let (ptr, owner) = object.into_raw();
    let (done, queue) = drop_reaper(reaper)?;
    check!(stays_false(|| done.get() == 1));
    // SAFETY: Both are from `into_raw()`.
    let object: CountedObject<(u64, Bell)> = unsafe { Object::from_raw(ptr, owner) };
    check_eq!(object.0, 7);
    drop(object);
    check_eq!(DROPS.get(), 1);
    check!(eventually(|| done.get() == 1));
    drop(queue);
    Ok(())
}

/// A type with a cache of its own: `HasCache`, `RawCache`, and memory without a type.
fn memory_of_a_cache_of_its_own() -> Result {
    #[pin_data(PinnedDrop)]
    struct Pool {
        cache: RawCache,
        #[pin]
        refs: PercpuRef<Pool>,
    }
    impl_has_cache! { impl HasCache for Pool { self.cache } }
    impl_has_percpu_ref! { impl HasPercpuRef for Pool { self.refs } }
    impl Release for Pool {
        fn release(this: Released<Self>) {
            RELEASES.add();
            drop(this);
        }
    }
    #[pinned_drop]
    impl PinnedDrop for Pool {
        fn drop(self: Pin<&mut Self>) {
            DROPS.add();
        }
    }
    static RELEASES: Counter = Counter::new();
    DROPS.set(0);
    RELEASES.set(0);
    let layout = Layout::from_size_align(72, 8).map_err(|_| EINVAL)?;
    let pool = Arc::pin_init(
        try_pin_init!(Pool {
            cache: RawCache::new(c"kmemcg_test_pool", layout, Options::new().no_merge())?,
            refs <- PercpuRef::new(GFP_KERNEL),
        }),
        GFP_KERNEL,
    )?;
    check!(PercpuRef::tryget_live(&*pool).is_none());
    PercpuRef::start(&pool, crate::hold()?)?;
    check!(ptr::eq(HasCache::cache(&*pool), &pool.cache));
    let mut objects = KVec::new();
    for i in 0..100 {
        let guard = PercpuRef::tryget_live(&*pool).ok_or(ENODEV)?;
        let memory = Object::memory(Reference::from(guard), GFP_KERNEL)?;
        // SAFETY: 72 bytes of ours.
        unsafe { memory.as_ptr().as_ptr().write_bytes(i, 72) };
        objects.push(memory, GFP_KERNEL)?;
    }
    for (i, memory) in objects.iter().enumerate() {
        check_eq!(memory.as_ptr().as_ptr() as usize % 8, 0);
        // SAFETY: Written above.
        let read = unsafe { memory.as_ptr().cast::<[u8; 72]>().read() };
        check_eq!(read, [i as u8; 72]);
    }
    pool.refs.kill();
    kernel::sync::rcu::rcu_barrier();
    let last = objects.pop().ok_or(EINVAL)?;
    Object::free_bulk(objects);
    check_eq!(RELEASES.get(), 0);
    drop(last);
    check_eq!(RELEASES.get(), 1);
    check_eq!(DROPS.get(), 0);
    drop(pool);
    check_eq!(DROPS.get(), 1);
    Ok(())
}

/// Nothing, a byte, a page, more than that; alignments.
fn sizes_and_alignments() -> Result {
    #[repr(align(1024))]
    struct Over(#[allow(dead_code)] u8);
    fn one<T: Send + 'static>(reaper: &Reaper, make: impl Fn() -> T) -> Result {
        let options = Options::new().no_merge();
        let cache = CountedCache::<T>::new(c"kmemcg_test_sizes", options, reaper)?;
        let objects = cache.alloc_bulk(9, |_| make(), GFP_KERNEL)?;
        for object in &objects {
            check_eq!(ptr::from_ref::<T>(object) as usize % align_of::<T>(), 0);
        }
        drop(cache);
        drop(objects);
        // The name can be used again.
        reaper.flush();
        Ok(())
    }
    let reaper = Reaper::new(c"kmemcg_test_sizes", crate::handle()?)?;
    one(&reaper, || ())?;
    one(&reaper, || 1u8)?;
    one(&reaper, || 1u64)?;
    one(&reaper, || [1u8; 96])?;
    one(&reaper, || Over(1))
}
