// SPDX-License-Identifier: GPL-2.0

//! The reapers of counted caches.

use crate::{
    abstractions::{
        exec,
        slab::*,
        unload::Unheld, //
    },
    slab_counted::drop_reaper,
    support::{
        eventually,
        stays_false,
        Bell,
        Counter,
        IRQ, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::rcu, //
};

tests! { "slab_counted":
    many_caches_of_one_reaper,
    reaper_waits_for_the_last_object,
    reaper_is_dropped_before_its_cache,
    reaper_without_an_anchor,
}

static DROPS: Counter = Counter::new();

/// Some are alive, some are dying, some are gone; the flush takes those that can go.
fn many_caches_of_one_reaper() -> Result {
    DROPS.set(0);
    let reaper = Reaper::new(c"kmemcg_test_reaper", crate::handle()?)?;
    let mut caches = KVec::new();
    let mut objects = KVec::new();
    for i in 0..30 {
        let name = CString::try_from_fmt(fmt!("kmemcg_test_many.{i}"))?;
        let cache = CountedCache::<Bell>::new(&name, Options::new(), &reaper)?;
        if i % 3 != 0 {
            objects.push(cache.alloc(Bell(&DROPS), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        if i % 3 != 1 {
            drop(cache);
        } else {
            caches.push(cache, GFP_KERNEL)?;
        }
    }
    reaper.flush();
    check_eq!(objects.len(), 20);
    drop(objects);
    check_eq!(DROPS.get(), 20);
    drop(caches);
    reaper.wait();
    Ok(())
}

/// With a live cache, with a dead one that has an object, and no longer.
fn reaper_waits_for_the_last_object() -> Result {
    let reaper = Reaper::new(c"kmemcg_test_waits", crate::handle()?)?;
    let cache = CountedCache::<u64>::new(c"kmemcg_test_waits", Options::new(), &reaper)?;
    let object = cache.alloc(1, GFP_KERNEL)?;
    let (done, queue) = drop_reaper(reaper)?;
    check!(stays_false(|| done.get() == 1));
    drop(cache);
    check!(stays_false(|| done.get() == 1));
    drop(object);
    check!(eventually(|| done.get() == 1));
    drop(queue);
    Ok(())
}

/// By the order of fields, say; and in an interrupt. The cache goes after it, then its object.
fn reaper_is_dropped_before_its_cache() -> Result {
    struct Owner {
        _reaper: Reaper,
        _cache: CountedCache<u64>,
    }

    // Nothing waits until a cache is gone: each has a name of its own.
    for (in_interrupt, name) in [
        (false, c"kmemcg_test_first1"),
        (true, c"kmemcg_test_first2"),
    ] {
        let reaper = Reaper::new(name, crate::handle()?)?;
        let options = Options::new().no_merge();
        let cache = CountedCache::<u64>::new(name, options, &reaper)?;
        let object = cache.alloc(1, GFP_KERNEL)?;
        let owner = Owner {
            _reaper: reaper,
            _cache: cache,
        };
        if in_interrupt {
            let owner = KBox::new(owner, GFP_KERNEL)?;
            exec::run(IRQ, owner, drop).map_err(|(error, _)| error)?;
        } else {
            drop(owner);
        }
        check_eq!(*object, 1);
        drop(object);
    }
    Ok(())
}

/// It waits for its caches, which are destroyed when that returns: the name is free at once.
fn reaper_without_an_anchor() -> Result {
    // SAFETY: No value is forgotten. `wait()` waits for the caches and the queue, and the barrier for the
    // callbacks of their counts.
    let module = unsafe { Unheld::new() };
    DROPS.set(0);
    for i in 1..=5 {
        let reaper = Reaper::new(c"kmemcg_test_unheld", &module)?;
        let options = Options::new().no_merge();
        let cache = CountedCache::new(c"kmemcg_test_unheld", options, &reaper)?;
        let object = cache.alloc(Bell(&DROPS), GFP_KERNEL);
        drop(cache);
        drop(object);
        reaper.wait();
        rcu::rcu_barrier();
        check_eq!(DROPS.get(), i);
    }
    Ok(())
}
